package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/store"
)

// listing holds the behaviours of List.
var listing = []behaviour{
	{"empty bucket lists nothing", func(s *suite) {
		if got := s.list("", ""); len(got) != 0 {
			s.Errorf("List = %q, want nothing", got)
		}
	}},
	{"listing describes objects", func(s *suite) {
		a, b := s.put("a", "hello"), s.put("b/c", "")
		var got []store.Object
		for o, err := range s.b.List(s.ctx, "", "") {
			if err != nil {
				s.Fatal(err)
			}
			got = append(got, o)
		}
		if len(got) != 2 {
			s.Fatalf("List = %+v, want two objects", got)
		}
		s.same("first", got[0], a)
		s.same("second", got[1], b)
		if d := time.Since(got[0].Modified); d < -time.Minute || d > time.Minute {
			s.Errorf("Modified = %v, want now", got[0].Modified)
		}
	}},
	{"byte order", func(s *suite) {
		keys := []store.Key{
			"a.b", "a/b", "a/c/d", "a0", "aa", "a-b/c", "a b", "B", "b", "é", "z/é", "z/z", "~", "0", "00", "a/b0", "a/b-", "a/b.c/d", "a!/x", "a+/x",
		}
		s.putAny(&keys)
		slices.Sort(keys)
		if got := s.list("", ""); !slices.Equal(got, keys) {
			s.Errorf("List = %q, want %q", got, keys)
		}
	}},
	{"long listing", func(s *suite) {
		n := s.opts.Keys
		if n == 0 {
			n = 2_600
		}
		var keys []store.Key
		for i := range n {
			switch i % 3 {
			case 0:
				keys = append(keys, store.Key(fmt.Sprintf("2026/%02d/%02d/%06d.eml", i%12+1, i%28+1, i)))
			case 1:
				keys = append(keys, store.Key(fmt.Sprintf("mail-%07d.eml", i)))
			case 2:
				keys = append(keys, store.Key(fmt.Sprintf("m/%x/%d", i*7919%257, i)))
			}
		}
		s.fill(keys)
		slices.Sort(keys)
		if got := s.list("", ""); !slices.Equal(got, keys) {
			s.Fatalf("List = %d keys, want %d in byte order; first difference at %d", len(got), len(keys), difference(got, keys))
		}
		for _, after := range []store.Key{keys[0], keys[n/2], keys[n-2], keys[n-1], "m/", "mail-1", "2026/05/99"} {
			first, found := slices.BinarySearch(keys, after)
			if found {
				first++
			}
			if got := s.list("", after); !slices.Equal(got, keys[first:]) {
				s.Errorf("List(after %q) = %d keys, want %d", after, len(got), n-first)
			}
		}
	}},
	{"prefix", func(s *suite) {
		keys := []store.Key{"a", "a/b", "a/b/c", "a/bc", "ab", "b", "b/a", "c"}
		s.putAny(&keys)
		slices.Sort(keys)
		for _, prefix := range []store.Key{"a", "a/", "a/b", "a/b/", "ab", "b/", "zz", "c", "a/b/c", "a/b/c/"} {
			want := []store.Key{}
			for _, k := range keys {
				if strings.HasPrefix(string(k), string(prefix)) {
					want = append(want, k)
				}
			}
			if got := s.list(prefix, ""); !slices.Equal(got, want) {
				s.Errorf("List(%q) = %q, want %q", prefix, got, want)
			}
		}
	}},
	{"prefix and after", func(s *suite) {
		keys := []store.Key{"a/1", "a/2", "a/2x", "a/3/4", "a/5", "b/1", "b/2"}
		for _, k := range keys {
			s.put(k, "x")
		}
		tests := []struct{ prefix, after store.Key }{
			{"a/", "a/2"}, {"a/", "a/"}, {"a/", "0"}, {"a/", "a/5"}, {"a/", "z"}, {"b/", "a/3"}, {"a/", "a/3"}, {"a/", "a/3/"}, {"a/", "a/3/4"}, {"a/2", "a/2"}, {"", "a/2"}, {"", "\xff"},
		}
		for _, tt := range tests {
			want := []store.Key{}
			for _, k := range keys {
				if strings.HasPrefix(string(k), string(tt.prefix)) && k > tt.after {
					want = append(want, k)
				}
			}
			if got := s.list(tt.prefix, tt.after); !slices.Equal(got, want) {
				s.Errorf("List(%q, %q) = %q, want %q", tt.prefix, tt.after, got, want)
			}
		}
	}},
	{"resumed listing equals one listing", func(s *suite) {
		var keys []store.Key
		for i := range 40 {
			keys = append(keys, store.Key(fmt.Sprintf("d%d/%d", i%5, i)))
		}
		s.fill(keys)
		slices.Sort(keys)
		var got []store.Key
		after := store.Key("")
		for len(got) <= len(keys) {
			n := 0
			for o, err := range s.b.List(s.ctx, "", after) {
				if err != nil {
					s.Fatal(err)
				}
				after = o.Key
				got = append(got, o.Key)
				if n++; n == 7 {
					break
				}
			}
			if n < 7 {
				break
			}
		}
		if !slices.Equal(got, keys) {
			s.Errorf("resumed listings = %q, want %q", got, keys)
		}
	}},
	{"random keys", func(s *suite) {
		seed := time.Now().UnixNano()
		s.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(uint64(seed), 0))
		var keys []store.Key
		for range s.few(150) {
			var b strings.Builder
			for range rnd.IntN(6) + 1 {
				b.WriteByte("ab/-.0z~"[rnd.IntN(8)])
			}
			keys = append(keys, store.Key(b.String()))
		}
		slices.Sort(keys)
		keys = slices.Compact(keys)
		rnd.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		s.putAny(&keys)
		slices.Sort(keys)
		if got := s.list("", ""); !slices.Equal(got, keys) {
			s.Errorf("List = %q, want %q", got, keys)
		}
		for range 20 {
			k := keys[rnd.IntN(len(keys))]
			prefix, after := k[:rnd.IntN(len(k)+1)], keys[rnd.IntN(len(keys))]
			want := []store.Key{}
			for _, k := range keys {
				if strings.HasPrefix(string(k), string(prefix)) && k > after {
					want = append(want, k)
				}
			}
			if got := s.list(prefix, after); !slices.Equal(got, want) {
				s.Errorf("List(%q, %q) = %q, want %q", prefix, after, got, want)
			}
		}
	}},
	{"stopping a listing early", func(s *suite) {
		for i := range 30 {
			s.put(store.Key(fmt.Sprintf("%02d", i)), "x")
		}
		for range 10 {
			for o, err := range s.b.List(s.ctx, "", "") {
				if err != nil || o.Key != "00" {
					s.Fatalf("first of List = %q, %v, want 00", o.Key, err)
				}
				break
			}
		}
	}},
	{"cancelled listing", func(s *suite) {
		for i := range 30 {
			s.put(store.Key(fmt.Sprintf("%02d", i)), "x")
		}
		ctx, cancel := context.WithCancel(s.ctx)
		cancel()
		var last error
		for _, err := range s.b.List(ctx, "", "") {
			last = err
		}
		if !errors.Is(last, context.Canceled) {
			s.Errorf("List ended with %v, want context.Canceled", last)
		}
	}},
	{"deleted objects are not listed", func(s *suite) {
		s.put("a/1", "x")
		s.put("a/2", "x")
		if err := s.b.Delete(s.ctx, "a/1"); err != nil {
			s.Fatal(err)
		}
		if got, want := s.list("", ""), []store.Key{"a/2"}; !slices.Equal(got, want) {
			s.Errorf("List = %q, want %q", got, want)
		}
	}},
	{"listing while objects come and go", func(s *suite) {
		var keys []store.Key
		for i := range s.few(60) {
			keys = append(keys, store.Key(fmt.Sprintf("stay/%02d", i)))
		}
		s.fill(keys)
		var g errgroup.Group
		stop := make(chan struct{})
		g.Go(func() error {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return nil
				default:
				}
				k := store.Key(fmt.Sprintf("stay/%02d-guest", i%len(keys)))
				if _, err := s.b.Put(s.ctx, k, []byte("x")); err != nil {
					return err
				}
				if err := s.b.Delete(s.ctx, k); err != nil {
					return err
				}
			}
		})
		for range 10 {
			got := s.list("", "")
			if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
				s.Errorf("List = %q, want it sorted and without repeats", got)
			}
			got = slices.DeleteFunc(got, func(k store.Key) bool { return strings.HasSuffix(string(k), "-guest") })
			if !slices.Equal(got, keys) {
				s.Errorf("List lacks objects that were there all the time: got %d of %d", len(got), len(keys))
			}
		}
		close(stop)
		if err := g.Wait(); err != nil {
			s.Error(err)
		}
	}},
}

// fill makes an object under each key, several at once.
func (s *suite) fill(keys []store.Key) {
	s.Helper()
	var g errgroup.Group
	g.SetLimit(8)
	for _, k := range keys {
		g.Go(func() error {
			_, err := s.b.Put(s.ctx, k, []byte(k))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		s.Fatal(err)
	}
}

// putAny makes an object under each key and takes out of keys those that the driver refuses with ErrKey.
func (s *suite) putAny(keys *[]store.Key) {
	s.Helper()
	var kept []store.Key
	for _, k := range *keys {
		if s.opts.Refuses != nil && s.opts.Refuses(k) {
			continue
		}
		if s.opts.Collides && slices.ContainsFunc(kept, func(o store.Key) bool {
			return strings.HasPrefix(string(k), string(o)+"/") || strings.HasPrefix(string(o), string(k)+"/")
		}) {
			continue
		}
		_, err := s.b.Put(s.ctx, k, []byte("x"))
		if errors.Is(err, store.ErrKey) {
			s.names("Put", err, string(k))
			continue
		}
		if err != nil {
			s.Fatalf("Put(%q): %v", k, err)
		}
		kept = append(kept, k)
	}
	*keys = kept
}

// difference returns the first index at which a and b differ.
func difference(a, b []store.Key) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
