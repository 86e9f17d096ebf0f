package swift

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"slices"
	"sync"

	"github.com/millrace/millrace/store"
)

const (
	segmentSize = 16 << 20 // bytes of a segment, but for the last
	inFlight    = 2        // segments of one object being uploaded while the next is filled
)

// Put replaces the object by one PUT request. The store checks its hash.
func (b *Bucket) Put(ctx context.Context, key store.Key, body []byte) (store.Object, error) {
	var h http.Header
	err := checkKey(key)
	if err == nil {
		h, err = b.put(ctx, b.name, key, body, "", "")
	}
	if err != nil {
		return store.Object{}, b.explain(ctx, key, err)
	}
	return store.Object{Key: key, Size: int64(len(body)), ETag: unquote(h.Get("Etag")), Modified: modified(h)}, nil
}

// put makes an object in a container and returns the headers of the answer, with its ETag.
func (b *Bucket) put(ctx context.Context, container string, key store.Key, body []byte, contentType, token string) (http.Header, error) {
	if body == nil {
		body = []byte{}
	}
	sum := md5.Sum(body)
	etag := hex.EncodeToString(sum[:])
	r := &request{method: http.MethodPut, container: container, key: key, body: body}
	r.set("Etag", etag)
	r.set("Content-Type", contentType)
	r.set(tokenHeader, token)
	h, err := b.head(ctx, r)
	switch got := unquote(h.Get("Etag")); {
	case err != nil:
		return nil, err
	case got == "": // somebody else's Put came right after this one: it is accepted, and nothing said of it
		h.Set("Etag", etag)
	case got != etag:
		return nil, errors.New("store took another content than was sent")
	}
	return h, nil
}

// remove deletes one object. That there is none is no error; it reports whether there was.
func (b *Bucket) remove(ctx context.Context, container string, key store.Key) (was bool, err error) {
	_, err = b.head(ctx, &request{method: http.MethodDelete, container: container, key: key})
	if has(err, http.StatusNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Create returns a writer of segments. It makes the container for them if need be.
func (b *Bucket) Create(ctx context.Context, key store.Key, opts *store.CreateOptions) (store.Writer, error) {
	err := checkKey(key)
	if err == nil {
		err = b.makeSegments(ctx)
	}
	if err != nil {
		return nil, b.explain(ctx, key, err)
	}
	w := &writer{b: b, sum: sha256.New(), slots: make(chan struct{}, inFlight), h: store.Handle{Key: key, ID: rand.Text()}}
	if opts != nil {
		w.contentType = opts.ContentType
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	return w, nil
}

// makeSegments makes the container of segments, under the storage policy of the bucket's own.
func (b *Bucket) makeSegments(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.made {
		return nil
	}
	_, err := b.head(ctx, &request{container: b.segments()})
	if has(err, http.StatusNotFound) {
		var own http.Header
		if own, err = b.head(ctx, &request{container: b.name}); err != nil {
			return err
		}
		r := &request{method: http.MethodPut, container: b.segments()}
		r.set("X-Storage-Policy", own.Get("X-Storage-Policy"))
		if _, err = b.head(ctx, r); has(err, http.StatusConflict) { // somebody made it meanwhile, as they like
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("container %s for segments: %w", b.segments(), err)
	}
	b.made = true
	return nil
}

// A writer cuts what is written into segments and uploads them while the next one fills.
type writer struct {
	b           *Bucket
	h           store.Handle
	contentType string
	ctx         context.Context // of the uploads
	cancel      context.CancelCauseFunc

	sum   hash.Hash // nil once something was copied
	size  int64
	part  []byte // being filled
	count int    // of segments, uploaded or handed to uploads
	done  bool   // sealed or aborted

	slots chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	parts []store.Part // uploaded
	err   error        // the first one
	spare [][]byte     // buffers that are free
}

var errEnded = errors.New("writer has ended")

func (w *writer) Handle() store.Handle { return w.h }

func (w *writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, w.b.explain(context.Background(), w.h.Key, errEnded)
	}
	written := 0
	for written < len(p) {
		if len(w.part) == w.b.segmentSize {
			if err := w.send(); err != nil {
				return written, err
			}
			continue
		}
		n := min(w.b.segmentSize-len(w.part), len(p)-written)
		w.part = append(w.part, p[written:written+n]...)
		if w.sum != nil {
			w.sum.Write(p[written : written+n])
		}
		w.size += int64(n)
		written += n
	}
	return written, w.failed()
}

// failed returns the first error of an upload.
func (w *writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// next returns the number of the next segment.
func (w *writer) next() (int, error) {
	if most := w.b.limits.Segments * w.b.limits.Segments; w.count == min(most, firstGroup-1) {
		return 0, w.b.explain(w.ctx, w.h.Key, fmt.Errorf("object has more than %d segments", w.count))
	}
	w.count++
	return w.count, nil
}

// send starts the upload of the segment being filled, once there is room for it.
func (w *writer) send() error {
	number, err := w.next()
	if err != nil {
		return err
	}
	select {
	case w.slots <- struct{}{}:
	case <-w.ctx.Done():
		if err := w.failed(); err != nil {
			return err
		}
		return w.b.explain(w.ctx, w.h.Key, context.Cause(w.ctx))
	}
	body := w.part
	w.mu.Lock()
	w.part = nil
	if n := len(w.spare); n > 0 {
		w.part, w.spare = w.spare[n-1], w.spare[:n-1]
	}
	w.mu.Unlock()
	w.wg.Go(func() {
		defer func() { <-w.slots }()
		h, err := w.b.put(w.ctx, w.b.segments(), segmentKey(w.h.ID, number), body, w.contentType, "")
		w.mu.Lock()
		defer w.mu.Unlock()
		w.spare = append(w.spare, body[:0])
		if err != nil {
			err = w.b.explain(w.ctx, w.h.Key, err)
			if w.err == nil {
				w.err = err
			}
			w.cancel(err)
			return
		}
		w.parts = append(w.parts, store.Part{Number: number, ETag: unquote(h.Get("Etag")), Size: int64(len(body))})
	})
	return nil
}

// Seal uploads the last segment, which is the only one of a small object and empty for an empty one, and waits for all.
func (w *writer) Seal(ctx context.Context) (store.Pending, error) {
	if w.done {
		return store.Pending{}, w.b.explain(context.Background(), w.h.Key, errEnded)
	}
	if ctx.Err() != nil {
		return store.Pending{}, w.b.explain(ctx, w.h.Key, context.Cause(ctx))
	}
	stop := context.AfterFunc(ctx, func() { w.cancel(context.Cause(ctx)) })
	defer stop()
	if len(w.part) > 0 || w.count == 0 {
		if err := w.send(); err != nil {
			return store.Pending{}, err
		}
	}
	w.wg.Wait()
	if err := w.failed(); err != nil {
		return store.Pending{}, err
	}
	slices.SortFunc(w.parts, func(a, b store.Part) int { return a.Number - b.Number })
	parts, err := w.b.group(ctx, w.h.ID, w.parts, w.contentType)
	if err != nil {
		return store.Pending{}, w.b.explain(ctx, w.h.Key, err)
	}
	w.end()
	p := store.Pending{Handle: w.h, Size: w.size, Parts: parts}
	if w.sum != nil {
		p.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	}
	return p, nil
}

// end lets go of what the writer holds.
func (w *writer) end() {
	w.done = true
	w.cancel(errEnded)
	w.wg.Wait()
	w.part, w.spare = nil, nil
}

// Abort stops the uploads and removes what they brought.
func (w *writer) Abort(ctx context.Context) error {
	if w.done {
		return nil
	}
	w.end()
	return w.b.Discard(ctx, w.h)
}
