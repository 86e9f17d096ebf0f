// Package shuffletest has the tests that every netpipe passes, whatever carries it.
package shuffletest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/shuffle"
)

// A Transport is one sort of netpipe.
type Transport struct {
	// Open returns the ends of a new netpipe, not yet open, which holds at most 4 MiB for each writer.
	Open func(t testing.TB, writers int) ([]shuffle.PipeWriter, shuffle.PipeReader)

	// Feed, instead of Open where one can only read, returns a reader of data, not yet open.
	Feed func(t testing.TB, data []byte) shuffle.PipeReader

	// Spool says that the reader can open its end when the writer has ended, and there is one writer.
	Spool bool

	// Wire returns the ends of a netpipe whose bytes go over a line, and which waits for a lost peer as Timing says. Nil means that there is no such line.
	Wire func(t testing.TB, l *Line, hurry Timing) (shuffle.PipeWriter, shuffle.PipeReader)

	// Resumes says that a netpipe outlives its connection.
	Resumes bool
}

// A Timing is how long a netpipe waits for peers.
type Timing struct{ Silence, Patience time.Duration }

// What a behaviour needs of a transport.
type need int

const (
	reading  need = 0         // nothing but a reader
	writing  need = 1 << iota // a writer
	live                      // ends that are open at the same time
	several                   // writers
	wire                      // a line that can be disturbed
	resuming                  // another connection after one that broke
)

func (tr *Transport) can() need {
	can := reading
	if tr.Open != nil {
		can |= writing
		if !tr.Spool {
			can |= live | several
		}
	}
	if tr.Wire != nil {
		can |= wire
	}
	if tr.Resumes {
		can |= resuming
	}
	return can
}

// A behaviour is something that netpipes do.
type behaviour struct {
	name string
	need need
	test func(p *pipe)
}

// TestPipe checks all behaviours that the transport is able to have, and says how many those are.
func TestPipe(t *testing.T, tr Transport) {
	all := slices.Concat(readers, streams, ends, writers, relays, lines)
	done := 0
	for _, b := range all {
		if b.need&^tr.can() != 0 {
			continue
		}
		done++
		t.Run(strings.ReplaceAll(b.name, " ", "_"), func(t *testing.T) {
			p := &pipe{T: t, tr: &tr}
			if b.need&(wire|several) == 0 && tr.Open != nil {
				p.use(1)
			}
			b.test(p)
			if p.r != nil {
				p.r.Close()
			}
			for _, w := range p.all {
				w.Abort("end of test")
			}
			p.busy.Wait()
		})
	}
	t.Logf("%d of %d behaviours", done, len(all))
}

// A pipe is what a test works on.
type pipe struct {
	*testing.T
	tr   *Transport
	w    shuffle.PipeWriter // the first of all
	all  []shuffle.PipeWriter
	r    shuffle.PipeReader
	busy sync.WaitGroup
}

// use makes a netpipe.
func (p *pipe) use(writers int) {
	p.all, p.r = p.tr.Open(p.T, writers)
	p.w = p.all[0]
}

// feed makes data come to the reader, and opens it.
func (p *pipe) feed(data []byte) {
	p.Helper()
	write := func() error {
		_, err := p.w.Write(data)
		return errors.Join(err, p.w.Close())
	}
	switch {
	case p.tr.Feed != nil:
		p.r = p.tr.Feed(p.T, data)
		p.is(p.r.Open(context.Background()), nil)
	case p.tr.Spool:
		p.is(p.w.Open(context.Background()), nil)
		p.is(write(), nil)
		p.is(p.r.Open(context.Background()), nil)
	default:
		p.open()
		p.async(write)
	}
}

const (
	patience = 20 * time.Second      // for what must happen
	moment   = 20 * time.Millisecond // for what must not
)

// open opens both ends.
func (p *pipe) open() {
	p.Helper()
	p.openWith(context.Background(), context.Background())
}

func (p *pipe) openWith(w, r context.Context) {
	p.Helper()
	var opened []<-chan error
	for _, end := range p.all {
		opened = append(opened, p.async(func() error { return end.Open(w) }))
	}
	if err := p.r.Open(r); err != nil {
		p.Fatalf("open reader: %v", err)
	}
	for _, c := range opened {
		p.want(c, nil)
	}
}

// async runs f elsewhere and returns where its error will come.
func (p *pipe) async(f func() error) <-chan error {
	c := make(chan error, 1)
	p.busy.Go(func() { c <- f() })
	return c
}

// wait returns the error that comes.
func (p *pipe) wait(c <-chan error) error {
	p.Helper()
	select {
	case err := <-c:
		return err
	case <-time.After(patience):
		p.Fatal("waits for ever")
		return nil
	}
}

// want checks that the error that comes is one of those.
func (p *pipe) want(c <-chan error, wants ...error) {
	p.Helper()
	p.is(p.wait(c), wants...)
}

// is checks that err is one of those.
func (p *pipe) is(err error, wants ...error) {
	p.Helper()
	for _, w := range wants {
		if errors.Is(err, w) {
			return
		}
	}
	p.Errorf("got error %v, want one of %v", err, wants)
}

// blocks checks that nothing comes for a moment.
func (p *pipe) blocks(c <-chan error) {
	p.Helper()
	select {
	case err := <-c:
		p.Errorf("got error %v, want it to wait", err)
	case <-time.After(moment):
	}
}

// fill writes until the pipe is full and the writer waits, and returns where the end of it will come.
func (p *pipe) fill() <-chan error {
	p.Helper()
	c := p.async(func() error {
		n, err := p.w.Write(make([]byte, 16<<20))
		if n == 16<<20 && err == nil {
			return errors.New("16 MiB were written and nothing was read")
		}
		return err
	})
	p.blocks(c)
	return c
}

// read reads all that comes and the error after it; io.EOF is nil.
func (p *pipe) read() (data []byte, end <-chan error) {
	p.Helper()
	var buf bytes.Buffer
	c := p.async(func() error { _, err := io.Copy(&buf, onlyReader{p.r}); return err })
	err := p.wait(c)
	out := make(chan error, 1)
	out <- err
	return buf.Bytes(), out
}

type onlyReader struct{ io.Reader }

func pattern(n int) []byte {
	b := make([]byte, n)
	rnd := rand.NewChaCha8([32]byte{byte(n)})
	rnd.Read(b)
	return b
}

var errCause = errors.New("lease lost")
