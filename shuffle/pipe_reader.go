package shuffle

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// A pipeReader is the reading end over links of any sort. Each state is reached once and stays.
type pipeReader struct {
	o      PipeOptions
	ctx    context.Context // of the links
	cancel context.CancelFunc

	mu       sync.Mutex // of what follows
	cond     sync.Cond  // of any change
	link     Link       // nil when there is none
	opened   bool
	err      error // why nothing can be read; the first one stays
	stop     func() bool
	silent   bool // the link was closed because nothing came
	waiting  bool // for a frame, since heard
	heard    time.Time
	beat     *time.Timer
	frames   uint64 // that have come
	consumed uint64 // bytes of them that were read
	told     uint64 // the limit that the writer knows of

	sending sync.Mutex // held by whoever sends

	// What follows is for Read.
	rest    []byte // of the last piece
	held    int    // bytes of that piece
	inBatch bool
	total   total
}

// NewPipeReader returns the reading end of a netpipe over link, which it takes over. link is nil if the first one comes by Redial.
func NewPipeReader(link Link, o *PipeOptions) PipeReader {
	r := &pipeReader{o: o.orDefault(), link: link, total: newTotal()}
	r.cond.L = &r.mu
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

func (r *pipeReader) resumes() bool { return r.o.Redial != nil }

func (r *pipeReader) Open(ctx context.Context) error {
	r.mu.Lock()
	if r.opened || r.err != nil {
		defer r.mu.Unlock()
		return r.err
	}
	r.opened = true
	r.stop = context.AfterFunc(ctx, func() { _ = r.fail(context.Cause(ctx)) })
	link := r.link
	r.mu.Unlock()
	if r.resumes() {
		go r.connect()
		return nil
	}
	// A writer that has vanished already is seen by Read, after what it may have written.
	if err := r.greet(link); err != nil && !broken(err) {
		return r.fail(fmt.Errorf("netpipe reader: %w", err))
	}
	return nil
}

// connect makes links for as long as they are needed.
func (r *pipeReader) connect() {
	for {
		link, err := r.o.Redial(r.ctx)
		if err != nil {
			_ = r.fail(fmt.Errorf("%w: %w", errVanished, err))
			return
		}
		if err := r.greet(link); err != nil {
			link.Close()
			continue
		}
		r.mu.Lock()
		for r.err == nil && r.link == link {
			r.cond.Wait()
		}
		over := r.err != nil
		r.mu.Unlock()
		if over {
			return
		}
	}
}

// greet says hello on a link and begins to use it.
func (r *pipeReader) greet(link Link) error {
	r.mu.Lock()
	r.told = r.consumed + uint64(r.o.Window)
	hello := progress{r.frames, r.told}
	r.mu.Unlock()
	r.sending.Lock()
	err := say(link, Hello, hello.append(nil))
	r.sending.Unlock()
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		link.Close()
		return nil
	}
	r.link, r.heard = link, time.Now()
	if r.o.Silence > 0 {
		r.beat = time.AfterFunc(r.o.Silence/3, func() { r.tick(link) })
	}
	r.cond.Broadcast()
	return nil
}

// tick says that the reader is there, and breaks a link on which Read waits and hears nothing.
func (r *pipeReader) tick(link Link) {
	r.mu.Lock()
	if r.link != link || r.err != nil {
		r.mu.Unlock()
		return
	}
	r.silent = r.waiting && time.Since(r.heard) > r.o.Silence
	silent := r.silent
	if !silent {
		r.beat.Reset(r.o.Silence / 3)
	}
	r.mu.Unlock()
	switch {
	case silent:
		link.Close()
	case r.sending.TryLock():
		_ = say(link, Beat, nil) // whoever receives hears of an error
		r.sending.Unlock()
	}
}

// fail lets go of the stream with err for the reader, if it had no error, and returns the one that it has.
func (r *pipeReader) fail(err error) error {
	r.mu.Lock()
	if r.err != nil {
		defer r.mu.Unlock()
		return r.err
	}
	r.err = err
	link := r.link
	if r.beat != nil {
		r.beat.Stop()
	}
	r.cond.Broadcast()
	r.mu.Unlock()
	if link != nil {
		if r.resumes() { // the writer must not try another link
			link.SetSendDeadline(time.Now().Add(abortGrace))
			r.sending.Lock()
			_ = say(link, Gone, nil)
			r.sending.Unlock()
		}
		link.Close()
	}
	r.cancel()
	if r.o.Over != nil {
		r.o.Over()
	}
	return err
}

func (r *pipeReader) Read(p []byte) (int, error) { return readPiece(r, &r.rest, p) }

func (r *pipeReader) state() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && !r.opened {
		return errNotOpen
	}
	return r.err
}

// next returns the next piece, valid until the next call, and whether there is more to come of its batch.
func (r *pipeReader) next() (piece []byte, more bool, err error) {
	r.acknowledge()
	for {
		link, err := r.current()
		if err != nil {
			return nil, false, err
		}
		kind, payload, sum, err := link.Receive()
		r.mu.Lock()
		r.waiting = false
		r.mu.Unlock()
		if err != nil {
			if r.resumes() && !final(err) {
				r.leave(link)
				continue
			}
			return nil, false, r.fail(r.lost(err))
		}
		if kind == Beat {
			continue
		}
		if err := r.take(kind, payload, sum); err != nil {
			return nil, false, r.fail(err)
		}
		return payload, kind == Part, nil
	}
}

// acknowledge counts the last piece as read, and lets the writer go on when that is worth a frame.
func (r *pipeReader) acknowledge() {
	r.mu.Lock()
	r.consumed += uint64(r.held)
	r.held = 0
	limit := r.consumed + uint64(r.o.Window)
	due := r.link != nil && r.err == nil && limit-r.told >= max(1, uint64(r.o.Window)/2)
	link, ack := r.link, progress{r.frames, limit}
	if due {
		r.told = limit
	}
	r.mu.Unlock()
	if due {
		r.sending.Lock()
		_ = say(link, Ack, ack.append(nil)) // if it fails, Receive fails after what has come already
		r.sending.Unlock()
	}
}

// current returns the link to receive from, when there is one.
func (r *pipeReader) current() (Link, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		switch {
		case r.err != nil:
			return nil, r.err
		case !r.opened:
			return nil, errNotOpen
		case r.link != nil:
			r.waiting, r.heard = true, time.Now()
			return r.link, nil
		}
		r.cond.Wait()
	}
}

// leave gives up a broken link.
func (r *pipeReader) leave(link Link) {
	link.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.link == link {
		r.link = nil
		if r.beat != nil {
			r.beat.Stop()
		}
		r.cond.Broadcast()
	}
}

// lost returns what the reader makes of a link's error.
func (r *pipeReader) lost(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.silent:
		return fmt.Errorf("netpipe writer was silent for %v: %w", r.o.Silence, io.ErrUnexpectedEOF)
	case broken(err):
		return errVanished
	}
	return fmt.Errorf("netpipe: %w", err)
}

// take takes one frame of the writer. The error is io.EOF after a verified END.
func (r *pipeReader) take(kind Kind, payload []byte, sum uint32) error {
	switch kind {
	case Data, Part:
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(payload) == 0 || r.total.bytes+uint64(len(payload)) > r.told {
			return fmt.Errorf("netpipe: %w: %d bytes, where %d are allowed", ErrCorrupt, len(payload), r.told-r.total.bytes)
		}
		r.total.add(kind, len(payload), sum)
		r.frames++
		r.held = len(payload)
		r.inBatch = kind == Part
		return nil
	case Abort:
		return abortedFor(string(payload))
	case End:
		if r.inBatch || !bytes.Equal(payload, r.total.end()) {
			return fmt.Errorf("netpipe: %w: its end does not agree with its %d bytes", ErrCorrupt, r.total.bytes)
		}
		return io.EOF
	}
	return fmt.Errorf("netpipe: %w: a writer's frame of kind %d", ErrCorrupt, kind)
}

func (r *pipeReader) Close() error {
	r.mu.Lock()
	stop := r.stop
	r.mu.Unlock()
	if stop != nil {
		stop()
	}
	_ = r.fail(errClosed)
	return nil
}
