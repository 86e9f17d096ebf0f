package shuffletest

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/shuffle"
)

// ends are behaviours at the beginning and the end of a netpipe.
var ends = []behaviour{
	{"opening waits for the reader", writing | live, func(p *pipe) {
		opened := p.async(func() error { return p.w.Open(context.Background()) })
		p.blocks(opened)
		p.is(p.r.Open(context.Background()), nil)
		p.want(opened, nil)
	}},
	{"the reader does not wait for a writer", writing | live, func(p *pipe) {
		p.want(p.async(func() error { return p.r.Open(context.Background()) }), nil)
		read := p.async(func() error { _, err := p.r.Read(make([]byte, 1)); return err })
		p.blocks(read)
		p.want(p.async(func() error { return p.w.Open(context.Background()) }), nil)
		p.blocks(read)
		p.w.Write([]byte("x"))
		p.want(read, nil)
	}},
	{"ends that are not open refuse", writing | live, func(p *pipe) {
		_, err := p.w.Write([]byte("x"))
		p.is(err, os.ErrInvalid)
		_, err = p.r.Read(make([]byte, 1))
		p.is(err, os.ErrInvalid)
	}},
	{"a reader that leaves breaks the pipe", writing | live, func(p *pipe) {
		p.open()
		full := p.fill()
		p.r.Close()
		p.want(full, syscall.EPIPE)
		_, err := p.w.Write([]byte("x"))
		p.is(err, syscall.EPIPE)
		p.is(p.w.Close(), syscall.EPIPE)
	}},
	{"a reader that leaves unread bytes breaks the pipe", writing | live, func(p *pipe) {
		p.open()
		p.w.Write(make([]byte, 1000))
		p.r.Close()
		_, err := p.w.Write(make([]byte, 16<<20))
		p.is(err, syscall.EPIPE)
	}},
	{"a reader that left before it opened breaks the pipe", writing | live, func(p *pipe) {
		opened := p.async(func() error { return p.w.Open(context.Background()) })
		p.r.Close()
		p.want(opened, syscall.EPIPE)
	}},
	{"closing the reader interrupts its read", writing | live, func(p *pipe) {
		p.open()
		read := p.async(func() error { _, err := p.r.Read(make([]byte, 1)); return err })
		p.blocks(read)
		p.r.Close()
		p.want(read, os.ErrClosed)
	}},
	{"ends that are closed refuse", writing | live, func(p *pipe) {
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
	{"closing twice is closing once", writing | live, func(p *pipe) {
		p.open()
		p.is(p.w.Close(), nil)
		p.is(p.w.Close(), nil)
		_, end := p.read()
		p.want(end, nil)
		p.is(p.r.Close(), nil)
		p.is(p.r.Close(), nil)
	}},
	{"many may close at once", writing | live, func(p *pipe) {
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
	{"closing waits for a write in flight", writing | live, func(p *pipe) {
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
	{"an abort has a reason", writing | live, func(p *pipe) {
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
	{"an abort interrupts a write", writing | live, func(p *pipe) {
		p.open()
		full := p.fill()
		aborted := p.async(func() error { return p.w.Abort("enough") })
		p.want(full, shuffle.ErrAborted)
		_, end := p.read()
		p.want(end, shuffle.ErrAborted)
		p.want(aborted, nil)
	}},
	{"an abort interrupts opening", writing | live, func(p *pipe) {
		opened := p.async(func() error { return p.w.Open(context.Background()) })
		p.blocks(opened)
		p.w.Abort("too late")
		p.want(opened, shuffle.ErrAborted)
		p.r.Open(context.Background())
		_, end := p.read()
		p.want(end, shuffle.ErrAborted, io.ErrUnexpectedEOF)
	}},
	{"an abort beats a close", writing | live, func(p *pipe) {
		p.open()
		p.w.Abort("no")
		p.is(p.w.Close(), shuffle.ErrAborted)
		_, end := p.read()
		p.want(end, shuffle.ErrAborted)
	}},
	{"an abort after the end is none", writing | live, func(p *pipe) {
		p.open()
		p.w.Close()
		p.is(p.w.Abort("no"), os.ErrClosed)
		_, end := p.read()
		p.want(end, nil)
	}},
	{"abort and close at once leave one of them", writing | live, func(p *pipe) {
		p.open()
		p.w.Write([]byte("x"))
		closed, aborted := p.async(p.w.Close), p.async(func() error { return p.w.Abort("no") })
		_, end := p.read()
		if cerr, aerr, rerr := p.wait(closed), p.wait(aborted), p.wait(end); (cerr == nil) == (aerr == nil) || (cerr == nil) != (rerr == nil) {
			p.Errorf("close: %v, abort: %v, reader: %v; want one of the two, and the reader to see it", cerr, aerr, rerr)
		}
	}},
	{"a writer that never opened does not end the stream", writing | live, func(p *pipe) {
		p.is(p.w.Close(), os.ErrInvalid)
		p.r.Open(context.Background())
		_, err := p.r.Read(make([]byte, 1))
		p.is(err, io.ErrUnexpectedEOF, shuffle.ErrAborted)
	}},
	{"reasons are bounded and harmless", writing | live, func(p *pipe) {
		p.open()
		p.w.Abort("\x1b[2J" + strings.Repeat("x", 1<<20))
		_, end := p.read()
		err := p.wait(end)
		p.is(err, shuffle.ErrAborted)
		if err != nil && (len(err.Error()) > 5<<10 || strings.Contains(err.Error(), "\x1b")) {
			p.Errorf("got %d bytes of reason: %.40q", len(err.Error()), err.Error())
		}
	}},
	{"cancelling the writer interrupts it", writing | live, func(p *pipe) {
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
	{"a deadline ends opening", writing | live, func(p *pipe) {
		ctx, cancel := context.WithTimeout(context.Background(), moment)
		defer cancel()
		p.want(p.async(func() error { return p.w.Open(ctx) }), context.DeadlineExceeded)
	}},
	{"cancelling the reader interrupts it", writing | live, func(p *pipe) {
		ctx, cancel := context.WithCancelCause(context.Background())
		p.openWith(context.Background(), ctx)
		read := p.async(func() error { _, err := p.r.Read(make([]byte, 1)); return err })
		p.blocks(read)
		cancel(errCause)
		p.want(read, errCause)
		p.want(p.async(func() error { _, err := p.w.Write(make([]byte, 16<<20)); return err }), syscall.EPIPE)
	}},
	{"cancelling after the end changes nothing", writing | live, func(p *pipe) {
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
