package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/store"
)

// reading holds the behaviours of Stat, Open and ReadWhole.
var reading = []behaviour{
	{"stat describes the object", func(s *suite) {
		before := time.Now().Add(-time.Minute)
		o := s.put("a/b.eml", "hello")
		got := s.stat("a/b.eml")
		s.same("Stat", got, o)
		if got.Size != 5 || got.Modified.Before(before) || got.Modified.After(time.Now().Add(time.Minute)) || got.Archived {
			s.Errorf("Stat = %+v, want 5 bytes, modified now", got)
		}
	}},
	{"stat of nothing is ErrNotExist", func(s *suite) {
		s.put("a/b", "x")
		for _, key := range []store.Key{"nothing", "a/b/c", "a", "a/", "a/bb"} {
			if o, err := s.b.Stat(s.ctx, key); !errors.Is(err, store.ErrNotExist) {
				s.Errorf("Stat(%q) = %+v, %v, want ErrNotExist", key, o, err)
			}
		}
	}},
	{"open of nothing is ErrNotExist", func(s *suite) {
		if got, err := s.read("nothing/here", "", 0, -1); !errors.Is(err, store.ErrNotExist) {
			s.Errorf("Open = %q, %v, want ErrNotExist", got, err)
		}
		if got, err := s.read("nothing/here", "0123456789abcdef0123456789abcdef", 0, -1); !errors.Is(err, store.ErrNotExist) {
			s.Errorf("Open with an etag = %q, %v, want ErrNotExist", got, err)
		}
	}},
	{"read whole object", func(s *suite) {
		body := text(300_000)
		s.put("k", body)
		s.want("k", body)
	}},
	{"read ranges", func(s *suite) {
		body := text(10_000)
		o := s.put("k", body)
		tests := []struct {
			off, n int64
			want   string
		}{
			{0, -1, body}, {0, 10, body[:10]}, {10, 10, body[10:20]}, {9_990, -1, body[9_990:]},
			{9_990, 100, body[9_990:]}, {0, 10_000, body}, {0, 1 << 40, body}, {9_999, 1, body[9_999:]},
			{10_000, -1, ""}, {10_000, 5, ""}, {20_000, -1, ""}, {5, 0, ""},
		}
		for _, tt := range tests {
			got, err := s.read("k", o.ETag, tt.off, tt.n)
			if err != nil || got != tt.want {
				s.Errorf("Open(off %d, n %d) = %d bytes %.20q, %v, want %d bytes %.20q", tt.off, tt.n, len(got), got, err, len(tt.want), tt.want)
			}
		}
	}},
	{"negative offset is refused", func(s *suite) {
		s.put("k", "0123456789")
		if got, err := s.read("k", "", -1, 5); err == nil {
			s.Errorf("Open(off -1) = %q, want an error", got)
		}
	}},
	{"empty object", func(s *suite) {
		o := s.put("empty", "")
		s.want("empty", "")
		if o.Size != 0 {
			s.Errorf("Size = %d, want 0", o.Size)
		}
		s.same("Stat", s.stat("empty"), o)
		if got, err := s.read("empty", o.ETag, 0, 10); err != nil || got != "" {
			s.Errorf("Open = %q, %v, want nothing", got, err)
		}
		if err := store.ReadWhole(s.ctx, s.b, o, nil); err != nil {
			s.Errorf("ReadWhole: %v", err)
		}
	}},
	{"open with the right etag", func(s *suite) {
		o := s.put("k", "hello")
		if got, err := s.read("k", o.ETag, 1, 3); err != nil || got != "ell" {
			s.Errorf("Open = %q, %v, want %q", got, err, "ell")
		}
	}},
	{"open with an old etag is ErrChanged", func(s *suite) {
		o := s.put("k", "hello")
		s.put("k", "world")
		for _, n := range []int64{-1, 2, 0} {
			if got, err := s.read("k", o.ETag, 0, n); !errors.Is(err, store.ErrChanged) {
				s.Errorf("Open(n %d) = %q, %v, want ErrChanged", n, got, err)
			}
		}
	}},
	{"an etag changes with the content", func(s *suite) {
		seen := map[string]bool{}
		for _, body := range []string{"aaaa", "bbbb", "cccc", "dddd", ""} {
			o := s.put("k", body)
			if seen[o.ETag] {
				s.Fatalf("etag %q of an earlier version again", o.ETag)
			}
			seen[o.ETag] = true
			s.same("Stat", s.stat("k"), o)
		}
	}},
	{"etags have no quotes", func(s *suite) {
		if o := s.put("k", "x"); strings.Contains(o.ETag, `"`) || o.ETag == "" {
			s.Errorf("ETag = %s, want no quotes and not empty", o.ETag)
		}
	}},
	{"never half old, half new", func(s *suite) {
		old, now := strings.Repeat("o", 4<<20), strings.Repeat("n", 4<<20)
		o := s.put("k", old)
		r, err := s.b.Open(s.ctx, "k", o.ETag, 0, -1)
		if err != nil {
			s.Fatal(err)
		}
		defer r.Close()
		head := make([]byte, 1000)
		if _, err := io.ReadFull(r, head); err != nil {
			s.Fatal(err)
		}
		s.put("k", now)
		tail, err := io.ReadAll(r)
		if err != nil && !errors.Is(err, store.ErrChanged) && !errors.Is(err, store.ErrShort) {
			s.Errorf("read = %v, want the old version, ErrChanged or ErrShort", err)
		}
		if err == nil && len(tail)+len(head) != len(old) {
			s.Errorf("read %d bytes without an error, want %d", len(tail)+len(head), len(old))
		}
		if bytes.ContainsRune(head, 'n') || bytes.ContainsRune(tail, 'n') {
			s.Error("a read of the old version has bytes of the new one")
		}
	}},
	{"cancelled before open", func(s *suite) {
		s.put("k", "hello")
		ctx, cancel := context.WithCancelCause(s.ctx)
		cancel(errLeaseLost)
		if _, err := s.b.Open(ctx, "k", "", 0, -1); !errors.Is(err, errLeaseLost) && !errors.Is(err, context.Canceled) {
			s.Errorf("Open = %v, want the cause of the cancellation", err)
		}
	}},
	{"cancelled while reading", func(s *suite) {
		s.put("k", text(8<<20))
		ctx, cancel := context.WithCancel(s.ctx)
		r, err := s.b.Open(ctx, "k", "", 0, -1)
		if err != nil {
			s.Fatal(err)
		}
		defer r.Close()
		if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
			s.Fatal(err)
		}
		cancel()
		start := time.Now()
		n, err := io.Copy(io.Discard, r)
		if !errors.Is(err, context.Canceled) {
			s.Errorf("read %d bytes after the cancellation, then %v, want context.Canceled", n, err)
		}
		if d := time.Since(start); d > 5*time.Second {
			s.Errorf("cancellation took %v", d)
		}
	}},
	{"close in the middle of a body", func(s *suite) {
		s.put("k", text(4<<20))
		for range 20 {
			r, err := s.b.Open(s.ctx, "k", "", 0, -1)
			if err != nil {
				s.Fatal(err)
			}
			if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
				s.Fatal(err)
			}
			if err := r.Close(); err != nil {
				s.Fatalf("Close: %v", err)
			}
		}
		s.want("k", text(4<<20))
	}},
	{"many readers at once", func(s *suite) {
		body := text(50_000)
		o := s.put("k", body)
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				off := int64(i * 1000)
				got, err := s.read("k", o.ETag, off, 20_000)
				if want := body[off:min(off+20_000, 50_000)]; err != nil || got != want {
					s.Errorf("reader %d got %d bytes, %v, want %d", i, len(got), err, len(want))
				}
			})
		}
		wg.Wait()
	}},
	{"ReadWhole reads what was listed", func(s *suite) {
		bodies := map[store.Key]string{"a": "x", "b/c": text(4_000), "d": "", "e": text(200_000)}
		for k, body := range bodies {
			s.put(k, body)
		}
		n := 0
		for o, err := range s.b.List(s.ctx, "", "") {
			if err != nil {
				s.Fatal(err)
			}
			dst := make([]byte, o.Size)
			if err := store.ReadWhole(s.ctx, s.b, o, dst); err != nil || string(dst) != bodies[o.Key] {
				s.Errorf("ReadWhole(%q) = %d bytes, %v, want %d", o.Key, len(dst), err, len(bodies[o.Key]))
			}
			n++
		}
		if n != len(bodies) {
			s.Errorf("listed %d objects, want %d", n, len(bodies))
		}
	}},
	{"ReadWhole of a changed object is ErrChanged", func(s *suite) {
		o := s.put("k", "hello")
		for _, body := range []string{"world", "longer than before", "", "x"} {
			s.put("k", body)
			if err := store.ReadWhole(s.ctx, s.b, o, make([]byte, o.Size)); !errors.Is(err, store.ErrChanged) {
				s.Errorf("ReadWhole = %v, want ErrChanged", err)
			}
		}
	}},
	{"ReadWhole of a deleted object is ErrNotExist", func(s *suite) {
		o := s.put("k", "hello")
		if err := s.b.Delete(s.ctx, "k"); err != nil {
			s.Fatal(err)
		}
		err := store.ReadWhole(s.ctx, s.b, o, make([]byte, o.Size))
		if !errors.Is(err, store.ErrNotExist) {
			s.Errorf("ReadWhole = %v, want ErrNotExist", err)
		}
		s.names("ReadWhole", err, "k")
	}},
	{"errors name the object", func(s *suite) {
		_, err := s.b.Stat(s.ctx, "some/where.eml")
		s.names("Stat", err, "some/where.eml")
		_, err = s.read("some/where.eml", "", 0, -1)
		s.names("Open", err, "some/where.eml")
		o := s.put("else/where.eml", "x")
		s.put("else/where.eml", "y")
		_, err = s.read("else/where.eml", o.ETag, 0, -1)
		s.names("Open", err, "else/where.eml")
	}},
}

var errLeaseLost = errors.New("lease lost")
