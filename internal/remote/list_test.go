package remote

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/store"
)

const pageKeys = 1000

// A shelf is a sorted list of keys that answers as ListObjectsV2 does.
type shelf struct {
	keys  []string
	calls atomic.Int64
	delay time.Duration
}

func (f *shelf) fetch(ctx context.Context, prefix, after, token string) (Page, error) {
	f.calls.Add(1)
	if f.delay > 0 {
		time.Sleep(f.delay)
	}
	first, found := slices.BinarySearch(f.keys, max(prefix, after))
	if found && f.keys[first] == after {
		first++
	}
	var p Page
	for _, k := range f.keys[first:] {
		if !strings.HasPrefix(k, prefix) {
			break
		}
		if len(p.Objects) == pageKeys {
			p.Truncated = true
			break
		}
		p.Objects = append(p.Objects, store.Object{Key: store.Key(k), Size: 1, ETag: "x"})
	}
	return p, ctx.Err()
}

// all lists f and returns the keys.
func (f *shelf) all(ctx context.Context, prefix, after string, requests int) ([]string, error) {
	var got []string
	err := List(ctx, f.fetch, prefix, after, pageKeys, requests, func(o store.Object) bool {
		got = append(got, string(o.Key))
		return true
	})
	return got, err
}

func newShelf(keys []string) *shelf {
	slices.Sort(keys)
	return &shelf{keys: slices.Compact(keys)}
}

// shelves are distributions of keys.
var shelves = []struct {
	name string
	make func(rnd *rand.Rand, n int) []string
}{
	{"dates", func(_ *rand.Rand, n int) (keys []string) {
		for i := range n {
			keys = append(keys, fmt.Sprintf("2026/%02d/%02d/%06d.eml", i*12/n+1, i*12*28/n%28+1, i%(n/300+1)))
		}
		return keys
	}},
	{"numbers", func(_ *rand.Rand, n int) (keys []string) {
		for i := range n {
			keys = append(keys, fmt.Sprintf("mail-%07d.eml", i))
		}
		return keys
	}},
	{"numbers of any length", func(_ *rand.Rand, n int) (keys []string) {
		for i := range n {
			keys = append(keys, fmt.Sprintf("m%d", i))
		}
		return keys
	}},
	{"hex", func(rnd *rand.Rand, n int) (keys []string) {
		for range n {
			keys = append(keys, fmt.Sprintf("%016x%016x", rnd.Uint64(), rnd.Uint64()))
		}
		return keys
	}},
	{"deep constant prefix", func(_ *rand.Rand, n int) (keys []string) {
		for i := range n {
			keys = append(keys, fmt.Sprintf("%s%08d", strings.Repeat("archive/", 40), i*17))
		}
		return keys
	}},
	{"any bytes", func(rnd *rand.Rand, n int) (keys []string) {
		for range n {
			b := make([]byte, rnd.IntN(12)+1)
			for i := range b {
				b[i] = byte(rnd.Uint32())
			}
			keys = append(keys, string(b))
		}
		return keys
	}},
	{"two bytes", func(rnd *rand.Rand, n int) (keys []string) {
		for range n {
			b := make([]byte, rnd.IntN(30)+1)
			for i := range b {
				b[i] = "a\xff"[rnd.IntN(2)]
			}
			keys = append(keys, string(b))
		}
		return keys
	}},
	{"clusters", func(rnd *rand.Rand, n int) (keys []string) {
		for len(keys) < n {
			p := fmt.Sprintf("%x/%d/", rnd.Uint32(), rnd.IntN(10))
			for i := range rnd.IntN(n/5+1) + 1 {
				keys = append(keys, p+fmt.Sprint(i))
			}
		}
		return keys
	}},
	{"one long run of one letter", func(_ *rand.Rand, n int) (keys []string) {
		for i := range min(n, 1000) {
			keys = append(keys, strings.Repeat("z", i+1))
		}
		return keys
	}},
}

func TestListAnyKeys(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, s := range shelves {
		t.Run(s.name, func(t *testing.T) {
			for _, n := range []int{0, 1, 999, 1000, 1001, 2000, 20_000} {
				rnd := rand.New(rand.NewPCG(seed, uint64(n)))
				f := newShelf(s.make(rnd, n))
				for _, requests := range []int{1, 3, 16} {
					prefix, after := "", ""
					if n > 0 && requests == 3 {
						k := f.keys[rnd.IntN(len(f.keys))]
						prefix, after = k[:rnd.IntN(len(k)+1)], f.keys[rnd.IntN(len(f.keys))]
					}
					var want []string
					for _, k := range f.keys {
						if strings.HasPrefix(k, prefix) && k > after {
							want = append(want, k)
						}
					}
					f.calls.Store(0)
					got, err := f.all(t.Context(), prefix, after, requests)
					if err != nil || !slices.Equal(got, want) {
						t.Fatalf("n %d, requests %d, prefix %q, after %q: %d keys, %v, want %d", n, requests, prefix, after, len(got), err, len(want))
					}
					if calls, bound := int(f.calls.Load()), spareSplits+requests+5*(len(want)/pageKeys+1); calls > bound {
						t.Errorf("n %d, requests %d: %d calls for %d keys, want at most %d", n, requests, calls, len(want), bound)
					}
				}
			}
		})
	}
}

// A listing of requests that each take a while is as many times faster as there are requests, nearly.
func TestListIsParallel(t *testing.T) {
	for _, s := range shelves[:4] {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newShelf(s.make(rand.New(rand.NewPCG(1, 2)), 100_000))
				f.delay = 20 * time.Millisecond
				start := time.Now()
				got, err := f.all(t.Context(), "", "", 16)
				if err != nil || len(got) != len(f.keys) {
					t.Fatalf("%d keys, %v, want %d", len(got), err, len(f.keys))
				}
				d, sequential := time.Since(start), time.Duration(len(f.keys)/pageKeys)*f.delay
				t.Logf("%v, %d requests; one after the other takes %v", d, f.calls.Load(), sequential)
				if d > sequential/3 {
					t.Errorf("took %v, want less than a third of %v", d, sequential)
				}
			})
		})
	}
}

func TestListRefuses(t *testing.T) {
	page1 := func(keys ...store.Key) Page {
		p := Page{Truncated: true, Token: "t"}
		for _, k := range keys {
			p.Objects = append(p.Objects, store.Object{Key: k})
		}
		return p
	}
	tests := []struct {
		name   string
		prefix string
		pages  []Page // the last one again and again
	}{
		{"keys out of order", "", []Page{page1("b", "a")}},
		{"repeated key", "", []Page{page1("a", "a")}},
		{"the same page again", "", []Page{page1("a", "b"), page1("a", "b")}},
		{"a repeated token", "", []Page{page1("a"), {Truncated: true, Token: "t"}, {Truncated: true, Token: "t"}}},
		{"truncated without a token", "", []Page{{Truncated: true}}},
		{"keys beyond the prefix", "p/", []Page{page1("q/a")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := 0
			err := List(t.Context(), func(context.Context, string, string, string) (Page, error) {
				n++
				return tt.pages[min(n, len(tt.pages))-1], nil
			}, tt.prefix, "", pageKeys, 1, func(store.Object) bool { return true })
			if !errors.Is(err, store.ErrListing) {
				t.Errorf("list = %v, want ErrListing", err)
			}
		})
	}
}

func TestListGoesOnAfterEmptyPages(t *testing.T) {
	pages := map[string]Page{
		"":  {Truncated: true, Token: "1"},
		"1": {Truncated: true, Token: "2"},
		"2": {Objects: []store.Object{{Key: "a"}}},
	}
	var got []store.Key
	err := List(t.Context(), func(_ context.Context, _, _, token string) (Page, error) {
		return pages[token], nil
	}, "", "", pageKeys, 4, func(o store.Object) bool {
		got = append(got, o.Key)
		return true
	})
	if err != nil || !slices.Equal(got, []store.Key{"a"}) {
		t.Errorf("list = %q, %v, want a", got, err)
	}
}

func TestListEndsOnErrorAndCancellation(t *testing.T) {
	f := newShelf(shelves[1].make(nil, 50_000))
	broken := errors.New("broken")
	var calls atomic.Int64
	err := List(t.Context(), func(ctx context.Context, prefix, after, token string) (Page, error) {
		if calls.Add(1) > 10 {
			return Page{}, broken
		}
		return f.fetch(ctx, prefix, after, token)
	}, "", "", pageKeys, 8, func(store.Object) bool { return true })
	if !errors.Is(err, broken) {
		t.Errorf("list = %v, want %v", err, broken)
	}

	lost := errors.New("lease lost")
	ctx, cancel := context.WithCancelCause(t.Context())
	n := 0
	err = List(ctx, f.fetch, "", "", pageKeys, 8, func(store.Object) bool {
		if n++; n == 5_000 {
			cancel(lost)
		}
		return true
	})
	if !errors.Is(err, lost) || n > 6_000 {
		t.Errorf("list = %v after %d objects, want %v within a page", err, n, lost)
	}
}

// Nobody takes what is listed: the listing stops asking.
func TestListIsBounded(t *testing.T) {
	f := newShelf(shelves[1].make(nil, 600_000))
	var most int64
	n := 0
	err := List(t.Context(), f.fetch, "", "", pageKeys, 16, func(store.Object) bool {
		if n++; n == 1 {
			time.Sleep(200 * time.Millisecond)
		}
		if n%100_000 == 1 {
			time.Sleep(100 * time.Millisecond)
			most = max(most, f.calls.Load()*pageKeys-int64(n))
		}
		return true
	})
	if err != nil || n != 600_000 {
		t.Fatalf("%d objects, %v, want 600000", n, err)
	}
	if most > 2*ahead {
		t.Errorf("%d objects were fetched ahead, want at most about %d", most, ahead)
	}
}

func TestScaleRoundTrip(t *testing.T) {
	var r ruler
	keys := []string{"2026/01/17/000123.eml", "2026/12/01/999999.eml", "2025/01/01/000000.eml"}
	for _, k := range keys {
		r.learn(k)
	}
	s := r.scale("", "", "")
	for _, k := range keys {
		if got := s.key(s.number(k)); got != k {
			t.Errorf("key(number(%q)) = %q", k, got)
		}
	}
	if a, b := s.number("2025/99"), s.number("2026/00"); a.Cmp(b) >= 0 {
		t.Errorf("number(2025/99) = %v, number(2026/00) = %v, want them in order", a, b)
	}
}
