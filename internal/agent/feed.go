package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/store"
)

const (
	batchSize = 512 << 10               // bytes after which a slab is sent, so that the runner need not wait long
	maxWhole  = runner.SlabSize - 8<<10 // bytes of an object that is handed over in one piece; the rest is for its header
	pieceSize = 1 << 20                 // bytes of a piece of a larger one
)

// errPipe is the error of a send to a runner that is gone.
var errPipe error = unix.EPIPE

// A readError is one that no object is to blame for: the store cannot be read now.
type readError struct {
	uri string
	err error
}

func (e *readError) Error() string { return e.uri + ": " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// A batch is a slab that is being filled.
type batch struct {
	slab uint32
	b    []byte
	n    int            // bytes used
	wg   sync.WaitGroup // of the reads into it
}

// A feeder fills slabs with the objects of one split, in order, and sends them.
type feeder struct {
	t     *try
	ctx   context.Context
	cur   *batch
	queue chan *batch   // full ones, in order, while their reads go on
	slots chan struct{} // bounds the reads under way; nil if each is done on the spot

	mu  sync.Mutex
	err error // first read error
}

// feed hands the objects of the split to the runner. It returns when the runner has them all, or on the first error.
func (t *try) feed(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := &feeder{t: t, ctx: ctx, queue: make(chan *batch, runner.Slabs)}
	if n := t.a.job.Readers; n > 0 {
		f.slots = make(chan struct{}, n)
	}
	sent := make(chan error, 1)
	go func() {
		err := f.send()
		if err != nil {
			cancel(err)
		}
		sent <- err
	}()
	err := f.fill()
	if err == nil {
		f.flush()
	}
	close(f.queue)
	if serr := <-sent; serr != nil {
		err = serr
	}
	if err == nil {
		err = t.link.conn.Send(runner.KindEnd, nil)
	}
	return err
}

// send sends batches in order, each when all of its objects are read.
func (f *feeder) send() error {
	var failed error
	for b := range f.queue {
		b.wg.Wait()
		f.mu.Lock()
		if failed == nil {
			failed = f.err
		}
		f.mu.Unlock()
		l := f.t.link
		if failed != nil {
			l.free <- b.slab
			continue
		}
		l.lent[b.slab].Store(true)
		if failed = l.conn.SendUints(runner.KindBatch, b.slab, uint32(b.n)); failed != nil {
			l.back(b.slab)
		}
	}
	return failed
}

func (f *feeder) fill() error {
	for i := range f.t.objects {
		if _, skip := f.t.lease.Skip[i]; skip {
			continue
		}
		o := &f.t.objects[i]
		p := runner.Piece{
			Index: uint32(i), Input: uint32(o.Input), Size: o.Size, Modified: o.Modified.UnixNano(),
			Key: string(o.Key), ETag: o.ETag, First: true, Last: true,
			Sum: f.t.sample[i],
		}
		var err error
		if o.Size > maxWhole-int64(p.HeadSize()) {
			err = f.stream(i, o, &p)
		} else {
			err = f.whole(i, o, &p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// room makes the current batch one with room for n bytes.
func (f *feeder) room(n int) error {
	if f.cur != nil && (f.cur.n+n > len(f.cur.b) || f.cur.n >= batchSize) {
		f.flush()
	}
	if f.cur != nil {
		return nil
	}
	select {
	case i := <-f.t.link.free:
		f.cur = &batch{slab: i, b: f.t.link.mem.Slab(int(i))}
		return nil
	case <-f.ctx.Done():
		return context.Cause(f.ctx)
	}
}

// flush queues the current batch for sending.
func (f *feeder) flush() {
	if f.cur == nil {
		return
	}
	f.queue <- f.cur
	f.cur = nil
}

// whole reads an object into the current batch.
func (f *feeder) whole(i int, o *plan.Object, p *runner.Piece) error {
	size := p.HeadSize() + int(o.Size)
	if err := f.room(size); err != nil {
		return err
	}
	b := f.cur
	head := b.b[b.n:]
	dst := p.Put(head, int(o.Size))
	b.n += size
	if f.slots == nil {
		return f.read(i, o, head, dst)
	}
	select {
	case f.slots <- struct{}{}:
	case <-f.ctx.Done():
		return context.Cause(f.ctx)
	}
	b.wg.Add(1)
	go func() {
		defer func() { <-f.slots; b.wg.Done() }()
		if err := f.read(i, o, head, dst); err != nil {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.err == nil {
				f.err = err
			}
		}
	}()
	return nil
}

// read reads an object; one that cannot be had is marked and listed.
func (f *feeder) read(i int, o *plan.Object, head, dst []byte) error {
	if f.readLocal(o, dst) {
		return nil
	}
	in := &f.t.a.job.Inputs[o.Input]
	err := store.ReadWhole(f.ctx, in.Bucket, listed(o), dst)
	if err == nil {
		f.t.reading.add(local(in), o.Size)
		return nil
	}
	if err := f.blame(i, err); err != nil {
		return err
	}
	runner.MarkUnread(head)
	return nil
}

// blame lists the object if the error is its own, and returns the error otherwise.
func (f *feeder) blame(i int, err error) error {
	if f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	for _, own := range []error{store.ErrNotExist, store.ErrChanged, store.ErrPermission, store.ErrShort} {
		if errors.Is(err, own) {
			f.t.lost(i, err)
			return nil
		}
	}
	return &readError{f.t.uri(i), err}
}

// stream hands over a large object piece by piece.
func (f *feeder) stream(i int, o *plan.Object, p *runner.Piece) error {
	r, err := f.open(o)
	if err != nil {
		return f.blame(i, err)
	}
	err = f.pieces(i, o, p, r)
	return errors.Join(err, r.Close())
}

func (f *feeder) pieces(i int, o *plan.Object, p *runner.Piece, r io.Reader) error {
	for left := o.Size; left > 0; {
		n := int(min(left, pieceSize))
		if err := f.room(p.HeadSize() + n); err != nil {
			return err
		}
		b := f.cur
		head := b.b[b.n:]
		left -= int64(n)
		p.Last = left == 0
		_, err := io.ReadFull(r, p.Put(head, n))
		b.n += p.HeadSize() + n
		p.First = false
		if err == nil {
			continue
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = fmt.Errorf("%w: %d of %d bytes", store.ErrShort, o.Size-left-int64(n), o.Size)
		}
		if err := f.blame(i, err); err != nil {
			return err
		}
		runner.MarkUnread(head)
		return nil
	}
	return nil
}

// lost lists an object that could not be read.
func (t *try) lost(i int, err error) {
	t.fail(i, err.Error())
	t.mu.Lock()
	t.unread++
	t.mu.Unlock()
}
