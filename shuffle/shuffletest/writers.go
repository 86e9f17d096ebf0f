package shuffletest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"syscall"

	"github.com/millrace/millrace/shuffle"
)

// batch returns one that can be told from all others: its writer, its number, its length, and bytes that follow from them.
func batch(writer, number, n int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(writer))
	b = binary.LittleEndian.AppendUint32(b, uint32(number))
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	rest := make([]byte, n)
	for i := range rest {
		rest[i] = byte(writer + 3*number + 7*i)
	}
	return append(b, rest...)
}

// batches reads batches to the end, which must each be whole and in the order of its writer, and returns how many there were of each.
func batches(r io.Reader) (map[int]int, error) {
	got := map[int]int{}
	h := make([]byte, 12)
	for {
		if _, err := io.ReadFull(r, h); err == io.EOF {
			return got, nil
		} else if err != nil {
			return got, err
		}
		writer, number, n := int(binary.LittleEndian.Uint32(h)), int(binary.LittleEndian.Uint32(h[4:])), int(binary.LittleEndian.Uint32(h[8:]))
		if number != got[writer] || n > 4<<20 {
			return got, fmt.Errorf("batch %d of writer %d with %d bytes, where %d is due", number, writer, n, got[writer])
		}
		rest := make([]byte, n)
		if _, err := io.ReadFull(r, rest); err != nil {
			return got, err
		}
		if !bytes.Equal(rest, batch(writer, number, n)[12:]) {
			return got, fmt.Errorf("batch %d of writer %d is torn", number, writer)
		}
		got[writer]++
	}
}

// writers are behaviours of several writers with one reader.
var writers = []behaviour{
	{"batches are whole", writing | several, func(p *pipe) {
		p.use(3)
		p.open()
		var wrote []<-chan error
		for i, w := range p.all {
			wrote = append(wrote, p.async(func() error {
				rnd := rand.New(rand.NewPCG(uint64(i), 1))
				for n := range 20 {
					size := rnd.IntN(1000)
					if n%7 == 3 {
						size = rnd.IntN(1 << 20) // in several pieces
					}
					if _, err := w.Write(batch(i, n, size)); err != nil {
						return err
					}
				}
				return w.Close()
			}))
		}
		var got map[int]int
		p.want(p.async(func() (err error) { got, err = batches(p.r); return err }), nil)
		for i, c := range wrote {
			p.want(c, nil)
			if got[i] != 20 {
				p.Errorf("got %d batches of writer %d, want 20", got[i], i)
			}
		}
	}},
	{"a batch may be larger than the pipe", writing | several, func(p *pipe) {
		p.use(2)
		p.open()
		for i, w := range p.all {
			p.async(func() error {
				_, err := w.Write(batch(i, 0, 3<<20))
				return errors.Join(err, w.Close())
			})
		}
		p.want(p.async(func() error { _, err := batches(p.r); return err }), nil)
	}},
	{"the last writer makes the end", writing | several, func(p *pipe) {
		p.use(2)
		p.open()
		p.w.Write([]byte("x"))
		p.is(p.w.Close(), nil)
		read := p.async(func() error { _, err := io.ReadFull(p.r, make([]byte, 2)); return err })
		p.blocks(read)
		p.all[1].Write([]byte("y"))
		p.want(read, nil)
		end := p.async(func() error { _, err := p.r.Read(make([]byte, 1)); return err })
		p.blocks(end)
		p.is(p.all[1].Close(), nil)
		p.want(end, io.EOF)
	}},
	{"a writer may come after others have gone", writing | several, func(p *pipe) {
		p.use(2)
		p.is(p.r.Open(context.Background()), nil)
		p.want(p.async(func() error { return p.w.Open(context.Background()) }), nil)
		p.w.Write([]byte("x"))
		p.is(p.w.Close(), nil)
		p.want(p.async(func() error { _, err := io.ReadFull(p.r, make([]byte, 1)); return err }), nil)
		p.want(p.async(func() error { return p.all[1].Open(context.Background()) }), nil)
		p.all[1].Write([]byte("y"))
		p.is(p.all[1].Close(), nil)
		got, end := p.read()
		p.want(end, nil)
		if string(got) != "y" {
			p.Errorf("got %q, want the bytes of the other writer", got)
		}
	}},
	{"a writer that says nothing holds up no other", writing | several, func(p *pipe) {
		p.use(3)
		p.open()
		want := pattern(3 << 20)
		wrote := p.async(func() error { _, err := p.all[1].Write(want); return err })
		got := make([]byte, len(want))
		p.want(p.async(func() error { _, err := io.ReadFull(p.r, got); return err }), nil)
		p.want(wrote, nil)
		if !bytes.Equal(got, want) {
			p.Errorf("got other bytes")
		}
	}},
	{"one abort is the abort of all", writing | several, func(p *pipe) {
		p.use(3)
		p.open()
		p.w.Write([]byte("x"))
		p.is(p.w.Close(), nil)
		p.is(p.all[1].Abort("runner killed"), nil)
		_, end := p.read()
		p.want(end, shuffle.ErrAborted)
		p.want(p.async(func() error { _, err := p.all[2].Write(make([]byte, 16<<20)); return err }), syscall.EPIPE)
	}},
	{"one writer that never opened is no end of all", writing | several, func(p *pipe) {
		p.use(2)
		p.is(p.r.Open(context.Background()), nil)
		p.want(p.async(func() error { return p.w.Open(context.Background()) }), nil)
		p.is(p.w.Close(), nil)
		p.all[1].Close()
		_, end := p.read()
		p.want(end, io.ErrUnexpectedEOF, shuffle.ErrAborted)
	}},
	{"a reader that leaves breaks the pipe of all writers", writing | several, func(p *pipe) {
		p.use(3)
		p.open()
		var full []<-chan error
		for _, w := range p.all {
			full = append(full, p.async(func() error { _, err := w.Write(make([]byte, 16<<20)); return err }))
		}
		p.blocks(full[0])
		p.is(p.r.Close(), nil)
		for _, c := range full {
			p.want(c, syscall.EPIPE)
		}
	}},
	{"cancelling the reader of several interrupts it", writing | several, func(p *pipe) {
		p.use(2)
		ctx, cancel := context.WithCancelCause(context.Background())
		p.openWith(context.Background(), ctx)
		read := p.async(func() error { _, err := p.r.Read(make([]byte, 1)); return err })
		p.blocks(read)
		cancel(errCause)
		p.want(read, errCause)
	}},
}

// relays are behaviours of a netpipe between two others.
var relays = []behaviour{
	{"a relay keeps batches and the end", writing | several, func(p *pipe) {
		p.use(2)
		var relayed []<-chan error
		for i, w := range p.all {
			sw, sr := shuffle.NewMemPipe(0)
			relayed = append(relayed, p.async(func() error {
				if err := errors.Join(sr.Open(context.Background()), w.Open(context.Background())); err != nil {
					return err
				}
				return shuffle.Relay(w, sr)
			}))
			p.async(func() error {
				if err := sw.Open(context.Background()); err != nil {
					return err
				}
				for n := range 10 {
					if _, err := sw.Write(batch(i, n, n*60_000)); err != nil {
						return err
					}
				}
				return sw.Close()
			})
		}
		p.is(p.r.Open(context.Background()), nil)
		var got map[int]int
		p.want(p.async(func() (err error) { got, err = batches(p.r); return err }), nil)
		if got[0] != 10 || got[1] != 10 {
			p.Errorf("got %d and %d batches, want 10 of each", got[0], got[1])
		}
		for _, c := range relayed {
			p.want(c, nil)
		}
	}},
	{"a relay passes on an abort with its reason", writing | live, func(p *pipe) {
		sw, sr := shuffle.NewMemPipe(0)
		p.open()
		p.is(sr.Open(context.Background()), nil)
		p.is(sw.Open(context.Background()), nil)
		relayed := p.async(func() error { return shuffle.Relay(p.w, sr) })
		sw.Write([]byte("x"))
		sw.Abort("disk full")
		_, end := p.read()
		err := p.wait(end)
		p.is(err, shuffle.ErrAborted)
		if fmt.Sprint(err) != "netpipe aborted: disk full" {
			p.Errorf("got %v, want the reason and no more", err)
		}
		p.want(relayed, shuffle.ErrAborted)
	}},
	{"a relay passes back that the reader has gone", writing | live, func(p *pipe) {
		sw, sr := shuffle.NewMemPipe(0)
		p.open()
		p.is(sr.Open(context.Background()), nil)
		p.is(sw.Open(context.Background()), nil)
		relayed := p.async(func() error { return shuffle.Relay(p.w, sr) })
		p.r.Close()
		p.want(p.async(func() error { _, err := sw.Write(make([]byte, 64<<20)); return err }), syscall.EPIPE)
		p.want(relayed, syscall.EPIPE)
	}},
}
