package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/millrace/millrace/store"
)

// writing holds the behaviours of Put, Delete and of keys.
var writing = []behaviour{
	{"put replaces", func(s *suite) {
		s.put("k", "first, and longer")
		s.put("k", "second")
		s.want("k", "second")
		if got := s.list("", ""); len(got) != 1 {
			s.Errorf("List = %q, want one key", got)
		}
	}},
	{"put does not keep the caller's slice", func(s *suite) {
		body := []byte("hello")
		if _, err := s.b.Put(s.ctx, "k", body); err != nil {
			s.Fatal(err)
		}
		copy(body, "XXXXX")
		s.want("k", "hello")
	}},
	{"put at once from many", func(s *suite) {
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				if _, err := s.b.Put(s.ctx, "dir/k", []byte(strings.Repeat(string(rune('a'+i)), 10_000))); err != nil {
					s.Errorf("Put: %v", err)
				}
			})
		}
		wg.Wait()
		got, err := s.read("dir/k", "", 0, -1)
		if err != nil || len(got) != 10_000 || strings.Count(got, got[:1]) != 10_000 {
			s.Errorf("object holds %d bytes, %v, want 10000 equal ones", len(got), err)
		}
	}},
	{"delete", func(s *suite) {
		s.put("a/b/c", "x")
		if err := s.b.Delete(s.ctx, "a/b/c"); err != nil {
			s.Fatal(err)
		}
		s.wantGone("a/b/c")
		s.put("a/b/c", "again")
		s.want("a/b/c", "again")
	}},
	{"delete of nothing is no error", func(s *suite) {
		s.put("a/b", "x")
		for _, k := range []store.Key{"nothing", "no/thing/here", "a", "a/b/c"} {
			if err := s.b.Delete(s.ctx, k); err != nil {
				s.Errorf("Delete(%q): %v", k, err)
			}
		}
		s.want("a/b", "x")
	}},
	{"a key can become a directory and back", func(s *suite) {
		s.put("a", "x")
		if err := s.b.Delete(s.ctx, "a"); err != nil {
			s.Fatal(err)
		}
		s.put("a/b", "y")
		s.want("a/b", "y")
		if err := s.b.Delete(s.ctx, "a/b"); err != nil {
			s.Fatal(err)
		}
		s.put("a", "z")
		s.want("a", "z")
	}},
	{"odd keys", func(s *suite) {
		keys := []store.Key{
			"a b", "a+b", "a%20b", "a%2Fb", "a%", "été/ß", "日本語.eml", "a&b=c?d#e", "a\\b", "a'b\"c", "a;b:c,d", "<a>", "*?[x]{y}", "a\nb", "a\tb", "\x01", "a\x7fb",
			" a", "a ", "a//b", "/a", "a/", "./a", "a/../b", "a/.", "-a", "~a", "$HOME", "a\xffb", "a\x00b", ".", "..", "a/./b", ".hidden", "a..b", "a...", "_b",
			store.Key(strings.Repeat("k", 1024)), store.Key(strings.Repeat("long/", 204) + "abcd"), store.Key(strings.Repeat("é", 100)),
		}
		s.putAny(&keys)
		if len(keys) < 15 {
			s.Errorf("only %d keys are accepted", len(keys))
		}
		want := slices.Sorted(slices.Values(keys))
		if got := s.list("", ""); !slices.Equal(got, want) {
			s.Fatalf("List = %q, want %q", got, want)
		}
		for _, k := range keys {
			s.want(k, "x")
			if o := s.stat(k); o.Key != k || o.Size != 1 {
				s.Errorf("Stat(%.60q) = %+v", k, o)
			}
			s.publish(s.seal(k, "published"))
			s.want(k, "published")
			if err := s.b.Delete(s.ctx, k); err != nil {
				s.Errorf("Delete(%.60q): %v", k, err)
			}
		}
		if got := s.list("", ""); len(got) != 0 {
			s.Errorf("List = %q after all were deleted", got)
		}
	}},
	{"everyday keys are accepted", func(s *suite) {
		for _, k := range []store.Key{
			"a b", "a+b", "a%20b", "été/ß", "日本語.eml", "a&b=c?d#e", "a'b", "a:b,c", ".hidden", "a..b", "a...", "_b", "~a", "-a", "(a)", "a@b.c", "1/2/3/4/5/6/7/8/9",
		} {
			s.put(k, "x")
			s.want(k, "x")
		}
	}},
	{"impossible keys are ErrKey", func(s *suite) {
		for _, k := range []store.Key{"", store.Key(strings.Repeat("x", 1025))} {
			if _, err := s.b.Put(s.ctx, k, []byte("x")); !errors.Is(err, store.ErrKey) {
				s.Errorf("Put(%.20q) = %v, want ErrKey", k, err)
			}
			if _, err := s.b.Create(s.ctx, k, nil); !errors.Is(err, store.ErrKey) {
				s.Errorf("Create(%.20q) = %v, want ErrKey", k, err)
			}
		}
	}},
	{"keys that collide with directories", func(s *suite) {
		if s.opts.Collides {
			s.Skip("the server cannot hold such keys")
		}
		for i, pair := range [][2]store.Key{{"a", "a/b"}, {"c/d", "c"}} {
			s.put(pair[0], "first")
			_, err := s.b.Put(s.ctx, pair[1], []byte("second"))
			if err != nil && !errors.Is(err, store.ErrKey) {
				s.Errorf("%d: Put(%q) beside %q = %v, want nil or ErrKey", i, pair[1], pair[0], err)
			}
			if err == nil {
				s.want(pair[1], "second")
			}
			s.want(pair[0], "first")
			if _, err := s.b.Publish(s.ctx, s.sealOrKey(pair[1])); err != nil && !errors.Is(err, store.ErrKey) && !errors.Is(err, errSkipped) {
				s.Errorf("%d: Publish(%q) beside %q = %v, want nil or ErrKey", i, pair[1], pair[0], err)
			}
			s.want(pair[0], "first")
		}
	}},
	{"our own keys are ordinary", func(s *suite) {
		for _, k := range []store.Key{"_millrace/job.json", "_manifest.json", "out/_millrace/commit.json", "_failed/part-00000.jsonl"} {
			s.put(k, string(k))
			s.want(k, string(k))
		}
		if got := s.list("_millrace/", ""); !slices.Equal(got, []store.Key{"_millrace/job.json"}) {
			s.Errorf("List = %q, want the one document", got)
		}
	}},
	{"cancelled put leaves nothing", func(s *suite) {
		ctx, cancel := context.WithCancel(s.ctx)
		cancel()
		if _, err := s.b.Put(ctx, "k", []byte("x")); !errors.Is(err, context.Canceled) {
			s.Errorf("Put = %v, want context.Canceled", err)
		}
		s.wantGone("k")
	}},
	{"objects survive reopening", func(s *suite) {
		o := s.put("a/b", "hello")
		s.reopen()
		s.want("a/b", "hello")
		s.same("Stat", s.stat("a/b"), o)
	}},
	{"many small objects at once", func(s *suite) {
		var keys []store.Key
		for i := range s.few(200) {
			keys = append(keys, store.Key(fmt.Sprintf("n%d/%d", i%7, i)))
		}
		s.fill(keys)
		for _, k := range keys {
			s.want(k, string(k))
		}
	}},
}

// sealOrKey makes a sealed pending object under key, or an empty one if the driver refuses the key.
func (s *suite) sealOrKey(key store.Key) store.Pending {
	s.Helper()
	w, err := s.b.Create(s.ctx, key, nil)
	if errors.Is(err, store.ErrKey) {
		return store.Pending{Handle: store.Handle{Key: key, ID: "none"}}
	}
	if err != nil {
		s.Fatalf("Create(%q): %v", key, err)
	}
	p, err := w.Seal(s.ctx)
	if err != nil {
		s.Fatalf("Seal(%q): %v", key, err)
	}
	return p
}

// errSkipped stands for the pending object that a driver never made.
var errSkipped = store.ErrNotExist
