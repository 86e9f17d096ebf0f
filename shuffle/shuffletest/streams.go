package shuffletest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing/iotest"
	"time"

	"github.com/millrace/millrace/shuffle"
)

// readers are behaviours of what can be read, however it came about.
var readers = []behaviour{
	{"what was written is read", reading, func(p *pipe) {
		want := pattern(1 << 20)
		p.feed(want)
		got, end := p.read()
		p.want(end, nil)
		if !bytes.Equal(got, want) {
			p.Errorf("got %d bytes, want %d, or other bytes", len(got), len(want))
		}
	}},
	{"reads may be of any size", reading, func(p *pipe) {
		want := pattern(100_000)
		p.feed(want)
		p.want(p.async(func() error { return iotest.TestReader(onlyReader{p.r}, want) }), nil)
	}},
	{"nothing can be read as well", reading, func(p *pipe) {
		p.feed(nil)
		got, end := p.read()
		p.want(end, nil)
		if len(got) != 0 {
			p.Errorf("got %d bytes, want none", len(got))
		}
	}},
	{"nothing follows the end", reading, func(p *pipe) {
		p.feed([]byte("x"))
		_, end := p.read()
		p.want(end, nil)
		for range 3 {
			n, err := p.r.Read(make([]byte, 1))
			p.is(err, io.EOF)
			if n != 0 {
				p.Errorf("read %d bytes after the end", n)
			}
		}
	}},
	{"a closed reader refuses", reading, func(p *pipe) {
		p.feed(pattern(10_000))
		p.is(p.r.Close(), nil)
		_, err := p.r.Read(make([]byte, 1))
		p.is(err, os.ErrClosed)
		p.is(p.r.Close(), nil)
	}},
	{"a reader lives as long as its context", reading, func(p *pipe) {
		ctx, cancel := context.WithCancelCause(context.Background())
		switch {
		case p.tr.Feed != nil:
			p.r = p.tr.Feed(p.T, pattern(10_000))
			p.is(p.r.Open(ctx), nil)
		case p.tr.Spool:
			p.is(p.w.Open(context.Background()), nil)
			p.is(p.w.Close(), nil)
			p.is(p.r.Open(ctx), nil)
		default:
			p.openWith(context.Background(), ctx)
		}
		cancel(errCause)
		p.want(p.async(func() error {
			for {
				if _, err := p.r.Read(make([]byte, 1)); err != nil {
					return err
				}
			}
		}), errCause, io.EOF)
	}},
	{"what was given up is never an end", writing, func(p *pipe) {
		if p.tr.Spool {
			p.is(p.w.Open(context.Background()), nil)
		} else {
			p.open()
		}
		p.w.Write([]byte("x"))
		p.is(p.w.Abort("the mapper died"), nil)
		if p.tr.Spool {
			p.is(p.r.Open(context.Background()), nil)
		}
		_, end := p.read()
		p.want(end, shuffle.ErrAborted)
	}},
}

// streams are behaviours of one writer and one reader while all is well.
var streams = []behaviour{
	{"bytes arrive in order", writing | live, func(p *pipe) {
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
	{"a stream may be empty", writing | live, func(p *pipe) {
		p.open()
		p.is(p.w.Close(), nil)
		data, end := p.read()
		p.want(end, nil)
		if len(data) != 0 {
			p.Errorf("got %d bytes, want none", len(data))
		}
	}},
	{"the end stays", writing | live, func(p *pipe) {
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
	{"one write may be larger than the pipe", writing | live, func(p *pipe) {
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
	{"writes of nothing are nothing", writing | live, func(p *pipe) {
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
	{"a read of nothing does not wait", writing | live, func(p *pipe) {
		p.open()
		p.want(p.async(func() error { _, err := p.r.Read(nil); return err }), nil)
	}},
	{"the writer keeps what it was given", writing | live, func(p *pipe) {
		p.open()
		b := []byte("before")
		p.w.Write(b)
		copy(b, "after!")
		p.w.Close()
		if got, _ := p.read(); string(got) != "before" {
			p.Errorf("got %q, want the bytes of the time of the write", got)
		}
	}},
	{"a full pipe makes the writer wait", writing | live, func(p *pipe) {
		p.open()
		full := p.fill()
		p.async(func() error { _, err := io.CopyN(io.Discard, onlyReader{p.r}, 1); return err }) // gives no room for 16 MiB
		p.blocks(full)
		p.w.Abort("seen enough")
		p.want(full, shuffle.ErrAborted)
	}},
	{"a slow reader gets everything", writing | live, func(p *pipe) {
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
	{"what was written before the end is read after it", writing | live, func(p *pipe) {
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
}
