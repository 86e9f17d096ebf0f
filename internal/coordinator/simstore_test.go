package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

var errFault = errors.New("fault")

const (
	outDir      = "out/"
	workArea    = outDir + "_millrace/"
	decisionKey = workArea + "commit.json"
	manifestKey = outDir + "_manifest.json"
)

// A jobStore is the store that the job's processes share. It knows what they must not do.
type jobStore struct {
	*mem.Bucket

	mu      sync.Mutex
	decided map[store.Handle]bool // parts that a decision names; nil before there is one
	by      uint64                // epoch of that decision
	out     map[store.Handle]bool // published
	err     error                 // the first thing that was done and must not be
}

func (b *jobStore) wrong(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

// A process is the store as one process sees it: its calls may fail, before or after they took effect.
type process struct {
	*jobStore
	epoch uint64 // of a coordinator, 0: an agent
	seed  uint64 // of its faults; 0: there are none
	dead  bool   // nothing of it reaches the store any more

	deciding func() // is called when it writes a decision
}

// fate says whether a call fails, and whether it does so before it takes effect. It depends on the call alone: calls are concurrent.
func (p *process) fate(op byte, key store.Key) (before, after bool) {
	if p.dead {
		return true, false
	}
	if p.seed == 0 {
		return false, false
	}
	h := xxh3.HashStringSeed(string(key), p.seed+uint64(op))
	return h%24 == 0, h%24 == 1
}

func (p *process) do(op byte, key store.Key, f func() error) error {
	before, after := p.fate(op, key)
	if before {
		return errFault
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if visible := !strings.HasPrefix(string(key), workArea); visible && op != 'd' {
		switch {
		case p.decided == nil:
			p.wrong("%c of %s before a decision", op, key)
		case p.epoch == 0:
			p.wrong("%c of %s by an agent", op, key)
		}
	}
	if err := f(); err != nil {
		return err
	}
	if after {
		return errFault
	}
	return nil
}

func (p *process) Put(_ context.Context, key store.Key, body []byte) (o store.Object, err error) {
	return o, p.do('p', key, func() error {
		if key == decisionKey {
			p.deciding()
		}
		o, err = p.Bucket.Put(context.Background(), key, body)
		return err
	})
}

func (p *process) Publish(_ context.Context, part store.Pending) (o store.Object, err error) {
	return o, p.do('u', part.Key, func() error {
		if !p.decided[part.Handle] {
			p.wrong("publishes %s, which was not decided", part.Handle)
		}
		if o, err = p.Bucket.Publish(context.Background(), part); err == nil {
			p.out[part.Handle] = true
		}
		return err
	})
}

func (p *process) Discard(_ context.Context, h store.Handle) error {
	return p.do('d', h.Key, func() error {
		if p.decided[h] && !p.out[h] {
			p.wrong("discards %s, which is to be published", h)
		}
		return p.Bucket.Discard(context.Background(), h)
	})
}

func (p *process) Delete(_ context.Context, key store.Key) error {
	return p.do('x', key, func() error { return p.Bucket.Delete(context.Background(), key) })
}

func (p *process) Create(_ context.Context, key store.Key, o *store.CreateOptions) (store.Writer, error) {
	if p.dead {
		return nil, errFault
	}
	return p.Bucket.Create(context.Background(), key, o)
}

func (p *process) Open(_ context.Context, key store.Key, etag string, off, n int64) (io.ReadCloser, error) {
	if before, _ := p.fate('o', key); before {
		return nil, errFault
	}
	return p.Bucket.Open(context.Background(), key, etag, off, n)
}

func (p *process) List(_ context.Context, prefix, after store.Key) iter.Seq2[store.Object, error] {
	if before, _ := p.fate('l', prefix); before {
		return func(yield func(store.Object, error) bool) { yield(store.Object{}, errFault) }
	}
	return p.Bucket.List(context.Background(), prefix, after)
}
