// Package mem keeps objects in memory: a store.Bucket for tests and for jobs in process.
package mem

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/store"
)

// A Store holds buckets by name. It may be used concurrently.
type Store struct {
	mu      sync.Mutex
	buckets map[string]*Bucket
}

// New returns a Store without buckets.
func New() *Store { return &Store{buckets: map[string]*Bucket{}} }

// Bucket returns the bucket called name, and makes it if there is none.
func (s *Store) Bucket(name string) *Bucket {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[name]
	if b == nil {
		b = &Bucket{name: name, objects: map[store.Key]*version{}, pending: map[store.Handle]*version{}}
		s.buckets[name] = b
	}
	return b
}

// Opener returns a store.Opener that opens the buckets of s. Each exists as soon as it is opened.
func (s *Store) Opener() store.Opener {
	return func(_ context.Context, u store.URI, _ *store.Options) (store.Bucket, store.URI, error) {
		return s.Bucket(u.Bucket), u, nil
	}
}

// A Bucket is one of a Store. Closing it keeps what it holds.
type Bucket struct {
	name string

	mu      sync.Mutex
	serial  int64 // of the last version or handle made
	objects map[store.Key]*version
	sorted  []store.Key // the keys of objects in order; nil when out of date. Never changed in place.
	pending map[store.Handle]*version
}

// A version is the immutable content of one object.
type version struct {
	store.Object
	body   []byte
	id     string // of the handle it was published from
	sealed bool
}

func (b *Bucket) wrap(key store.Key, err error) error {
	return fmt.Errorf("%s: %w", store.Name("mem", b.name, key), err)
}

func (b *Bucket) Stat(ctx context.Context, key store.Key) (store.Object, error) {
	v, err := b.find(ctx, key, "")
	if err != nil {
		return store.Object{}, err
	}
	return v.Object, nil
}

func (b *Bucket) find(ctx context.Context, key store.Key, etag string) (*version, error) {
	if err := ctx.Err(); err != nil {
		return nil, b.wrap(key, context.Cause(ctx))
	}
	b.mu.Lock()
	v := b.objects[key]
	b.mu.Unlock()
	switch {
	case v == nil:
		return nil, b.wrap(key, store.ErrNotExist)
	case etag != "" && etag != v.ETag:
		return nil, b.wrap(key, store.ErrChanged)
	}
	return v, nil
}

func (b *Bucket) Open(ctx context.Context, key store.Key, etag string, off, n int64) (io.ReadCloser, error) {
	v, err := b.find(ctx, key, etag)
	if err != nil {
		return nil, err
	}
	if off < 0 {
		return nil, b.wrap(key, fmt.Errorf("negative offset %d", off))
	}
	body := v.body[min(off, v.Size):]
	if n >= 0 && n < int64(len(body)) {
		body = body[:n]
	}
	return &reader{ctx: ctx, wrap: func(err error) error { return b.wrap(key, err) }, r: bytes.NewReader(body)}, nil
}

type reader struct {
	ctx  context.Context
	wrap func(error) error
	r    *bytes.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, r.wrap(context.Cause(r.ctx))
	}
	return r.r.Read(p)
}

func (r *reader) Close() error { return nil }

// ReadWhole implements store.Whole.
func (b *Bucket) ReadWhole(ctx context.Context, o store.Object, dst []byte) error {
	v, err := b.find(ctx, o.Key, o.ETag)
	if err != nil {
		return err
	}
	if v.Size != o.Size || len(dst) != len(v.body) {
		return b.wrap(o.Key, store.ErrChanged)
	}
	copy(dst, v.body)
	return nil
}

func (b *Bucket) List(ctx context.Context, prefix, after store.Key) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		b.mu.Lock()
		if b.sorted == nil {
			b.sorted = make([]store.Key, 0, len(b.objects))
			for k := range b.objects {
				b.sorted = append(b.sorted, k)
			}
			slices.Sort(b.sorted)
		}
		keys := b.sorted
		b.mu.Unlock()
		first, found := slices.BinarySearch(keys, max(prefix, after))
		if found && keys[first] == after {
			first++
		}
		for _, k := range keys[first:] {
			if !strings.HasPrefix(string(k), string(prefix)) {
				return
			}
			v, err := b.find(ctx, k, "")
			if errors.Is(err, store.ErrNotExist) {
				continue
			}
			if err != nil {
				yield(store.Object{}, err)
				return
			}
			if !yield(v.Object, nil) {
				return
			}
		}
	}
}

// set puts a new version under its key. The caller holds b.mu.
func (b *Bucket) set(v *version) store.Object {
	b.serial++
	v.ETag = "v" + strconv.FormatInt(b.serial, 10)
	v.Size = int64(len(v.body))
	v.Modified = time.Now()
	if b.objects[v.Key] == nil {
		b.sorted = nil
	}
	b.objects[v.Key] = v
	return v.Object
}

func (b *Bucket) Put(ctx context.Context, key store.Key, body []byte) (store.Object, error) {
	if err := b.check(ctx, key); err != nil {
		return store.Object{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.set(&version{Object: store.Object{Key: key}, body: bytes.Clone(body)}), nil
}

func (b *Bucket) check(ctx context.Context, key store.Key) error {
	if ctx.Err() != nil {
		return b.wrap(key, context.Cause(ctx))
	}
	if err := key.Check(); err != nil {
		return b.wrap(key, err)
	}
	return nil
}

func (b *Bucket) Delete(ctx context.Context, key store.Key) error {
	if ctx.Err() != nil {
		return b.wrap(key, context.Cause(ctx))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.objects[key] != nil {
		delete(b.objects, key)
		b.sorted = nil
	}
	return nil
}

func (b *Bucket) Create(ctx context.Context, key store.Key, _ *store.CreateOptions) (store.Writer, error) {
	if err := b.check(ctx, key); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serial++
	h := store.Handle{Key: key, ID: "p" + strconv.FormatInt(b.serial, 10)}
	v := &version{Object: store.Object{Key: key}, id: h.ID}
	b.pending[h] = v
	return &writer{b: b, h: h}, nil
}

func (b *Bucket) Publish(ctx context.Context, p store.Pending) (store.Object, error) {
	if ctx.Err() != nil {
		return store.Object{}, b.wrap(p.Key, context.Cause(ctx))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.pending[p.Handle]
	if v == nil {
		if now := b.objects[p.Key]; now != nil && now.id == p.ID {
			return now.Object, nil
		}
		return store.Object{}, b.wrap(p.Key, fmt.Errorf("pending object %s: %w", p.ID, store.ErrNotExist))
	}
	if !v.sealed {
		return store.Object{}, b.wrap(p.Key, fmt.Errorf("pending object %s is not sealed", p.ID))
	}
	delete(b.pending, p.Handle)
	return b.set(v), nil
}

func (b *Bucket) Discard(ctx context.Context, h store.Handle) error {
	if ctx.Err() != nil {
		return b.wrap(h.Key, context.Cause(ctx))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pending, h)
	return nil
}

// Pending returns how many pending objects there are, for tests that look for what was left behind.
func (b *Bucket) Pending() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.pending)
}

// Close does nothing: the objects stay in the Store.
func (b *Bucket) Close() error { return nil }

// A writer gathers the body of one pending object.
type writer struct {
	b    *Bucket
	h    store.Handle
	body []byte
	done bool // sealed or aborted
}

func (w *writer) Handle() store.Handle { return w.h }

func (w *writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, w.b.wrap(w.h.Key, errors.New("write after seal or abort"))
	}
	w.body = append(w.body, p...)
	return len(p), nil
}

func (w *writer) Seal(ctx context.Context) (store.Pending, error) {
	if w.done {
		return store.Pending{}, w.b.wrap(w.h.Key, errors.New("seal after seal or abort"))
	}
	if ctx.Err() != nil {
		return store.Pending{}, w.b.wrap(w.h.Key, context.Cause(ctx))
	}
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	v := w.b.pending[w.h]
	if v == nil {
		return store.Pending{}, w.b.wrap(w.h.Key, fmt.Errorf("pending object %s: %w", w.h.ID, store.ErrNotExist))
	}
	w.done = true
	v.body, v.sealed = w.body, true
	sum := sha256.Sum256(w.body)
	return store.Pending{Handle: w.h, Size: int64(len(w.body)), SHA256: hex.EncodeToString(sum[:])}, nil
}

func (w *writer) Abort(ctx context.Context) error {
	if w.done {
		return nil
	}
	w.done, w.body = true, nil
	return w.b.Discard(ctx, w.h)
}
