package runner

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A feed takes the pieces of a split from the slabs, in order, and gives each slab back when all of its pieces are used.
type feed struct {
	s    *server
	slab uint32
	rest []byte // of the slab under way
	held bool   // a slab is ours
	over bool   // E came
	err  error  // the channel is broken: nothing more will come
}

// next returns the next piece; what the last one pointed at is no longer valid. It returns io.EOF after the last.
func (f *feed) next() (Piece, []byte, error) {
	for len(f.rest) == 0 {
		if f.err != nil {
			return Piece{}, nil, f.err
		}
		if f.over {
			return Piece{}, nil, io.EOF
		}
		if err := f.refill(); err != nil {
			f.err = err
		}
	}
	p, data, rest, err := nextPiece(f.rest)
	if err != nil {
		f.err, f.rest = err, nil
		return p, nil, err
	}
	f.rest = rest
	return p, data, nil
}

// object returns the next object that could be read so far, its first bytes and its body. What an object before pointed at is no longer
// valid.
func (f *feed) object() (Piece, []byte, *pieces, error) {
	for {
		p, data, err := f.next()
		if err != nil {
			return p, nil, nil, err
		}
		if !p.First {
			f.err = fmt.Errorf("%w: object %d begins in the middle", ErrProtocol, p.Index)
			return p, nil, nil, f.err
		}
		body := &pieces{f: f, data: data, last: p.Last, unread: p.Unread}
		if !p.Unread {
			return p, data, body, nil
		}
		body.drain()
	}
}

// whole reports whether a whole object follows in the slab under way, so that taking it leaves valid what came before.
func (f *feed) whole() bool {
	const all = flagFirst | flagLast
	return len(f.rest) >= objectHeader && binary.LittleEndian.Uint32(f.rest[32:])&all == all
}

// refill gives the slab back and waits for the next.
func (f *feed) refill() error {
	if f.held {
		f.held = false
		if err := f.s.out.flush(); err != nil {
			return err
		}
		if err := f.s.conn.SendUints(KindFree, f.slab); err != nil {
			return err
		}
	}
	k, payload, file, err := f.s.conn.Recv()
	if err != nil {
		return err
	}
	if file != nil {
		_ = file.Close() // nothing was announced
	}
	switch k {
	case KindEnd:
		f.over = true
		return nil
	case KindBatch:
	default:
		return fmt.Errorf("%w: frame %c within a split", ErrProtocol, k)
	}
	var n uint32
	if _, err := Uints(payload, &f.slab, &n); err != nil {
		return err
	}
	if f.slab >= Slabs || n > SlabSize {
		return fmt.Errorf("%w: %d bytes in slab %d", ErrProtocol, n, f.slab)
	}
	f.held, f.rest = true, f.s.mem.Slab(int(f.slab))[:n]
	return nil
}

// A pieces is the body of an object that comes in several pieces.
type pieces struct {
	f      *feed
	data   []byte
	last   bool
	unread bool // the agent could not read on: forget the object
	err    error
}

// Read reads on, over the borders of pieces.
func (p *pieces) Read(b []byte) (int, error) {
	for len(p.data) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		if p.last {
			return 0, io.EOF
		}
		p.more()
	}
	n := copy(b, p.data)
	p.data = p.data[n:]
	return n, nil
}

func (p *pieces) more() {
	piece, data, err := p.f.next()
	switch {
	case err == io.EOF:
		p.err = fmt.Errorf("%w: split ends within an object", ErrProtocol)
		p.f.err = p.err
	case err != nil:
		p.err = err
	case piece.Unread:
		p.last, p.unread, p.err = true, true, io.ErrUnexpectedEOF
	default:
		p.data, p.last = data, piece.Last
	}
}

// drain skips what the mapper left.
func (p *pieces) drain() {
	for !p.last && p.err == nil {
		p.data = nil
		p.more()
	}
}
