// Package shuffletest has the tests that every netpipe passes.
package shuffletest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/shuffle"
)

// An Opener returns the two ends of a new netpipe, not yet open, which holds at most 4 MiB between them.
type Opener func(t testing.TB) (shuffle.PipeWriter, shuffle.PipeReader)

// TestPipe runs all tests on netpipes that open returns.
func TestPipe(t *testing.T, open Opener) {
	for _, b := range behaviours {
		t.Run(strings.ReplaceAll(b.name, " ", "_"), func(t *testing.T) {
			w, r := open(t)
			p := &pipe{T: t, w: w, r: r}
			b.test(p)
			r.Close()
			w.Abort("end of test")
			p.busy.Wait()
		})
	}
}

// A pipe is what a test works on.
type pipe struct {
	*testing.T
	w    shuffle.PipeWriter
	r    shuffle.PipeReader
	busy sync.WaitGroup
}

const (
	patience = 10 * time.Second      // for what must happen
	moment   = 20 * time.Millisecond // for what must not
)

// open opens both ends.
func (p *pipe) open() {
	p.Helper()
	p.openWith(context.Background(), context.Background())
}

func (p *pipe) openWith(w, r context.Context) {
	p.Helper()
	opened := p.async(func() error { return p.w.Open(w) })
	if err := p.r.Open(r); err != nil {
		p.Fatalf("open reader: %v", err)
	}
	p.want(opened, nil)
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

var behaviours = []struct {
	name string
	test func(p *pipe)
}{
	{"bytes arrive in order", func(p *pipe) {
		p.open()
		want := pattern(3 << 20)
		wrote := p.async(func() error {
			rnd := rand.New(rand.NewPCG(1, 1))
			for rest := want; len(rest) > 0; {
				n := min(len(rest), rnd.IntN(100_000))
				if got, err := p.w.Write(rest[:n]); got != n || err != nil {
					return errors.Join(err, errors.New("short write"))
				}
				rest = rest[n:]
			}
			return p.w.Close()
		})
		var got []byte
		rnd := rand.New(rand.NewPCG(2, 2))
		buf := make([]byte, 100_000)
		for {
			n, err := p.r.Read(buf[:1+rnd.IntN(len(buf)-1)])
			got = append(got, buf[:n]...)
			if err != nil {
				p.is(err, io.EOF)
				break
			}
		}
		p.want(wrote, nil)
		if !bytes.Equal(got, want) {
			p.Errorf("got %d bytes, want %d, or other bytes", len(got), len(want))
		}
	}},
	{"a stream may be empty", func(p *pipe) {
		p.open()
		p.is(p.w.Close(), nil)
		data, end := p.read()
		p.want(end, nil)
		if len(data) != 0 {
			p.Errorf("got %d bytes, want none", len(data))
		}
	}},
	{"the end stays", func(p *pipe) {
		p.open()
		p.w.Close()
		for range 3 {
			n, err := p.r.Read(make([]byte, 1))
			p.is(err, io.EOF)
			if n != 0 {
				p.Errorf("read %d bytes after the end", n)
			}
		}
		p.r.Close()
		_, err := p.r.Read(make([]byte, 1))
		p.is(err, io.EOF)
	}},
	{"one write may be larger than the pipe", func(p *pipe) {
		p.open()
		want := pattern(12<<20 + 1)
		wrote := p.async(func() error {
			n, err := p.w.Write(want)
			if n != len(want) {
				p.Errorf("wrote %d of %d", n, len(want))
			}
			return errors.Join(err, p.w.Close())
		})
		got, end := p.read()
		p.want(end, nil)
		p.want(wrote, nil)
		if !bytes.Equal(got, want) {
			p.Errorf("got %d bytes, want %d, or other bytes", len(got), len(want))
		}
	}},
	{"writes of nothing are nothing", func(p *pipe) {
		p.open()
		for range 3 {
			n, err := p.w.Write(nil)
			if n != 0 || err != nil {
				p.Errorf("Write(nil) = %d, %v", n, err)
			}
		}
		p.w.Write([]byte("a"))
		p.w.Write([]byte{})
		p.w.Write([]byte("b"))
		p.is(p.w.Close(), nil)
		if got, end := p.read(); string(got) != "ab" {
			p.Errorf("got %q, %v", got, p.wait(end))
		}
	}},
	{"a read of nothing does not wait", func(p *pipe) {
		p.open()
		p.want(p.async(func() error { _, err := p.r.Read(nil); return err }), nil)
	}},
	{"the writer keeps what it was given", func(p *pipe) {
		p.open()
		b := []byte("before")
		p.w.Write(b)
		copy(b, "after!")
		p.w.Close()
		if got, _ := p.read(); string(got) != "before" {
			p.Errorf("got %q, want the bytes of the time of the write", got)
		}
	}},
	{"opening waits for the reader", func(p *pipe) {
		opened := p.async(func() error { return p.w.Open(context.Background()) })
		p.blocks(opened)
		p.is(p.r.Open(context.Background()), nil)
		p.want(opened, nil)
	}},
	{"the reader does not wait for a writer", func(p *pipe) {
		p.want(p.async(func() error { return p.r.Open(context.Background()) }), nil)
		read := p.async(func() error { _, err := p.r.Read(make([]byte, 1)); return err })
		p.blocks(read)
		p.want(p.async(func() error { return p.w.Open(context.Background()) }), nil)
		p.blocks(read)
		p.w.Write([]byte("x"))
		p.want(read, nil)
	}},
	{"ends that are not open refuse", func(p *pipe) {
		_, err := p.w.Write([]byte("x"))
		p.is(err, os.ErrInvalid)
		_, err = p.r.Read(make([]byte, 1))
		p.is(err, os.ErrInvalid)
	}},
	{"a full pipe makes the writer wait", func(p *pipe) {
		p.open()
		full := p.fill()
		p.async(func() error { _, err := io.CopyN(io.Discard, onlyReader{p.r}, 1); return err }) // gives no room for 16 MiB
		p.blocks(full)
		p.w.Abort("seen enough")
		p.want(full, shuffle.ErrAborted)
	}},
	{"a slow reader gets everything", func(p *pipe) {
		p.open()
		want := pattern(6 << 20)
		wrote := p.async(func() error { _, err := p.w.Write(want); return errors.Join(err, p.w.Close()) })
		p.blocks(wrote)
		got, end := p.read()
		p.want(end, nil)
		p.want(wrote, nil)
		if !bytes.Equal(got, want) {
			p.Errorf("got %d bytes, want %d, or other bytes", len(got), len(want))
		}
	}},
	{"what was written before the end is read after it", func(p *pipe) {
		p.open()
		p.w.Write([]byte("last words"))
		p.is(p.w.Close(), nil)
		time.Sleep(time.Millisecond)
		got, end := p.read()
		p.want(end, nil)
		if string(got) != "last words" {
			p.Errorf("got %q", got)
		}
	}},
	{"a reader that leaves breaks the pipe", func(p *pipe) {
		p.open()
		full := p.fill()
		p.r.Close()
		p.want(full, syscall.EPIPE)
		_, err := p.w.Write([]byte("x"))
		p.is(err, syscall.EPIPE)
		p.is(p.w.Close(), syscall.EPIPE)
	}},
	{"a reader that leaves unread bytes breaks the pipe", func(p *pipe) {
		p.open()
		p.w.Write(make([]byte, 1000))
		p.r.Close()
		_, err := p.w.Write(make([]byte, 16<<20))
		p.is(err, syscall.EPIPE)
	}},
	{"a reader that left before it opened breaks the pipe", func(p *pipe) {
		opened := p.async(func() error { return p.w.Open(context.Background()) })
		p.r.Close()
		p.want(opened, syscall.EPIPE)
	}},
	{"closing the reader interrupts its read", func(p *pipe) {
		p.open()
		read := p.async(func() error { _, err := p.r.Read(make([]byte, 1)); return err })
		p.blocks(read)
		p.r.Close()
		p.want(read, os.ErrClosed)
	}},
	{"ends that are closed refuse", func(p *pipe) {
		p.open()
		p.w.Close()
		_, err := p.w.Write([]byte("x"))
		p.is(err, os.ErrClosed)
		_, err = p.w.Write(nil)
		p.is(err, os.ErrClosed)
		p.r.Close()
		_, err = p.r.Read(make([]byte, 1))
		p.is(err, os.ErrClosed)
	}},
	{"closing twice is closing once", func(p *pipe) {
		p.open()
		p.is(p.w.Close(), nil)
		p.is(p.w.Close(), nil)
		_, end := p.read()
		p.want(end, nil)
		p.is(p.r.Close(), nil)
		p.is(p.r.Close(), nil)
	}},
	{"many may close at once", func(p *pipe) {
		p.open()
		p.w.Write([]byte("x"))
		var all []<-chan error
		for range 8 {
			all = append(all, p.async(p.w.Close))
		}
		for _, c := range all {
			p.want(c, nil)
		}
		got, end := p.read()
		p.want(end, nil)
		if string(got) != "x" {
			p.Errorf("got %q", got)
		}
		for range 8 {
			p.want(p.async(p.r.Close), nil)
		}
	}},
	{"closing waits for a write in flight", func(p *pipe) {
		p.open()
		want := pattern(8 << 20)
		wrote := p.async(func() error { _, err := p.w.Write(want); return err })
		p.blocks(wrote)
		got, end := []byte(nil), (<-chan error)(nil)
		read := p.async(func() error { got, end = p.read(); return p.wait(end) })
		p.want(wrote, nil)
		p.is(p.w.Close(), nil)
		p.want(read, nil)
		if !bytes.Equal(got, want) {
			p.Errorf("got %d bytes, want %d, or other bytes", len(got), len(want))
		}
	}},
	{"an abort has a reason", func(p *pipe) {
		p.open()
		p.w.Write([]byte("x"))
		p.is(p.w.Abort("runner killed"), nil)
		_, end := p.read()
		err := p.wait(end)
		p.is(err, shuffle.ErrAborted)
		if err != nil && !strings.Contains(err.Error(), "runner killed") {
			p.Errorf("got %q, want the reason in it", err)
		}
		_, err = p.w.Write([]byte("x"))
		p.is(err, shuffle.ErrAborted)
	}},
	{"an abort interrupts a write", func(p *pipe) {
		p.open()
		full := p.fill()
		aborted := p.async(func() error { return p.w.Abort("enough") })
		p.want(full, shuffle.ErrAborted)
		_, end := p.read()
		p.want(end, shuffle.ErrAborted)
		p.want(aborted, nil)
	}},
	{"an abort interrupts opening", func(p *pipe) {
		opened := p.async(func() error { return p.w.Open(context.Background()) })
		p.blocks(opened)
		p.w.Abort("too late")
		p.want(opened, shuffle.ErrAborted)
		p.r.Open(context.Background())
		_, end := p.read()
		p.want(end, shuffle.ErrAborted, io.ErrUnexpectedEOF)
	}},
	{"an abort beats a close", func(p *pipe) {
		p.open()
		p.w.Abort("no")
		p.is(p.w.Close(), shuffle.ErrAborted)
		_, end := p.read()
		p.want(end, shuffle.ErrAborted)
	}},
	{"an abort after the end is none", func(p *pipe) {
		p.open()
		p.w.Close()
		p.is(p.w.Abort("no"), os.ErrClosed)
		_, end := p.read()
		p.want(end, nil)
	}},
	{"abort and close at once leave one of them", func(p *pipe) {
		p.open()
		p.w.Write([]byte("x"))
		closed, aborted := p.async(p.w.Close), p.async(func() error { return p.w.Abort("no") })
		_, end := p.read()
		if cerr, aerr, rerr := p.wait(closed), p.wait(aborted), p.wait(end); (cerr == nil) == (aerr == nil) || (cerr == nil) != (rerr == nil) {
			p.Errorf("close: %v, abort: %v, reader: %v; want one of the two, and the reader to see it", cerr, aerr, rerr)
		}
	}},
	{"a writer that never opened does not end the stream", func(p *pipe) {
		p.is(p.w.Close(), os.ErrInvalid)
		p.r.Open(context.Background())
		_, err := p.r.Read(make([]byte, 1))
		p.is(err, io.ErrUnexpectedEOF, shuffle.ErrAborted)
	}},
	{"reasons are bounded and harmless", func(p *pipe) {
		p.open()
		p.w.Abort("\x1b[2J" + strings.Repeat("x", 1<<20))
		_, end := p.read()
		err := p.wait(end)
		p.is(err, shuffle.ErrAborted)
		if err != nil && (len(err.Error()) > 5<<10 || strings.Contains(err.Error(), "\x1b")) {
			p.Errorf("got %d bytes of reason: %.40q", len(err.Error()), err.Error())
		}
	}},
	{"cancelling the writer interrupts it", func(p *pipe) {
		ctx, cancel := context.WithCancelCause(context.Background())
		p.openWith(ctx, context.Background())
		full := p.fill()
		cancel(errCause)
		p.want(full, errCause)
		_, end := p.read()
		err := p.wait(end)
		p.is(err, shuffle.ErrAborted)
		if err != nil && !strings.Contains(err.Error(), errCause.Error()) {
			p.Errorf("got %q, want the cause in it", err)
		}
		p.is(p.w.Close(), errCause)
	}},
	{"a deadline ends opening", func(p *pipe) {
		ctx, cancel := context.WithTimeout(context.Background(), moment)
		defer cancel()
		p.want(p.async(func() error { return p.w.Open(ctx) }), context.DeadlineExceeded)
	}},
	{"cancelling the reader interrupts it", func(p *pipe) {
		ctx, cancel := context.WithCancelCause(context.Background())
		p.openWith(context.Background(), ctx)
		read := p.async(func() error { _, err := p.r.Read(make([]byte, 1)); return err })
		p.blocks(read)
		cancel(errCause)
		p.want(read, errCause)
		p.want(p.async(func() error { _, err := p.w.Write(make([]byte, 16<<20)); return err }), syscall.EPIPE)
	}},
	{"cancelling after the end changes nothing", func(p *pipe) {
		ctx, cancel := context.WithCancel(context.Background())
		p.openWith(ctx, context.Background())
		p.w.Write([]byte("x"))
		p.is(p.w.Close(), nil)
		cancel()
		time.Sleep(time.Millisecond)
		got, end := p.read()
		p.want(end, nil)
		if string(got) != "x" {
			p.Errorf("got %q", got)
		}
	}},
}
