// Package storetest holds the behaviours that every driver of package store must show, as tests.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/store"
)

// Options say what a driver under test can do beyond the contract, and how much time its tests may take.
type Options struct {
	// Reopen opens the bucket that b is once more, as another process would.
	Reopen func(t *testing.T, b store.Bucket) store.Bucket
	// Keys is how many objects the test of long listings makes, and at most how many any other does; 0 means 2,600.
	Keys int
	// Refuses reports keys that the server behind the driver cannot hold, or refuses in ways of its own, so that they are left out.
	Refuses func(key store.Key) bool
	// Collides says that the same is true of a key that is also a directory of another.
	Collides bool
	// Large is the size of the largest object made, in bytes; 0 means 20 MiB.
	Large int
}

// Run shows that a driver keeps the contract of package store. open returns an empty bucket that nobody else uses; Run closes it.
// Each behaviour is a subtest of its own name with a bucket of its own.
func Run(t *testing.T, open func(t *testing.T) store.Bucket, opts *Options) {
	t.Helper()
	if opts == nil {
		opts = &Options{}
	}
	for _, group := range [][]behaviour{reading, listing, writing, publishing} {
		for _, bh := range group {
			t.Run(bh.name, func(t *testing.T) {
				s := &suite{T: t, b: open(t), opts: opts}
				defer func() {
					if err := s.b.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				}()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				s.ctx = ctx
				bh.run(s)
			})
		}
	}
}

// A behaviour is one thing that every driver does.
type behaviour struct {
	name string
	run  func(s *suite)
}

// A suite is one behaviour under test: the test, its bucket and the short words for what is done to it.
type suite struct {
	*testing.T
	ctx  context.Context
	b    store.Bucket
	opts *Options
}

// put makes an object and returns it as Put described it.
func (s *suite) put(key store.Key, body string) store.Object {
	s.Helper()
	o, err := s.b.Put(s.ctx, key, []byte(body))
	if err != nil {
		s.Fatalf("Put(%.60q): %v", key, err)
	}
	return o
}

// stat describes the object under key, which must exist.
func (s *suite) stat(key store.Key) store.Object {
	s.Helper()
	o, err := s.b.Stat(s.ctx, key)
	if err != nil {
		s.Fatalf("Stat(%.60q): %v", key, err)
	}
	return o
}

// read returns bytes [off, off+n) of the object under key.
func (s *suite) read(key store.Key, etag string, off, n int64) (string, error) {
	r, err := s.b.Open(s.ctx, key, etag, off, n)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(r)
	return string(body), errors.Join(err, r.Close())
}

// want fails unless the object under key holds body.
func (s *suite) want(key store.Key, body string) {
	s.Helper()
	got, err := s.read(key, "", 0, -1)
	if err != nil || got != body {
		s.Fatalf("object %.60q holds %.80q, %v, want %.80q", key, got, err, body)
	}
}

// wantGone fails if there is an object under key, in a Stat, an Open or a listing.
func (s *suite) wantGone(key store.Key) {
	s.Helper()
	if o, err := s.b.Stat(s.ctx, key); !errors.Is(err, store.ErrNotExist) {
		s.Fatalf("Stat(%q) = %+v, %v, want ErrNotExist", key, o, err)
	}
	if got, err := s.read(key, "", 0, -1); !errors.Is(err, store.ErrNotExist) {
		s.Fatalf("Open(%q) = %.80q, %v, want ErrNotExist", key, got, err)
	}
	for _, k := range s.list("", "") {
		if k == key {
			s.Fatalf("key %q is listed", key)
		}
	}
}

// list returns the keys of a listing. An empty bucket that does not exist yet counts as empty.
func (s *suite) list(prefix, after store.Key) []store.Key {
	s.Helper()
	keys := []store.Key{}
	for o, err := range s.b.List(s.ctx, prefix, after) {
		if errors.Is(err, store.ErrNotExist) && len(keys) == 0 {
			break
		}
		if err != nil {
			s.Fatalf("List(%q, %q): %v", prefix, after, err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

// seal makes a pending object of body, written in pieces.
func (s *suite) seal(key store.Key, body string) store.Pending {
	s.Helper()
	w := s.create(key)
	for p := []byte(body); len(p) > 0; {
		n := min(len(p), 100_003)
		if _, err := w.Write(p[:n]); err != nil {
			s.Fatalf("Write for %q: %v", key, err)
		}
		p = p[n:]
	}
	p, err := w.Seal(s.ctx)
	if err != nil {
		s.Fatalf("Seal for %q: %v", key, err)
	}
	return p
}

func (s *suite) create(key store.Key) store.Writer {
	s.Helper()
	w, err := s.b.Create(s.ctx, key, nil)
	if err != nil {
		s.Fatalf("Create(%q): %v", key, err)
	}
	return w
}

func (s *suite) publish(p store.Pending) store.Object {
	s.Helper()
	o, err := s.b.Publish(s.ctx, p)
	if err != nil {
		s.Fatalf("Publish(%q): %v", p.Key, err)
	}
	return o
}

func (s *suite) discard(h store.Handle) {
	s.Helper()
	if err := s.b.Discard(s.ctx, h); err != nil {
		s.Fatalf("Discard(%q): %v", h.Key, err)
	}
}

// few returns n, or fewer where objects take long to make.
func (s *suite) few(n int) int {
	if s.opts.Keys > 0 {
		return min(n, s.opts.Keys)
	}
	return n
}

// reopen opens the bucket again, or skips the test.
func (s *suite) reopen() {
	s.Helper()
	if s.opts.Reopen == nil {
		s.Skip("the driver cannot be opened again")
	}
	b := s.opts.Reopen(s.T, s.b)
	if err := s.b.Close(); err != nil {
		s.Fatalf("Close: %v", err)
	}
	s.b = b
}

// same fails unless two descriptions are of one version.
func (s *suite) same(what string, got, want store.Object) {
	s.Helper()
	if got.Key != want.Key || got.Size != want.Size || got.ETag != want.ETag || got.ETag == "" {
		s.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

// text makes n bytes that tell their place.
func text(n int) string {
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%09d\n", b.Len())
	}
	return b.String()[:n]
}

func sha(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// names fails unless err is one line that names key, in quotes if it must be.
func (s *suite) names(what string, err error, key string) {
	s.Helper()
	if err == nil {
		s.Errorf("%s: no error", what)
		return
	}
	quoted := strings.Trim(strconv.Quote(key), `"`)
	if !strings.Contains(err.Error(), key) && !strings.Contains(err.Error(), quoted) || strings.Contains(err.Error(), "\n") {
		s.Errorf("%s: error %q is not one line that names %s", what, err, key)
	}
}
