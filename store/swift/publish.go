package swift

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/store"
)

// tokenHeader names in an object's metadata the pending object that it was.
const tokenHeader = "X-Object-Meta-Millrace-Token"

// tokenOf returns the token of an object that was published by this package, else "".
func tokenOf(h http.Header) string {
	if token := h.Get(tokenHeader); checkToken(token) == nil {
		return token
	}
	return ""
}

// large reports whether headers are those of a static large object.
func large(h http.Header) bool { return strings.EqualFold(h.Get("X-Static-Large-Object"), "true") }

// Publish makes the pending object visible, and answers only after it has seen it: whatever the store answered, the object under the key
// with this token and size means success.
func (b *Bucket) Publish(ctx context.Context, p store.Pending) (store.Object, error) {
	o, err := b.publish(ctx, p)
	if err != nil {
		return store.Object{}, b.explain(ctx, p.Key, err)
	}
	return o, nil
}

func (b *Bucket) publish(ctx context.Context, p store.Pending) (store.Object, error) {
	err := checkToken(p.ID)
	if err == nil {
		err = checkKey(p.Key)
	}
	if err == nil && len(p.Parts) == 0 {
		err = fmt.Errorf("pending object %.40s has no segments", p.ID)
	}
	if err != nil {
		return store.Object{}, err
	}
	before, err := b.look(ctx, b.name, p.Key)
	if err != nil && !has(err, http.StatusNotFound) {
		return store.Object{}, err
	}
	if tokenOf(before) == p.ID {
		return b.settle(ctx, p, before)
	}
	o, err := b.reveal(ctx, p)
	if err != nil {
		// Whatever was answered, the object may be there: an answer may be lost, and somebody else may have published it.
		now, lookErr := b.look(ctx, b.name, p.Key)
		if lookErr != nil || tokenOf(now) != p.ID {
			return store.Object{}, err
		}
		return b.settle(ctx, p, now)
	}
	if old := tokenOf(before); old != "" && large(before) {
		if err := b.erase(ctx, old); err != nil {
			return store.Object{}, err
		}
	}
	return o, b.tidy(ctx, p, o.ETag != p.Parts[0].ETag) // that of a large object is one of its parts' ETags
}

func publishedKey(token string) store.Key { return store.Key(dir(token) + "published") }

// reveal makes the object under its key: one plain segment by a copy of it, anything else by a manifest.
func (b *Bucket) reveal(ctx context.Context, p store.Pending) (store.Object, error) {
	o := store.Object{Key: p.Key, Size: p.Size}
	first := segmentKey(p.ID, p.Parts[0].Number)
	h, err := b.look(ctx, b.segments(), first)
	if has(err, http.StatusNotFound) {
		return o, fmt.Errorf("pending object %.40s: %w", p.ID, store.ErrNotExist)
	}
	if err != nil {
		return o, err
	}
	if len(p.Parts) == 1 && !large(h) {
		o.ETag = p.Parts[0].ETag
		h, err = b.copyObject(ctx, b.segments(), first, o.ETag, b.name, p.Key, p.ID)
		o.Modified = modified(h)
		return o, err
	}
	_, err = b.look(ctx, b.segments(), publishedKey(p.ID))
	if err == nil {
		return o, fmt.Errorf("pending object %.40s: %w under this key any more", p.ID, store.ErrNotExist)
	}
	if !has(err, http.StatusNotFound) {
		return o, err
	}
	h, err = b.putManifest(ctx, b.name, p.Key, b.named(p.ID, p.Parts), h.Get("Content-Type"), p.ID)
	o.ETag, o.Modified = unquote(h.Get("Etag")), modified(h)
	return o, err
}

// copyObject has the store copy a plain object of that ETag. It returns ErrChanged if it is not that one any more.
func (b *Bucket) copyObject(ctx context.Context, from string, key store.Key, etag, to string, as store.Key, token string) (http.Header, error) {
	r := &request{method: http.MethodPut, container: to, key: as, body: []byte{}}
	r.set("X-Copy-From", escape("/"+from+"/"+string(key)))
	r.set("X-Fresh-Metadata", "true")
	r.set("Etag", etag)
	r.set(tokenHeader, token)
	h, err := b.head(ctx, r)
	if err == nil && unquote(h.Get("Etag")) != etag {
		err = store.ErrChanged
	}
	return h, err
}

// settle describes an object that was published, by this call or an earlier one.
func (b *Bucket) settle(ctx context.Context, p store.Pending, h http.Header) (store.Object, error) {
	o, err := describe(p.Key, h)
	if err == nil && o.Size != p.Size {
		err = fmt.Errorf("%w: published with %d bytes, sealed with %d", store.ErrShort, o.Size, p.Size)
	}
	if err == nil {
		err = b.tidy(ctx, p, large(h))
	}
	return o, err
}

// tidy puts the directory of a published object in order: the segment that was copied goes; segments that are referred to are
// marked, so that nobody publishes them once more over what came later.
func (b *Bucket) tidy(ctx context.Context, p store.Pending, large bool) error {
	var err error
	if large {
		_, err = b.put(ctx, b.segments(), publishedKey(p.ID), nil, "", "")
	} else {
		_, err = b.remove(ctx, b.segments(), segmentKey(p.ID, p.Parts[0].Number))
	}
	return err
}

// Discard removes the segments of h, unless an object that was published refers to them.
func (b *Bucket) Discard(ctx context.Context, h store.Handle) error {
	err := checkToken(h.ID)
	if err == nil {
		var now http.Header
		now, err = b.look(ctx, b.name, h.Key)
		if err == nil && tokenOf(now) == h.ID && large(now) {
			return nil
		}
		if err == nil || has(err, http.StatusNotFound) {
			err = b.erase(ctx, h.ID)
		}
	}
	return b.explain(ctx, h.Key, err)
}

// Delete removes the object and, if it was published by this package, its segments.
func (b *Bucket) Delete(ctx context.Context, key store.Key) error {
	if checkKey(key) != nil {
		return nil
	}
	h, err := b.look(ctx, b.name, key)
	if has(err, http.StatusNotFound) {
		return nil
	}
	if err == nil {
		_, err = b.remove(ctx, b.name, key)
	}
	if token := tokenOf(h); err == nil && token != "" && large(h) {
		err = b.erase(ctx, token)
	}
	return b.explain(ctx, key, err)
}

// erase removes the directory of a pending object and lets go of what it copied. If another one refers to its segments it
// leaves all to that.
func (b *Bucket) erase(ctx context.Context, token string) error {
	s, err := b.sharing(ctx, token)
	if err != nil || s != nil {
		return err
	}
	last := 0
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(looks)
	for after := ""; ; {
		items, err := b.page(ctx, b.segments(), dir(token), after)
		if has(err, http.StatusNotFound) || err == nil && len(items) == 0 {
			break
		}
		if err != nil {
			return err
		}
		for _, it := range items {
			after = it.Name
			var n int
			if _, err := fmt.Sscanf(after[len(dir(token)):], "%06d", &n); err == nil && n < firstGroup {
				last = max(last, n)
			}
			g.Go(func() error { return b.eraseOne(gctx, token, store.Key(it.Name)) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	// A listing may not show yet what was written last.
	for n, missed := last+1, 0; missed <= inFlight; n++ {
		was, err := b.remove(ctx, b.segments(), segmentKey(token, n))
		if err != nil {
			return err
		}
		if !was {
			missed++
		}
	}
	return nil
}

func (b *Bucket) eraseOne(ctx context.Context, token string, key store.Key) error {
	if of, ok := strings.CutPrefix(string(key), dir(token)+copiedPrefix); ok && checkToken(of) == nil {
		if err := b.unshare(ctx, of, token); err != nil {
			return err
		}
	}
	_, err := b.remove(ctx, b.segments(), key)
	return err
}
