package shuffle

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"
)

// abortGrace is how long Abort tries to get the reason to a reader that does not read.
const abortGrace = time.Second

// A pipeWriter is the writing end over links of any sort. Each state is reached once and stays.
type pipeWriter struct {
	o PipeOptions

	mu      sync.Mutex // of what follows
	cond    sync.Cond  // of any change
	link    Link       // nil when there is none
	started bool       // listen runs, or ran
	opened  bool       // the reader has said hello
	err     error      // why nothing can be written; the first one stays
	ending  bool       // Close is under way
	ended   bool       // END was sent, or kept
	giving  bool       // ABORT is under way
	silent  bool       // the link was closed because nothing came
	stop    func() bool
	sent    uint64      // bytes of DATA and PART
	limit   uint64      // of them that the reader allows
	step    uint64      // how much of the limit is worth waiting for
	kept    []keptFrame // what the reader may ask for again on its next link
	first   uint64      // the number of the first of them
	free    [][]byte
	beat    *time.Timer
	heard   time.Time

	sending sync.Mutex // held by whoever sends; taken before mu

	writing  sync.Mutex // of what follows; held for a whole Write, Close or Abort; taken before sending
	finished bool       // no more frames
	total    total

	over chan struct{} // closed when listen ends
}

type keptFrame struct {
	kind    Kind
	payload []byte
	sum     uint32
}

// NewPipeWriter returns the writing end of a netpipe over link, which it takes over. link is nil if the first one comes by Redial.
//
// With a Redial, Close and Abort do not wait until the reader has everything: the end lives on until the reader says so, or Redial fails.
func NewPipeWriter(link Link, o *PipeOptions) PipeWriter {
	w := &pipeWriter{o: o.orDefault(), link: link, total: newTotal(), over: make(chan struct{})}
	w.cond.L = &w.mu
	return w
}

func (w *pipeWriter) resumes() bool { return w.o.Redial != nil }

func (w *pipeWriter) Open(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && !w.ending && w.stop == nil {
		w.stop = context.AfterFunc(ctx, func() { _ = w.abort(context.Cause(ctx)) })
		w.start()
	}
	for !w.opened && w.err == nil {
		w.cond.Wait()
	}
	return w.err
}

// start has the reader listened to. The caller holds w.mu.
func (w *pipeWriter) start() {
	if !w.started {
		w.started = true
		go w.listen()
	}
}

// listen makes links and hears what the reader says on them, until there is nothing left to say.
func (w *pipeWriter) listen() {
	defer close(w.over)
	if w.o.Over != nil {
		defer w.o.Over()
	}
	w.mu.Lock()
	link := w.link
	w.mu.Unlock()
	for {
		if link == nil {
			var err error
			if link, err = w.o.Redial(context.Background()); err != nil {
				_ = w.set(fmt.Errorf("netpipe writer: %w", err))
				return
			}
		}
		err := w.serve(link)
		link.Close()
		if w.lost(err) {
			return
		}
		link = nil
	}
}

// serve hears what the reader says on one link, until that fails.
func (w *pipeWriter) serve(link Link) error {
	kind, payload, _, err := link.Receive()
	if err == nil && kind != Hello {
		err = fmt.Errorf("%w: the reader did not say hello", ErrCorrupt)
	}
	var p progress
	if err == nil {
		p, err = parseProgress(payload)
	}
	if err == nil {
		err = w.greet(link, p)
	}
	for err == nil {
		kind, payload, _, err = link.Receive()
		switch {
		case err != nil:
		case kind == Ack:
			if p, err = parseProgress(payload); err == nil {
				err = w.advance(p)
			}
		case kind == Gone:
			err = errNoReader
		case kind == Hello:
			err = fmt.Errorf("%w: the reader says hello twice", ErrCorrupt)
		}
		w.mu.Lock()
		w.heard = time.Now()
		w.mu.Unlock()
	}
	return err
}

// greet begins to use a link, with what the reader does not have of what was sent before.
func (w *pipeWriter) greet(link Link, p progress) error {
	if w.resumes() {
		w.sending.Lock()
		defer w.sending.Unlock()
		if p.frames < w.first {
			return fmt.Errorf("%w: the reader wants frame %d again, and %d was the last that it had", ErrCorrupt, p.frames, w.first)
		}
	}
	if err := w.advance(p); err != nil {
		return err
	}
	w.mu.Lock()
	again := slices.Clone(w.kept)
	w.mu.Unlock()
	for _, k := range again {
		if err := link.Send(k.kind, k.payload, k.sum); err != nil {
			return fmt.Errorf("%w: %s", io.ErrUnexpectedEOF, err.Error()) // of this link, not of the reader
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.opened {
		w.step = max(1, w.limit/4)
	}
	w.link, w.opened, w.silent, w.heard = link, true, false, time.Now()
	if w.o.Silence > 0 {
		w.beat = time.AfterFunc(w.o.Silence/3, func() { w.tick(link) })
	}
	w.cond.Broadcast()
	return nil
}

// advance lets Write go on to what the reader allows, and forgets what it has.
func (w *pipeWriter) advance(p progress) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limit = max(w.limit, p.limit)
	w.cond.Broadcast()
	if !w.resumes() {
		return nil
	}
	n := int(min(p.frames-min(p.frames, w.first), uint64(len(w.kept)+1)))
	if n > len(w.kept) {
		return fmt.Errorf("%w: the reader has frame %d, which was not sent", ErrCorrupt, p.frames)
	}
	for _, k := range w.kept[:n] {
		w.free = append(w.free, k.payload)
	}
	w.kept = slices.Delete(w.kept, 0, n)
	w.first += uint64(n)
	return nil
}

// tick says that the writer is there, and breaks a link on which nothing is heard.
func (w *pipeWriter) tick(link Link) {
	w.mu.Lock()
	if w.link != link {
		w.mu.Unlock()
		return
	}
	w.silent = time.Since(w.heard) > w.o.Silence
	silent := w.silent
	if !silent {
		w.beat.Reset(w.o.Silence / 3)
	}
	w.mu.Unlock()
	switch {
	case silent:
		link.Close()
	case w.sending.TryLock():
		_ = say(link, Beat, nil) // whoever receives hears of an error
		w.sending.Unlock()
	}
}

// lost takes leave of a link that failed with err, and reports whether another one would be of no use.
func (w *pipeWriter) lost(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.link = nil
	if w.beat != nil {
		w.beat.Stop()
	}
	if w.resumes() && !final(err) {
		return false
	}
	_ = w.fail(w.without(err))
	return true
}

// without returns what the writer makes of a link's error. The caller holds w.mu.
func (w *pipeWriter) without(err error) error {
	switch {
	case w.silent:
		return fmt.Errorf("netpipe reader was silent for %v: %w", w.o.Silence, syscall.EPIPE)
	case broken(err):
		return errNoReader
	}
	return fmt.Errorf("netpipe: %w", err)
}

// fail makes err the error of the writer, if it had none, and returns the one that it has. The caller holds w.mu.
func (w *pipeWriter) fail(err error) error {
	if w.err == nil && !w.ended {
		w.err = err
		w.cond.Broadcast()
	}
	return w.err
}

// set is fail for those who do not hold w.mu.
func (w *pipeWriter) set(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fail(err)
}

// state returns why nothing can be written. The caller holds w.mu.
func (w *pipeWriter) state() error {
	switch {
	case w.ended:
		return errClosed
	case w.err != nil:
		return w.err
	case w.ending:
		return errClosed
	case !w.opened:
		return errNotOpen
	}
	return nil
}

func (w *pipeWriter) Write(p []byte) (int, error) { return w.write(p, false) }

// write writes p as a batch, or as a part of a batch if there is more to come of it.
func (w *pipeWriter) write(p []byte, more bool) (int, error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	for done := 0; ; {
		n, err := w.room(len(p) - done)
		if err != nil || n == 0 {
			return done, err
		}
		part, kind := p[done:done+n], Data
		if more || done+n < len(p) {
			kind = Part
		}
		sum := crc32.Checksum(part, castagnoli)
		if err := w.send(kind, part, sum); err != nil {
			return done, err
		}
		w.total.add(kind, n, sum)
		done += n
		if done == len(p) {
			return done, nil
		}
	}
}

// room waits until a good part of n bytes can be sent, and returns how many.
func (w *pipeWriter) room(n int) (int, error) {
	n = min(n, pipePayload)
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if err := w.state(); err != nil {
			return 0, err
		}
		free := w.limit - min(w.limit, w.sent)
		if free >= min(uint64(n), w.step) {
			n = int(min(uint64(n), free))
			w.sent += uint64(n)
			return n, nil
		}
		w.cond.Wait()
	}
}

// send sends one frame, or keeps it for the next link. The caller holds w.writing.
func (w *pipeWriter) send(kind Kind, payload []byte, sum uint32) error {
	w.sending.Lock()
	defer w.sending.Unlock()
	w.mu.Lock()
	link := w.link
	if w.resumes() {
		payload = w.keep(kind, payload, sum)
	}
	w.mu.Unlock()
	if link == nil {
		return nil
	}
	err := link.Send(kind, payload, sum)
	switch {
	case err == nil:
		return nil
	case w.resumes():
		link.Close() // all is kept, and listen sees to another link
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fail(w.without(err))
}

// keep returns its own copy of payload. The caller holds w.mu.
func (w *pipeWriter) keep(kind Kind, payload []byte, sum uint32) []byte {
	var to []byte
	if n := len(w.free) - 1; n >= 0 {
		to, w.free = w.free[n][:0], w.free[:n]
	}
	to = append(to, payload...)
	w.kept = append(w.kept, keptFrame{kind, to, sum})
	return to
}

func (w *pipeWriter) Close() error {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return nil
	}
	if !w.opened {
		_ = w.fail(errNotOpen)
	}
	err := w.err
	w.ending = true
	w.mu.Unlock()
	if err != nil {
		w.giveUp(err)
		return err
	}
	end := w.total.end()
	err = w.send(End, end, crc32.Checksum(end, castagnoli))
	w.mu.Lock()
	w.ended = err == nil
	w.mu.Unlock()
	w.finish()
	return err
}

func (w *pipeWriter) Abort(reason string) error {
	return w.abort(abortedFor(reason))
}

// abort makes err the error of the writer and sends its text, unless the stream has ended.
func (w *pipeWriter) abort(err error) error {
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return errClosed
	}
	_ = w.fail(err)
	if w.link != nil && !w.giving { // cut what is under way
		if w.resumes() {
			w.link.SetSendDeadline(time.Now().Add(abortGrace))
		} else {
			w.link.SetSendDeadline(time.Unix(1, 0))
		}
	}
	w.mu.Unlock()

	w.writing.Lock()
	defer w.writing.Unlock()
	w.mu.Lock()
	ended, first := w.ended, w.err
	w.mu.Unlock()
	if ended {
		return errClosed
	}
	w.giveUp(first)
	return nil
}

// giveUp tells the reader that there will be no end, because of err. The caller holds w.writing.
func (w *pipeWriter) giveUp(err error) {
	if w.finished {
		return
	}
	w.mu.Lock()
	w.giving = true
	if w.link != nil {
		w.link.SetSendDeadline(time.Now().Add(abortGrace))
	}
	w.mu.Unlock()
	if !final(err) {
		reason := []byte(aborted(err).reason)
		_ = w.send(Abort, reason, crc32.Checksum(reason, castagnoli))
	}
	w.finish()
}

// finish ends the writer after its last frame. The caller holds w.writing.
func (w *pipeWriter) finish() {
	if w.finished {
		return
	}
	w.finished = true
	w.mu.Lock()
	link, stop, started := w.link, w.stop, w.started
	if w.resumes() {
		w.start() // somebody has to say so to the reader
		if link != nil {
			link.SetSendDeadline(time.Time{})
		}
	}
	w.mu.Unlock()
	if stop != nil {
		stop()
	}
	if w.resumes() {
		return
	}
	if link != nil {
		link.Close()
	}
	if started {
		<-w.over
	}
}
