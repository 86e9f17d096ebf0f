package swift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/store"
)

func TestAnswers(t *testing.T) {
	tests := []struct {
		status int
		kind   string
		body   string
		want   error
	}{
		{404, "text/html", "<html>not found</html>", store.ErrNotExist},
		{403, "text/html", "<html>no</html>", store.ErrPermission},
		{401, "text/plain", "no", store.ErrPermission},
		{412, "text/html", "", store.ErrChanged},
		{422, "text/html", "", store.ErrChanged},
		{400, "text/plain", "several\nlines " + strings.Repeat("x", 10*maxErrorBody), nil},
	}
	for _, tt := range tests {
		_, b := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", tt.kind)
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.body)
		})
		_, err := b.Open(t.Context(), "some/key", "", 0, -1)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "swift://c/some/key: ") || len(err.Error()) > 400 {
			t.Errorf("%d: Open = %v, want one line of %v", tt.status, err, tt.want)
		}
		secretless(t, err)
	}
}

// A store that asks for patience, or fails for a moment, is asked again, whatever the request.
func TestStorm(t *testing.T) {
	for _, status := range []int{429, 498, 502, 503} {
		var n atomic.Int64
		f, b := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1)%2 != 0 {
				w.WriteHeader(status)
				return
			}
			switch r.Method {
			case http.MethodPut:
				w.Header().Set("Etag", r.Header.Get("Etag"))
				w.WriteHeader(http.StatusCreated)
			case http.MethodDelete:
				w.WriteHeader(http.StatusNoContent)
			default:
				object(w, r, "v1", "hello")
			}
		})
		if got, err := whole(b, t, "v1"); err != nil || got != "hello" {
			t.Errorf("%d: read %q, %v", status, got, err)
		}
		if _, err := b.Put(t.Context(), "k", []byte("x")); err != nil {
			t.Errorf("%d: Put: %v", status, err)
		}
		if err := b.Delete(t.Context(), "k"); err != nil {
			t.Errorf("%d: Delete: %v", status, err)
		}
		if got := f.count("PUT c/k"); got != 2 {
			t.Errorf("%d: %d PUTs, want 2", status, got)
		}
	}
}

func TestStormWithoutEnd(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/auth/v1.0" {
			w.Header().Set("X-Auth-Token", "t")
			w.Header().Set("X-Storage-Url", "http://"+r.Host+"/v1/AUTH_a")
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer srv.Close()
	_, _, err := Static(srv.URL+"/auth/v1.0", fakeUser, fakeKey)(t.Context(), store.URI{Scheme: "swift", Bucket: "c"}, nil)
	if !errors.Is(err, store.ErrThrottled) {
		t.Errorf("Open = %v, want ErrThrottled", err)
	}
}

// A body that ends early is asked for again from where it ended, as the same version.
func TestResume(t *testing.T) {
	body := strings.Repeat("0123456789", 1000)
	var ranges []string
	_, b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		from := 0
		if rng := r.Header.Get("Range"); rng != "" {
			fmt.Sscanf(rng, "bytes=%d-", &from)
			ranges = append(ranges, rng+" "+r.Header.Get("If-Match"))
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(body)-1, len(body)))
		}
		w.Header().Set("Etag", "v1")
		w.Header().Set("Content-Length", fmt.Sprint(len(body)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		io.WriteString(w, body[from:min(from+4000, len(body))])
	})
	if got, err := whole(b, t, ""); err != nil || got != body {
		t.Errorf("read %d bytes, %v, want %d", len(got), err, len(body))
	}
	if want := `[bytes=4000-9999 "v1" bytes=8000-9999 "v1"]`; fmt.Sprint(ranges) != want {
		t.Errorf("ranges %v, want %s", ranges, want)
	}
}

// A body that never gets further ends as one that is too short.
func TestAlwaysShort(t *testing.T) {
	_, b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", "v1")
		w.Header().Set("Content-Length", "10")
	})
	if got, err := whole(b, t, "v1"); !errors.Is(err, store.ErrShort) {
		t.Errorf("read %q, %v, want ErrShort", got, err)
	}
	if err := b.ReadWhole(t.Context(), store.Object{Key: "k", ETag: "v1", Size: 10}, make([]byte, 10)); !errors.Is(err, store.ErrShort) {
		t.Errorf("ReadWhole = %v, want ErrShort", err)
	}
}

// A replica that lacks the version that was listed is no reason to give up: all are asked for the newest.
func TestStaleReplica(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusPreconditionFailed} {
		f, b := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get(newest) != "true" {
				w.WriteHeader(status)
				return
			}
			object(w, r, "v2", "hello")
		})
		if got, err := whole(b, t, "v2"); err != nil || got != "hello" {
			t.Errorf("%d: read %q, %v", status, got, err)
		}
		if n := f.count("GET"); n != 2 {
			t.Errorf("%d: asked %d times, want twice", status, n)
		}
		if got, err := whole(b, t, "v1"); !errors.Is(err, store.ErrChanged) {
			t.Errorf("%d: read %q, %v of an older version, want ErrChanged", status, got, err)
		}
	}
}

// What is gone for good is said to be, after it was looked for a few times.
func TestGoneAfterListing(t *testing.T) {
	f, b := serve(t, http.NotFound)
	if got, err := whole(b, t, "v1"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("read %q, %v, want ErrNotExist", got, err)
	}
	if n := f.count("GET"); n != searches {
		t.Errorf("asked %d times, want %d", n, searches)
	}
}

// An object that changes while it is read is never half old, half new.
func TestChangedWhileReading(t *testing.T) {
	var n atomic.Int64
	_, b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) > 1 {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		w.Header().Set("Etag", "v1")
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "old")
	})
	if got, err := whole(b, t, "v1"); !errors.Is(err, store.ErrChanged) || got != "old" {
		t.Errorf("read %q, %v, want ErrChanged", got, err)
	}
}

// Many requests whose token has expired make one login, and succeed.
func TestExpiredToken(t *testing.T) {
	f, b := serve(t, func(w http.ResponseWriter, r *http.Request) { object(w, r, "v1", "hello") })
	f.mu.Lock()
	f.valid = 2
	f.mu.Unlock()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if got, err := whole(b, t, "v1"); err != nil || got != "hello" {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
	wg.Wait()
	if f.logins != 2 {
		t.Errorf("%d logins, want 2", f.logins)
	}
	f.valid = 1000
	_, err := b.Stat(t.Context(), "k")
	if !errors.Is(err, store.ErrPermission) || f.logins != 3 {
		t.Errorf("Stat = %v after %d logins, want ErrPermission after 3", err, f.logins)
	}
	secretless(t, err)
}

func TestLoginRefused(t *testing.T) {
	f, _ := serve(t, http.NotFound)
	_, err := open(t.Context(), "c", nil, v1(f.url+"/auth/v1.0", fakeUser, fakeKey+"x"))
	if !errors.Is(err, store.ErrPermission) || !strings.Contains(err.Error(), "401") {
		t.Errorf("open = %v, want that the login is refused", err)
	}
	secretless(t, err)
}

// A publication whose answer is lost is found to have succeeded; one that failed is not.
func TestPublishFindsItsOwnObject(t *testing.T) {
	const token = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	p := store.Pending{Handle: store.Handle{Key: "k", ID: token}, Size: 5, Parts: []store.Part{{Number: 1, ETag: "x", Size: 5}}}
	for _, done := range []bool{true, false} {
		var tried atomic.Bool
		_, b := serve(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPut:
				tried.Store(true)
				w.WriteHeader(http.StatusConflict)
			case r.Method == http.MethodDelete:
				w.WriteHeader(http.StatusNoContent)
			case strings.HasPrefix(r.URL.Path, "/v1/AUTH_account/c_segments/"):
				object(w, r, "x", "hello")
			case !tried.Load() || !done:
				w.WriteHeader(http.StatusNotFound)
			default:
				w.Header().Set(tokenHeader, token)
				object(w, r, "x", "hello")
			}
		})
		o, err := b.Publish(t.Context(), p)
		if done && (err != nil || o.ETag != "x" || o.Size != 5) || !done && err == nil {
			t.Errorf("done %v: Publish = %+v, %v", done, o, err)
		}
	}
}

func TestListRefuses(t *testing.T) {
	const good = `{"name":"a","bytes":1,"hash":"h","content_type":"t","last_modified":"2026-01-01T00:00:00.000000"}`
	for name, body := range map[string]string{
		"html":         "<html>hello</html>",
		"out of order": "[" + strings.Replace(good, `"a"`, `"b"`, 1) + "," + good + "]",
		"twice":        "[" + good + "," + good + "]",
		"no hash":      "[" + strings.Replace(good, `"h"`, `""`, 1) + "]",
		"no time":      "[" + strings.Replace(good, "2026", "x", 1) + "]",
		"negative":     "[" + strings.Replace(good, `:1,`, `:-1,`, 1) + "]",
		"too many":     "[" + strings.Repeat("{},", 10_000) + "{}]",
	} {
		_, b := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) })
		var last error
		for _, err := range b.List(t.Context(), "", "") {
			last = err
		}
		if !errors.Is(last, store.ErrListing) {
			t.Errorf("%s: List ended with %v, want ErrListing", name, last)
		}
	}
}

// Pages follow each other, and what is listed as empty but is the manifest of a dynamic large object is looked at.
func TestListPages(t *testing.T) {
	var names []string
	for i := range 25_000 {
		names = append(names, fmt.Sprintf("n%06d", i))
	}
	_, b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("X-Object-Manifest", "c_segments/big/")
			w.Header().Set("Etag", `"of all"`)
			w.Header().Set("Content-Length", "12345")
			return
		}
		first, found := slices.BinarySearch(names, r.FormValue("marker"))
		if found {
			first++
		}
		var items []item
		for _, name := range names[first:min(first+10_000, len(names))] {
			it := item{Name: name, Bytes: 1, Hash: "h", Type: "text/plain", Modified: "2026-01-02T03:04:05.678901"}
			if name == "n012345" {
				it.Bytes, it.Hash = 0, emptyHash
			}
			items = append(items, it)
		}
		json.NewEncoder(w).Encode(items)
	})
	var got []string
	for o, err := range b.List(t.Context(), "", "n000009") {
		if err != nil {
			t.Fatal(err)
		}
		if o.Key == "n012345" && (o.Size != 12345 || o.ETag != "of all") {
			t.Errorf("large object is listed as %+v", o)
		}
		got = append(got, string(o.Key))
	}
	if !slices.Equal(got, names[10:]) {
		t.Errorf("listed %d objects, want %d", len(got), len(names)-10)
	}
}

func FuzzParsePage(f *testing.F) {
	f.Add([]byte(`[{"name":"a","bytes":1,"hash":"h","content_type":"t","last_modified":"2026-01-01T00:00:00.000000","slo_etag":"\"x\""},{"subdir":"d/"}]`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		items, err := parsePage(body, 100)
		if err != nil && !errors.Is(err, store.ErrListing) {
			t.Errorf("parsePage = %v, want ErrListing", err)
		}
		for _, it := range items {
			if o, err := it.object(); err == nil && (o.Key == "" || o.Size < 0 || o.ETag == "") {
				t.Errorf("object let %+v pass", it)
			}
		}
	})
}

// Markers that Swift would refuse are moved back a little, and never forward.
func TestBefore(t *testing.T) {
	for _, tt := range []struct{ key, want string }{
		{"", ""}, {"a", "a"}, {"é", "é"}, {"a\xff", "a\U0010ffff"}, {"a\xc3", "a\u00bf"}, {"\x80", "\x7f"}, {"\xed\xa0\x80", "\ud7ff"}, {"b\xe2\x82", "b\u207f"},
	} {
		if got := before(tt.key); got != tt.want {
			t.Errorf("before(%q) = %q, want %q", tt.key, got, tt.want)
		}
	}
}

// A cancelled request ends at once with the cause, also while it waits to try again.
func TestCancelledBackoff(t *testing.T) {
	lost := errors.New("lease lost")
	ctx, cancel := context.WithCancelCause(t.Context())
	var n atomic.Int64
	_, b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
		if n.Add(1) == 1 {
			cancel(lost)
		}
	})
	if _, err := b.Stat(ctx, "k"); !errors.Is(err, lost) || n.Load() > 1 {
		t.Errorf("Stat = %v after %d requests, want %v after one", err, n.Load(), lost)
	}
}

// Where an object that is newer lies already, the store accepts a write and says nothing of what it has.
func TestPutThatIsOvertaken(t *testing.T) {
	for _, etag := range []string{"", "5d41402abc4b2a76b9719d911017c592", "0123456789abcdef0123456789abcdef"} {
		_, b := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if etag != "" {
				w.Header().Set("Etag", etag)
			}
			w.WriteHeader(http.StatusAccepted)
		})
		o, err := b.Put(t.Context(), "k", []byte("hello"))
		if strings.HasPrefix(etag, "01") {
			if err == nil {
				t.Errorf("a store that has something else: got %+v", o)
			}
			continue
		}
		if err != nil || o.ETag != "5d41402abc4b2a76b9719d911017c592" {
			t.Errorf("etag %q: got %+v, %v", etag, o, err)
		}
	}
}
