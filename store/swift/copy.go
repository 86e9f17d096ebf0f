package swift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/millrace/millrace/store"
)

// leastCopy is the size of the smallest object that the store is asked to copy: smaller ones are read, and make no segments of their own.
const leastCopy = 1 << 20

// copiedPrefix begins the names by which a pending object says whose segments it refers to.
const copiedPrefix = "copied-"

// Copy refers to the segments of large objects that this package wrote, in place of copying them, and has the store copy plain objects. It reads and
// uploads the rest: small objects, and large ones that others made.
func (w *writer) Copy(ctx context.Context, o store.Object) error {
	if w.done {
		return w.b.explain(context.Background(), w.h.Key, errEnded)
	}
	w.sum = nil // nobody sees all bytes
	var err error
	if o.Size < w.b.leastCopy {
		err = w.pass(ctx, o)
	} else {
		err = w.copy(ctx, o)
	}
	if err != nil {
		return w.b.explain(ctx, o.Key, err)
	}
	return w.failed()
}

func (w *writer) copy(ctx context.Context, o store.Object) error {
	h, err := w.b.look(ctx, w.b.name, o.Key)
	if err != nil {
		return err
	}
	if unquote(h.Get("Etag")) != o.ETag {
		return store.ErrChanged
	}
	var segs []segment
	if large(h) || h.Get("X-Object-Manifest") != "" {
		ours := false
		if token := tokenOf(h); token != "" && large(h) {
			if segs, ours, err = w.b.manifest(ctx, o.Key, token); err != nil {
				return err
			}
		}
		if !ours {
			return w.pass(ctx, o)
		}
		if largeETag(segs) != o.ETag {
			return store.ErrChanged
		}
		if err := w.b.share(ctx, tokenOf(h), o.Key, w.h.ID); err != nil {
			return err
		}
	}
	if len(w.part) > 0 {
		if err := w.send(); err != nil {
			return err
		}
	}
	number, err := w.next()
	if err != nil {
		return err
	}
	part := store.Part{Number: number, ETag: o.ETag, Size: o.Size}
	if segs != nil {
		_, err = w.b.putManifest(ctx, w.b.segments(), segmentKey(w.h.ID, number), segs, w.contentType, "")
	} else {
		_, err = w.b.copyObject(ctx, w.b.name, o.Key, o.ETag, w.b.segments(), segmentKey(w.h.ID, number), "")
	}
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parts = append(w.parts, part)
	w.size += o.Size
	return nil
}

// pass reads o and writes it.
func (w *writer) pass(ctx context.Context, o store.Object) error {
	r, err := w.b.Open(ctx, o.Key, o.ETag, 0, o.Size)
	if err != nil {
		return err
	}
	got, err := io.Copy(w, r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if got != o.Size {
		return store.ErrShort
	}
	return nil
}

// A sharing says that the segments of one pending object are referred to by another.
type sharing struct {
	By  string    `json:"by"`  // token of the other
	Key store.Key `json:"key"` // under which the first was published
}

func sharedKey(token string) store.Key { return store.Key(dir(token) + "shared") }

// share notes, on both sides, that by refers to the segments of the object that was published under key.
func (b *Bucket) share(ctx context.Context, token string, key store.Key, by string) error {
	if _, err := b.put(ctx, b.segments(), store.Key(dir(by)+copiedPrefix+token), nil, "", ""); err != nil {
		return err
	}
	body, err := json.Marshal(sharing{By: by, Key: key})
	if err != nil {
		return err
	}
	_, err = b.put(ctx, b.segments(), sharedKey(token), body, "application/json", "")
	return err
}

// sharing returns who refers to the segments of token, or nil.
func (b *Bucket) sharing(ctx context.Context, token string) (*sharing, error) {
	r := &request{method: http.MethodGet, container: b.segments(), key: sharedKey(token)}
	r.set(newest, "true")
	resp, err := b.do(ctx, r)
	if has(err, http.StatusNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var s sharing
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxErrorBody)).Decode(&s); err != nil || checkToken(s.By) != nil {
		return nil, fmt.Errorf("%s/%s does not say who shares: %w", b.segments(), sharedKey(token), store.ErrShort)
	}
	return &s, nil
}

// unshare takes back that by refers to the segments of token. They go if their own object is gone.
//
// Delete removes an object before it looks whether its segments are shared, and this takes the note away before it looks
// whether the object is there: when both happen at once, one of them removes the segments.
func (b *Bucket) unshare(ctx context.Context, token, by string) error {
	s, err := b.sharing(ctx, token)
	if err != nil || s == nil || s.By != by {
		return err
	}
	if _, err := b.remove(ctx, b.segments(), sharedKey(token)); err != nil {
		return err
	}
	h, err := b.look(ctx, b.name, s.Key)
	if err == nil && tokenOf(h) == token {
		return nil
	}
	if err != nil && !has(err, http.StatusNotFound) && !errors.Is(err, store.ErrNotExist) {
		return err
	}
	return b.erase(ctx, token)
}
