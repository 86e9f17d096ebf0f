package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
)

// Bounds of what a guest is given ahead.
const (
	maxAhead = 256                   // objects
	maxDelay = 10 * time.Millisecond // that they take: answers come when all that was given is done, and so do limits
)

// A together maps the objects of a split in one instance of a guest, one after another on one stream.
//
// Objects are given ahead of the answers to those before, so that a native guest need not wait for its runner after each. When the
// guest ends before its time, by itself or over a limit, the object to blame may not be known; then a new instance is given the
// objects without an answer once more, one at a time. What ends an instance that was given that object first, or breaks a limit or the
// protocol while it alone has no answer, is the fault of that object; anything else is tried again in a fresh instance.
type together struct {
	s    *server
	p    *sdkProgram
	feed *feed
	// step is set where the guest asks for input and answers on one goroutine: nothing can be given ahead.
	step bool

	mu       sync.Mutex // of all below; stdin and stdout may be on two goroutines
	answered chan struct{}

	objects []given // of the slab under way
	done    int     // of those, settled
	sent    int     // of those, given to the instance; the ones from done on are without an answer
	over    bool    // there are no more
	failed  error   // of the attempt

	laps    *sandbox.Laps
	replies *guest.Replies
	shared  *shared   // with the instance; nil if it shares no memory
	used    int       // bytes of that, by objects under way
	lent    int64     // bytes given to the instance in it
	pending []byte    // not yet read by the instance
	place   []byte    // memory of pending
	stream  io.Reader // of the object that is being given, if it does not fit in one piece
	fresh   bool      // the instance has settled nothing
	lied    bool      // the answer under way was wrong
	ahead   int       // objects that may be without an answer
	careful int       // objects to be settled before more than one is given ahead again
	looked  time.Time // when answers last came, or work began
}

// A given is an object to be given.
type given struct {
	piece Piece
	meta  guest.Meta
	data  []byte
	body  *pieces
	bad   error // why it cannot be given
}

// mapTogether maps all objects that f has. The error is the attempt's; the channel's is the feed's.
func (s *server) mapTogether(ctx context.Context, p *sdkProgram, f *feed) error {
	t := &together{s: s, p: p, feed: f, step: s.hello.Engine == job.Wasm, answered: make(chan struct{}, 1), ahead: 1}
	for t.next() {
		r := p.newRun(mapping(t.objects[t.done].meta.Key), nil, guest.Env(guest.Map))
		if err := t.start(r); err != nil {
			return err
		}
		r.Stdin, r.Stdout, r.Laps = readerFunc(t.read), writerFunc(t.write), t.laps
		r.ReadBytes = 0 // take sees to it
		report, err := sandbox.RunLaps(ctx, p.guest, r)
		use := usageOf(&report)
		use.readBytes += t.lent
		s.account(&use)
		t.end(withLog(err, &report))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return t.failed
}

// next makes sure that there is an object to be given, and reports whether there is.
func (t *together) next() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fill()
	return t.done < len(t.objects) && t.failed == nil
}

// start begins a new instance, for a run of which r is the beginning.
func (t *together) start(r *sandbox.Run) (err error) {
	t.used, t.lent = 0, 0
	if t.s.hello.Engine == job.Native {
		if t.shared, err = newShared(); err != nil {
			return err
		}
		r.Files = []*os.File{t.shared.f}
		r.Env = append(append(r.Env, t.shared.env()), collector(r.Memory)...)
	}
	t.laps = sandbox.NewLaps()
	t.replies = guest.NewReplies(t, 0, guest.Bounds{})
	t.pending, t.stream, t.fresh, t.lied, t.ahead = t.p.first(&t.s.stage), nil, true, false, 1
	t.s.stage.reset()
	return nil
}

// collector returns settings of Go's collector for a guest that may have that many bytes of memory. By itself it runs whenever a small heap
// has grown by 4 MiB, which costs a mapper of small objects a tenth of its time; this lets it wait as long as there is memory.
func collector(memory int64) []string {
	return []string{"GOGC=400", "GOMEMLIMIT=" + strconv.FormatInt(memory/4*3, 10)}
}

// end settles what the end of an instance, by err or by itself, says about the objects without an answer.
func (t *together) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shared != nil {
		t.shared.close()
		t.shared = nil
	}
	if err == nil {
		err = t.replies.Close()
	}
	open := t.sent - t.done
	if open == 0 && t.fresh && t.failed == nil { // it wanted no object, or could not be started
		t.sent, open = t.sent+1, 1
		if err == nil {
			err = errors.New("guest ended without reading its input")
		}
	}
	if open > 0 {
		body := t.objects[t.done].body
		certain := open == 1 && (t.fresh || t.lied || t.laps.Passed())
		if certain || body.unread || body.err != nil {
			t.sent, open = t.done+1, open-1
			t.settle(err)
		}
	}
	t.sent, t.careful = t.done, open
	t.s.mem.Status().Current.Store(0)
}

// fill takes objects from the feed when all before are settled: those of one slab, or a large one. It settles those that cannot be given.
func (t *together) fill() {
	for t.failed == nil {
		switch {
		case t.done < len(t.objects) && t.objects[t.done].bad == nil:
			return
		case t.done < len(t.objects):
			t.sent++
			t.settle(t.objects[t.done].bad)
		case t.over:
			return
		default:
			t.failed = t.take()
		}
	}
}

// take takes the next objects from the feed.
func (t *together) take() error {
	t.objects, t.done, t.sent, t.used = t.objects[:0], 0, 0, 0
	for len(t.objects) == 0 || t.objects[0].piece.Last && t.feed.whole() {
		p, data, body, err := t.feed.object()
		if err != nil {
			t.over = true // the feed keeps why
			return nil
		}
		m, err := t.s.meta(&p)
		if err != nil {
			return err
		}
		o := given{piece: p, meta: m, data: data, body: body}
		if limit := t.s.hello.Limits.ReadBytes; limit > 0 && p.Size > limit {
			o.bad = fmt.Errorf("guest stdin %w: %s of %s", sandbox.ErrLimit, bytesText(p.Size), bytesText(limit))
		} else if len(m.Key)+len(m.URI)+len(m.ETag) > 32<<10 {
			_, o.bad = guest.AppendObject(nil, &m, nil)
		}
		t.objects = append(t.objects, o)
	}
	return nil
}

// read is the guest's stdin.
func (t *together) read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n := 0; ; {
		if n == len(p) {
			return n, nil
		}
		switch {
		case len(t.pending) > 0:
			k := copy(p[n:], t.pending)
			t.pending = t.pending[k:]
			n += k
		case t.stream != nil && n == 0:
			n, err := t.stream.Read(p)
			if err == io.EOF {
				t.stream, err = nil, nil
			}
			if n > 0 || err != nil {
				return n, err
			}
		case t.stream == nil && t.may(n == 0):
			n += t.give(p[n:])
		case n > 0:
			return n, nil // what follows may take its time
		case t.done == t.sent || t.step:
			return 0, io.EOF // there is no more, or the guest wants it without an answer to what it has
		case !t.wait():
			return 0, io.EOF
		}
	}
}

// may reports whether an object can be given now; patient says that the feed may be waited for.
func (t *together) may(patient bool) bool {
	if t.done == t.sent && patient && !t.lied {
		t.fill()
	}
	return t.failed == nil && !t.lied && t.sent < len(t.objects) && t.sent-t.done < t.ahead && t.objects[t.sent].bad == nil
}

// give begins to give the next object, and returns how much of p that took.
func (t *together) give(p []byte) (n int) {
	o := &t.objects[t.sent]
	switch {
	case !o.piece.Last:
		t.stream = guest.ObjectStream(nil, &o.meta, o.body, nil)
	case t.shared != nil:
		k := copy(t.shared.b[t.used:], o.data)                           // all: it came from one slab, as did those before
		t.place, _ = guest.AppendMemory(t.place[:0], &o.meta, t.used, k) // take has seen that its name is not too long
		t.pending = t.place
		t.used += k
		t.lent += int64(k)
	case guest.ObjectSize(&o.meta, o.data) <= len(p):
		b, _ := guest.AppendObject(p[:0], &o.meta, o.data) // take has seen that its name is not too long
		n = len(b)
	default:
		t.stream = guest.ObjectStream(nil, &o.meta, nil, o.data)
	}
	t.sent++
	t.replies.Expect()
	if t.sent-t.done == 1 {
		t.looked = time.Now()
		t.begin()
	}
	return n
}

// begin says that the first object without an answer is being mapped.
func (t *together) begin() {
	st := t.s.mem.Status()
	st.Current.Store(uint64(t.objects[t.done].piece.Index) + 1)
	st.Started.Add(1)
	t.laps.Begin()
}

// wait waits for an answer, and reports false if the guest is gone.
func (t *together) wait() bool {
	t.mu.Unlock()
	defer t.mu.Lock()
	select {
	case <-t.answered:
		return true
	case <-t.laps.Ended():
		return false
	}
}

// write is the guest's stdout.
func (t *together) write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.done
	n, err := t.replies.Write(p)
	if t.lied = err != nil; t.lied && t.sent == t.done && t.failed == nil {
		t.failed = err // it answered for what it was not given: who knows what its other answers were for
	}
	if t.failed != nil {
		err = t.failed
	}
	if n := t.done - before; n > 0 && !t.step {
		now := time.Now()
		if t.ahead = min(2*t.ahead, maxAhead, int(maxDelay*time.Duration(n)/(now.Sub(t.looked)+1))); t.careful > 0 || t.ahead < 1 {
			t.ahead = 1
		}
		t.looked = now
		select {
		case t.answered <- struct{}{}:
		default:
		}
	}
	return n, err
}

// settle settles the first object without an answer.
func (t *together) settle(err error) {
	o := &t.objects[t.done]
	if err := t.s.settle(&o.piece, o.body, 0, err); err != nil && t.failed == nil {
		t.failed = err
	}
	t.s.stage.reset()
	t.done++
	t.fresh = false
	t.careful = max(t.careful-1, 0)
	if t.sent > t.done {
		t.begin()
		return
	}
	t.s.mem.Status().Current.Store(0)
	if t.laps != nil {
		t.laps.Rest()
	}
}

// Records, Text, Count, Fail and OK take what the guest says about the first object without an answer.

func (t *together) Records(key, value []byte, n int64) error { return t.s.stage.Records(key, value, n) }
func (t *together) Text(p []byte) error                      { return t.s.stage.Text(p) }
func (t *together) Count(name string, n int64)               { t.s.stage.Count(name, n) }
func (t *together) Fail(reason string)                       { t.settle(errors.New(reason)) }
func (t *together) OK()                                      { t.settle(nil) }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
