package shuffle

import (
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// NewMemPipe returns the two ends of a netpipe within this process. At most window bytes are under way; 0 means 1 MiB.
func NewMemPipe(window int) (PipeWriter, PipeReader) {
	w, r := MemLinks()
	o := &PipeOptions{Window: window}
	return NewPipeWriter(w, o), NewPipeReader(r, o)
}

// MemLinks returns the two ends of a link within this process, for a writer and a reader. It holds what its ends allow each other.
func MemLinks() (w, r Link) {
	there, back := newMemQueue(), newMemQueue()
	return &memLink{in: back, out: there}, &memLink{in: there, out: back}
}

type memLink struct {
	in, out *memQueue
	held    []byte // what Receive returned
}

func (l *memLink) Send(kind Kind, payload []byte, sum uint32) error {
	return l.out.put(kind, payload, sum)
}

func (l *memLink) Receive() (Kind, []byte, uint32, error) {
	f, err := l.in.take(l.held)
	l.held = f.payload
	return f.kind, f.payload, f.sum, err
}

func (l *memLink) SetSendDeadline(time.Time) {} // a Send does not wait

func (l *memLink) Close() error {
	l.out.close(io.ErrUnexpectedEOF, syscall.EPIPE)
	l.in.close(os.ErrClosed, syscall.EPIPE)
	return nil
}

// A memQueue holds the frames that go one way. Its length is bounded by the limits of the reader.
type memQueue struct {
	mu     sync.Mutex
	cond   sync.Cond
	frames []keptFrame
	free   [][]byte
	taking error // why nothing more will come
	giving error // why nothing can be put
}

func newMemQueue() *memQueue {
	q := &memQueue{}
	q.cond.L = &q.mu
	return q
}

// put appends a frame. A beat is of use only to an end that waits.
func (q *memQueue) put(kind Kind, payload []byte, sum uint32) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.giving != nil {
		return q.giving
	}
	if kind == Beat && len(q.frames) > 0 {
		return nil
	}
	var to []byte
	if n := len(q.free) - 1; n >= 0 {
		to, q.free = q.free[n][:0], q.free[:n]
	}
	q.frames = append(q.frames, keptFrame{kind, append(to, payload...), sum})
	q.cond.Signal()
	return nil
}

// take removes the first frame. The caller gives back the one before.
func (q *memQueue) take(old []byte) (keptFrame, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if old != nil {
		q.free = append(q.free, old)
	}
	for len(q.frames) == 0 && q.taking == nil {
		q.cond.Wait()
	}
	if q.taking == os.ErrClosed || len(q.frames) == 0 {
		return keptFrame{}, q.taking
	}
	f := q.frames[0]
	q.frames = q.frames[1:]
	return f, nil
}

// close has take fail, and put.
func (q *memQueue) close(taking, giving error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taking == nil || taking == os.ErrClosed {
		q.taking = taking
	}
	q.giving = giving
	q.cond.Broadcast()
}
