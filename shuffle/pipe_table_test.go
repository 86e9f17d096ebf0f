package shuffle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/millrace/millrace/shuffle"
	"github.com/millrace/millrace/shuffle/shuffletest"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/file"
	"github.com/millrace/millrace/store/mem"
)

// spools returns what a Transport needs of a bucket.
func spools(b store.Bucket) shuffletest.Transport {
	s, n := shuffle.SpoolScheme(b), 0
	return shuffletest.Transport{Spool: true, Open: func(t testing.TB, _ int) ([]shuffle.PipeWriter, shuffle.PipeReader) {
		n++
		d := shuffle.Descriptor(fmt.Sprintf("spool:dir/%d", n))
		w, err := s.Writer(d)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Reader(d)
		if err != nil {
			t.Fatal(err)
		}
		return []shuffle.PipeWriter{w}, r
	}}
}

func fileBucket(t *testing.T) store.Bucket {
	u, err := store.ParseURI("file://" + t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := file.Open(t.Context(), u, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestFileSpool(t *testing.T)  { shuffletest.TestPipe(t, spools(fileBucket(t))) }
func TestStoreSpool(t *testing.T) { shuffletest.TestPipe(t, spools(mem.New().Bucket("spools"))) }

func TestSpools(t *testing.T) {
	b := mem.New().Bucket("spools")
	schemes := shuffle.Schemes{"store": shuffle.SpoolScheme(b)}
	w, err := schemes.OpenWriter(t.Context(), "store:a")
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("hello"))
	if _, err := schemes.OpenReader(t.Context(), "store:a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a spool that is not complete: %v, want ErrNotExist", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // as often as one likes
		r, err := schemes.OpenReader(t.Context(), "store:a")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); string(got) != "hello" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		r.Close()
	}
	body, err := b.Open(t.Context(), "a", "", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		b.Put(t.Context(), "cut", whole[:n])
		r, err := schemes.OpenReader(t.Context(), "store:cut")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix("hello", string(got)) {
			t.Errorf("cut to %d bytes: got %q, %v", n, got, err)
		}
		r.Close()
	}
	w, err = schemes.OpenWriter(t.Context(), "store:b")
	if err != nil {
		t.Fatal(err)
	}
	w.Abort("no")
	if r, err := schemes.OpenReader(t.Context(), "store:b"); err != nil {
		t.Error(err)
	} else if _, err := io.ReadAll(r); !errors.Is(err, shuffle.ErrAborted) {
		t.Errorf("got %v, want ErrAborted", err)
	}
}

func TestHTTP(t *testing.T) {
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/whole":
			w.Write(body)
		case "/cut":
			w.Header().Set("Content-Length", "1000")
			w.Write([]byte("x"))
		case "/chunked and cut":
			w.Write([]byte("x"))
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/endless":
			c, _, _ := http.NewResponseController(w).Hijack()
			io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nx")
			c.Close()
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	schemes := shuffle.Schemes{"http": shuffle.HTTPScheme(client)}
	t.Run("suite", func(t *testing.T) {
		shuffletest.TestPipe(t, shuffletest.Transport{Feed: func(t testing.TB, data []byte) shuffle.PipeReader {
			body = data
			r, err := schemes["http"].Reader(shuffle.Descriptor(s.URL + "/whole"))
			if err != nil {
				t.Fatal(err)
			}
			return r
		}})
	})
	for path, want := range map[string]error{"/cut": io.ErrUnexpectedEOF, "/chunked%20and%20cut": io.ErrUnexpectedEOF,
		"/endless": errors.ErrUnsupported, "/none?secret=hunter2": nil} {
		r, err := schemes.OpenReader(t.Context(), shuffle.Descriptor(s.URL+path))
		if err == nil {
			_, err = io.ReadAll(r)
			r.Close()
		}
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		if strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: the error shows a secret: %v", path, err)
		}
	}
	s.Close()
	for _, u := range []string{s.URL + "/gone?secret=hunter2", "http://[::1?secret=hunter2"} {
		if _, err := schemes.OpenReader(t.Context(), shuffle.Descriptor(u)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want an error without the secret", err)
		}
	}
}

func TestDescriptors(t *testing.T) {
	var m shuffle.Mem
	schemes := shuffle.Schemes{"mem": m.Scheme(), "unix": shuffle.UnixScheme, "http": shuffle.HTTPScheme(nil)}
	ws, rd := m.Make(1, 0)
	for _, d := range []shuffle.Descriptor{ws[0], rd} {
		if s := fmt.Sprint(d); s != "mem:…" || len(d.Rest()) < 20 {
			t.Errorf("%q shows as %q", string(d), s)
		}
	}
	r, err := schemes.OpenReader(t.Context(), rd)
	if err != nil {
		t.Fatal(err)
	}
	w, err := schemes.OpenWriter(t.Context(), ws[0])
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("x"))
	w.Close()
	if got, err := io.ReadAll(r); string(got) != "x" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for d, want := range map[shuffle.Descriptor]error{
		ws[0]: os.ErrNotExist, rd: os.ErrNotExist, "mem:guess": os.ErrNotExist, "nfs:x": errors.ErrUnsupported, "": errors.ErrUnsupported,
		"http://localhost/": errors.ErrUnsupported, "unix:x": os.ErrInvalid, "unix:": os.ErrInvalid, "unix:-1": os.ErrInvalid,
	} {
		if w, err := schemes.OpenWriter(t.Context(), d); !errors.Is(err, want) {
			t.Errorf("OpenWriter(%q) = %v, %v; want %v", string(d), w, err, want)
		}
	}
	for d, want := range map[shuffle.Descriptor]error{ws[0]: os.ErrNotExist, "nfs:x": errors.ErrUnsupported, "unix:x": os.ErrInvalid} {
		if r, err := schemes.OpenReader(t.Context(), d); !errors.Is(err, want) {
			t.Errorf("OpenReader(%q) = %v, %v; want %v", string(d), r, err, want)
		}
	}
	ws, rd = m.Make(1, 0)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("lease lost"))
	if w, err := schemes.OpenWriter(ctx, ws[0]); err == nil || !strings.Contains(err.Error(), "lease lost") {
		t.Errorf("got %v, %v, want the cause", w, err)
	}
	if r, err := schemes.OpenReader(t.Context(), rd); err == nil {
		if got, err := io.ReadAll(r); !errors.Is(err, shuffle.ErrAborted) || !bytes.Equal(got, nil) {
			t.Errorf("got %q, %v, want ErrAborted", got, err)
		}
	} else {
		t.Error(err)
	}
}
