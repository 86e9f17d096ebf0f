package shuffle

import (
	"context"
	"io"
	"sync"
)

const defaultPipe = 1 << 20

// NewMemPipe returns the two ends of a netpipe within this process, which holds at most buffer bytes; 0 means 1 MiB.
func NewMemPipe(buffer int) (PipeWriter, PipeReader) {
	if buffer <= 0 {
		buffer = defaultPipe
	}
	p := &memPipe{size: buffer}
	p.cond.L = &p.mu
	return &memWriter{p: p}, &memReader{p: p}
}

// A memPipe is what the two ends share. Each state is reached once and stays.
type memPipe struct {
	mu   sync.Mutex
	cond sync.Cond // of any change

	size int
	ring []byte // made by the first Write
	from int    // of the first byte in the ring
	n    int    // bytes in the ring

	reading   bool  // the reader has opened its end
	ended     bool  // the writer has closed its end, all is well
	writerErr error // why the writer can go no further
	readerErr error // why the reader can go no further
}

// set makes *err the error, if there was none, and wakes all who wait.
func (p *memPipe) set(dst *error, err error) {
	if *dst == nil {
		*dst = err
		p.cond.Broadcast()
	}
}

type memWriter struct {
	p      *memPipe
	opened bool
	stop   func() bool
}

func (w *memWriter) Open(ctx context.Context) error {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if !w.opened {
		w.opened = true
		w.stop = context.AfterFunc(ctx, func() { w.fail(context.Cause(ctx)) })
	}
	for !p.reading && p.writerErr == nil && !p.ended {
		p.cond.Wait()
	}
	return w.state()
}

// state returns why nothing can be written; p.mu is held.
func (w *memWriter) state() error {
	switch {
	case w.p.ended:
		return errClosed
	case w.p.writerErr != nil:
		return w.p.writerErr
	case !w.opened:
		return errNotOpen
	}
	return nil
}

// fail gives up: the writer fails with err and the reader is told its text.
func (w *memWriter) fail(err error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	if w.p.ended {
		return
	}
	w.p.set(&w.p.writerErr, err)
	w.p.set(&w.p.readerErr, aborted(err))
}

func (w *memWriter) Write(b []byte) (int, error) {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	done := 0
	for {
		if err := w.state(); err != nil {
			return done, err
		}
		if len(b) == 0 {
			return done, nil
		}
		if p.ring == nil {
			p.ring = make([]byte, p.size)
		}
		n := p.put(b)
		if n == 0 {
			p.cond.Wait()
			continue
		}
		done += n
		b = b[n:]
		p.cond.Broadcast()
	}
}

// put copies what fits to the ring.
func (p *memPipe) put(b []byte) int {
	done := 0
	for p.n < len(p.ring) && done < len(b) {
		to := (p.from + p.n) % len(p.ring)
		n := copy(p.ring[to:min(len(p.ring), to+len(p.ring)-p.n)], b[done:])
		p.n += n
		done += n
	}
	return done
}

func (w *memWriter) Close() error {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.stop != nil {
		w.stop()
	}
	if p.ended {
		return nil
	}
	if p.writerErr == nil && !w.opened {
		p.set(&p.writerErr, errNotOpen)
		p.set(&p.readerErr, errVanished)
	}
	if p.writerErr != nil {
		return p.writerErr
	}
	p.ended = true
	p.cond.Broadcast()
	return nil
}

func (w *memWriter) Abort(reason string) error {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.stop != nil {
		w.stop()
	}
	if p.ended {
		return errClosed
	}
	err := abortedFor(reason)
	p.set(&p.writerErr, err)
	p.set(&p.readerErr, err)
	return nil
}

type memReader struct {
	p      *memPipe
	opened bool
	stop   func() bool
}

func (r *memReader) Open(ctx context.Context) error {
	p := r.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if !r.opened {
		r.opened = true
		r.stop = context.AfterFunc(ctx, func() { r.fail(context.Cause(ctx)) })
	}
	p.reading = true
	p.cond.Broadcast()
	return nil
}

// fail lets go of the stream with err for the reader.
func (r *memReader) fail(err error) {
	p := r.p
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(&p.readerErr, err)
	if !p.ended {
		p.set(&p.writerErr, errNoReader)
	}
}

func (r *memReader) Read(b []byte) (int, error) {
	p := r.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.readerErr != nil:
			return 0, p.readerErr
		case !r.opened:
			return 0, errNotOpen
		case len(b) == 0:
			return 0, nil
		case p.n > 0:
			return p.take(b), nil
		case p.ended:
			p.set(&p.readerErr, io.EOF)
			return 0, io.EOF
		}
		p.cond.Wait()
	}
}

func (p *memPipe) take(b []byte) int {
	n := copy(b, p.ring[p.from:min(len(p.ring), p.from+p.n)])
	p.from = (p.from + n) % len(p.ring)
	p.n -= n
	p.cond.Broadcast()
	return n
}

func (r *memReader) Close() error {
	r.p.mu.Lock()
	stop := r.stop
	r.p.mu.Unlock()
	if stop != nil {
		stop()
	}
	r.fail(errClosed)
	return nil
}
