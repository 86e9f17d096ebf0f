package shuffletest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"github.com/millrace/millrace/shuffle"
)

var (
	calm    = Timing{Silence: time.Minute, Patience: time.Minute}
	hurried = Timing{Silence: 200 * time.Millisecond, Patience: 500 * time.Millisecond}
)

// over makes a netpipe over a line, and opens both ends.
func (p *pipe) over(hurry Timing) *Line {
	p.Helper()
	l := &Line{}
	p.Cleanup(l.Close)
	p.w, p.r = p.tr.Wire(p.T, l, hurry)
	p.all = []shuffle.PipeWriter{p.w}
	p.open()
	return l
}

// send writes data in pieces, and ends the stream.
func (p *pipe) send(data []byte) <-chan error {
	return p.async(func() error {
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 50_000)
			if _, err := p.w.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return p.w.Close()
	})
}

// harmed sends data over lines that do the harm once, somewhere, and checks that the reader gets no other bytes and no early end.
func (p *pipe) harmed(harm func(chunk []byte, at int, rnd *rand.Rand) [][]byte) {
	const trials = 24
	want := pattern(200_000)
	found := 0
	for trial := range trials {
		rnd := rand.New(rand.NewPCG(uint64(trial), 4))
		back := trial%4 == 3
		at := rnd.IntN(len(want))
		if back {
			at = rnd.IntN(40)
		}
		l := &Line{}
		p.w, p.r = p.tr.Wire(p.T, l, hurried)
		l.Spoil(once(at, back, func(chunk []byte, at int) [][]byte { return harm(chunk, at, rnd) }))
		opened := p.async(func() error { return p.w.Open(p.Context()) })
		p.is(p.r.Open(p.Context()), nil)
		p.async(func() error {
			if err := p.wait(opened); err != nil {
				p.r.Close() // it would wait for a writer
				return err
			}
			return <-p.send(want)
		})
		got, end := p.read()
		switch err := p.wait(end); {
		case err == nil && !bytes.Equal(got, want):
			p.Errorf("trial %d, byte %d, back %v: got %d bytes of %d and an end, or other bytes", trial, at, back, len(got), len(want))
		case !bytes.HasPrefix(want, got):
			p.Errorf("trial %d, byte %d, back %v: got other bytes, then %v", trial, at, back, err)
		case err != nil:
			p.is(err, shuffle.ErrCorrupt, io.ErrUnexpectedEOF, shuffle.ErrAborted, os.ErrClosed)
			found++
		}
		p.r.Close()
		p.w.Abort("end of trial")
		l.Close()
		p.busy.Wait()
	}
	if found == 0 && !p.tr.Resumes {
		p.Errorf("no harm was found in %d trials", trials)
	}
}

// lines are behaviours where the line between the ends is bad.
var lines = []behaviour{
	{"bytes may come slowly and in any pieces", writing | live | wire, func(p *pipe) {
		l := p.over(calm)
		l.Spoil(slowly(rand.New(rand.NewPCG(5, 5))))
		want := pattern(1 << 20)
		wrote := p.send(want)
		got, end := p.read()
		p.want(end, nil)
		p.want(wrote, nil)
		if !bytes.Equal(got, want) {
			p.Errorf("got %d bytes, want %d, or other bytes", len(got), len(want))
		}
	}},
	{"a flipped bit is found", writing | live | wire, func(p *pipe) {
		p.harmed(func(chunk []byte, at int, rnd *rand.Rand) [][]byte {
			chunk[at] ^= 1 << rnd.IntN(8)
			return [][]byte{chunk}
		})
	}},
	{"bytes that come twice are found", writing | live | wire, func(p *pipe) {
		p.harmed(func(chunk []byte, _ int, _ *rand.Rand) [][]byte { return [][]byte{chunk, chunk} })
	}},
	{"bytes that are lost are found", writing | live | wire, func(p *pipe) {
		p.harmed(func(chunk []byte, at int, rnd *rand.Rand) [][]byte {
			return [][]byte{chunk[:at], chunk[min(len(chunk), at+1+rnd.IntN(1000)):]}
		})
	}},
	{"bytes out of order are found", writing | live | wire, func(p *pipe) {
		p.harmed(func(chunk []byte, at int, _ *rand.Rand) [][]byte { return [][]byte{chunk[at:], chunk[:at]} })
	}},
	{"a broken connection is no end", writing | live | wire, func(p *pipe) {
		l := p.over(Timing{Silence: time.Minute, Patience: time.Second})
		p.w.Write([]byte("x"))
		l.Close() // for good
		_, end := p.read()
		p.want(end, io.ErrUnexpectedEOF)
		p.want(p.async(func() error {
			_, err := p.w.Write(make([]byte, 16<<20))
			return err
		}), syscall.EPIPE)
	}},
	{"a silent writer is noticed", writing | live | wire, func(p *pipe) {
		l := p.over(hurried)
		l.Hold()
		_, end := p.read()
		p.want(end, io.ErrUnexpectedEOF)
	}},
	{"a silent reader is noticed", writing | live | wire, func(p *pipe) {
		l := p.over(hurried)
		l.Hold()
		p.want(p.async(func() error { _, err := p.w.Write(make([]byte, 16<<20)); return err }), syscall.EPIPE)
	}},
	{"connections may break all the time", writing | live | wire | resuming, func(p *pipe) {
		l := p.over(calm)
		want := pattern(6 << 20)
		passed, cuts := 0, 0
		l.Spoil(func(chunk []byte, back bool) [][]byte {
			if passed += len(chunk); passed > 500_000 && cuts < 15 {
				passed, cuts = 0, cuts+1
				go l.Cut()
			}
			return [][]byte{chunk}
		})
		wrote := p.send(want)
		got, end := p.read()
		p.want(end, nil)
		p.want(wrote, nil)
		if !bytes.Equal(got, want) {
			p.Errorf("got %d bytes, want %d, or other bytes", len(got), len(want))
		}
		l.Spoil(nil)
		if cuts < 5 {
			p.Errorf("%d connections broke, want some more", cuts)
		}
	}},
	{"an end outlives its connection", writing | live | wire | resuming, func(p *pipe) {
		l := p.over(calm)
		l.Hold()
		p.w.Write([]byte("last words"))
		p.is(p.w.Close(), nil)
		l.Cut()
		l.Release()
		got, end := p.read()
		p.want(end, nil)
		if string(got) != "last words" {
			p.Errorf("got %q", got)
		}
	}},
	{"an abort outlives its connection", writing | live | wire | resuming, func(p *pipe) {
		l := p.over(calm)
		l.Hold()
		p.w.Write([]byte("x"))
		p.is(p.w.Abort("disk full"), nil)
		l.Cut()
		l.Release()
		_, end := p.read()
		p.want(end, shuffle.ErrAborted)
	}},
	{"a reader that left is not waited for", writing | live | wire | resuming, func(p *pipe) {
		l := p.over(calm)
		l.Hold()
		l.Cut()
		p.r.Close()
		l.Release()
		p.want(p.async(func() error { _, err := p.w.Write(make([]byte, 16<<20)); return err }), syscall.EPIPE)
	}},
	{"a silent connection is replaced", writing | live | wire | resuming, func(p *pipe) {
		l := p.over(Timing{Silence: 300 * time.Millisecond, Patience: time.Minute})
		p.w.Write([]byte("x"))
		l.Hold()
		p.w.Write([]byte("y"))
		p.is(p.w.Close(), nil)
		release := time.AfterFunc(time.Second, l.Release)
		defer release.Stop()
		got, end := p.read()
		p.want(end, nil)
		if string(got) != "xy" {
			p.Errorf("got %q", got)
		}
	}},
}
