package swift

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/millrace/millrace/store"
)

// small opens a new container whose large objects are small: segments of 1,000 bytes, 3 of them in a manifest.
func (s *cluster) small(t *testing.T) *Bucket {
	t.Helper()
	b := s.open(t, s.container(t))
	t.Cleanup(func() { b.Close() })
	b.segmentSize, b.limits.Segments = 1000, 3
	return b
}

func numbers(n int) []byte {
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%d ", b.Len())
	}
	return b.Bytes()[:n]
}

func seal(t *testing.T, b *Bucket, key store.Key, body []byte) store.Pending {
	t.Helper()
	w, err := b.Create(t.Context(), key, &store.CreateOptions{ContentType: "text/x-test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	p, err := w.Seal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func publish(t *testing.T, b *Bucket, p store.Pending) store.Object {
	t.Helper()
	o, err := b.Publish(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func holds(t *testing.T, b *Bucket, key store.Key, off, n int64, want []byte) {
	t.Helper()
	r, err := b.Open(t.Context(), key, "", off, n)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s from %d: got %d bytes, %v, want %d", key, off, len(got), err, len(want))
	}
}

// left returns what lies in the container of segments.
func left(t *testing.T, b *Bucket) (names []string) {
	t.Helper()
	items, err := b.page(t.Context(), b.segments(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range items {
		names = append(names, it.Name[len(dir("ABCDEFGHIJKLMNOPQRSTUVWXYZ")):])
	}
	return names
}

// Objects of one segment are plain ones; of more, large ones; of more than a manifest names, large ones of large ones. Listing,
// Stat and ranged reads agree on all of them, and deleting them leaves nothing.
func (s *cluster) largeObjects(t *testing.T) {
	b := s.small(t)
	for i, n := range []int{0, 1, 1000, 1001, 3000, 3001, 8500} {
		body := numbers(n)
		key := store.Key(fmt.Sprintf("d/%d", i))
		p := seal(t, b, key, body)
		o := publish(t, b, p)
		if h, err := b.look(t.Context(), b.name, key); err != nil || large(h) != (n > 1000) || h.Get("Content-Type") != "text/x-test" {
			t.Errorf("%d bytes: %v, %v", n, h, err)
		}
		if st, err := b.Stat(t.Context(), key); err != nil || st.Size != int64(n) || st.ETag != o.ETag {
			t.Errorf("%d bytes: Stat = %+v, %v, want %+v", n, st, err, o)
		}
		for l, err := range b.List(t.Context(), key, "") {
			if err != nil || l.Size != int64(n) || l.ETag != o.ETag {
				t.Errorf("%d bytes: listed as %+v, %v, want %+v", n, l, err, o)
			}
			if err := b.ReadWhole(t.Context(), l, make([]byte, n)); err != nil {
				t.Error(err)
			}
		}
		holds(t, b, key, 0, -1, body)
		if n > 3000 {
			holds(t, b, key, 1990, 1011, body[1990:3001])
		}
		if again := publish(t, b, p); again.ETag != o.ETag || again.Size != o.Size {
			t.Errorf("%d bytes: published again as %+v, want %+v", n, again, o)
		}
		if err := b.Discard(t.Context(), p.Handle); err != nil {
			t.Error(err)
		}
		holds(t, b, key, 0, -1, body)
		if err := b.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	if names := left(t, b); len(names) > 0 {
		t.Errorf("left segments %q", names)
	}
	if _, err := b.Publish(t.Context(), discarded(t, b)); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("Publish after Discard = %v, want ErrNotExist", err)
	}
}

func discarded(t *testing.T, b *Bucket) store.Pending {
	t.Helper()
	p := seal(t, b, "gone", numbers(2500))
	if err := b.Discard(t.Context(), p.Handle); err != nil {
		t.Fatal(err)
	}
	if names := left(t, b); len(names) > 0 {
		t.Errorf("Discard left %q", names)
	}
	return p
}

// An object put together of others refers to their segments, and keeps them when the others go. Whichever goes last takes them along.
func (s *cluster) copies(t *testing.T) {
	b := s.small(t)
	ctx := t.Context()
	b.leastCopy = 1000
	body := numbers(2500)
	for _, published := range []bool{true, false} {
		for _, pieceFirst := range []bool{true, false} {
			piece := seal(t, b, "piece", body)
			w, err := b.Create(ctx, "all", nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range []store.Object{publish(t, b, piece), publish(t, b, seal(t, b, "plain", body[:1000])), publish(t, b, seal(t, b, "little", body[:10]))} {
				if err := w.(store.Copier).Copy(ctx, o); err != nil {
					t.Fatal(err)
				}
			}
			all, err := w.Seal(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if published {
				publish(t, b, all)
			}
			removePiece := func() error { return errors.Join(b.Delete(ctx, "piece"), b.Discard(ctx, piece.Handle)) }
			removeAll := func() error { return errors.Join(b.Delete(ctx, "all"), b.Discard(ctx, all.Handle)) }
			want := slices.Concat(body, body[:1000], body[:10])
			switch {
			case pieceFirst:
				if err := removePiece(); err != nil {
					t.Error(err)
				}
				if !published {
					publish(t, b, all)
				}
				holds(t, b, "all", 0, -1, want)
				err = removeAll()
			default:
				if err := removeAll(); err != nil {
					t.Error(err)
				}
				holds(t, b, "piece", 0, -1, body)
				err = removePiece()
			}
			if err := errors.Join(err, b.Delete(ctx, "plain"), b.Delete(ctx, "little")); err != nil {
				t.Error(err)
			}
			if names := left(t, b); len(names) > 0 {
				t.Errorf("published %v, piece first %v: left %q", published, pieceFirst, names)
			}
		}
	}
}

// A large object that somebody replaced is not published over that again; one of ours that is replaced by another of ours takes
// its segments along.
func (s *cluster) replaced(t *testing.T) {
	b := s.small(t)
	first := seal(t, b, "k", numbers(1500))
	publish(t, b, first)
	if _, err := b.Put(t.Context(), "k", []byte("theirs")); err != nil {
		t.Fatal(err)
	}
	if o, err := b.Publish(t.Context(), first); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("Publish over another object = %+v, %v, want ErrNotExist", o, err)
	}
	holds(t, b, "k", 0, -1, []byte("theirs"))
	if err := b.Discard(t.Context(), first.Handle); err != nil {
		t.Error(err)
	}
	publish(t, b, seal(t, b, "k", numbers(1600)))
	publish(t, b, seal(t, b, "k", numbers(1700)))
	holds(t, b, "k", 0, -1, numbers(1700))
	if got, want := left(t, b), []string{"000001", "000002", "published"}; !slices.Equal(got, want) {
		t.Errorf("left %q, want %q", got, want)
	}
}

// Large objects that others made, static and dynamic, are read whole and by ranges, and pinned; deleting one leaves its segments.
func (s *cluster) foreign(t *testing.T) {
	b := s.small(t)
	ctx := t.Context()
	body := numbers(3000)
	var segs []segment
	for i := range 3 {
		key := store.Key(fmt.Sprintf("parts/%d", i))
		o, err := b.Put(ctx, key, body[i*1000:(i+1)*1000])
		if err != nil {
			t.Fatal(err)
		}
		segs = append(segs, segment{Path: "/" + b.name + "/" + string(key), ETag: o.ETag, Size: o.Size})
	}
	if _, err := b.putManifest(ctx, b.name, "static", segs, "", ""); err != nil {
		t.Fatal(err)
	}
	r := &request{method: http.MethodPut, container: b.name, key: "dynamic", body: []byte{}}
	r.set("X-Object-Manifest", b.name+"/parts/")
	if _, err := b.head(ctx, r); err != nil {
		t.Fatal(err)
	}
	n := 0
	var listed store.Object
	for _, prefix := range []store.Key{"static", "dynamic"} {
		for o, err := range b.List(ctx, prefix, "") {
			if err != nil || o.Size != 3000 {
				t.Fatalf("%s is listed as %+v, %v", prefix, o, err)
			}
			n++
			listed = o
			got := make([]byte, 3000)
			if err := b.ReadWhole(ctx, o, got); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%s: ReadWhole: %v", o.Key, err)
			}
			holds(t, b, o.Key, 999, 1002, body[999:2001])
		}
	}
	if n != 2 {
		t.Errorf("%d large objects are listed, want 2", n)
	}
	if err := b.Delete(ctx, "static"); err != nil {
		t.Error(err)
	}
	holds(t, b, "parts/2", 0, -1, body[2000:])
	if _, err := b.Put(ctx, "parts/1", bytes.Repeat([]byte("x"), 1000)); err != nil {
		t.Fatal(err)
	}
	if err := b.ReadWhole(ctx, listed, make([]byte, 3000)); !errors.Is(err, store.ErrChanged) {
		t.Errorf("%s of which a part was replaced: got %v, want ErrChanged", listed.Key, err)
	}
}
