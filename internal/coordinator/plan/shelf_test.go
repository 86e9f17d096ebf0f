package plan_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// many is a bucket of a number of objects of 1,000 bytes.
type many struct {
	store.Bucket
	n int
}

func (m many) List(context.Context, store.Key, store.Key) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		for i := range m.n {
			if !yield(store.Object{Key: store.Key(fmt.Sprintf("%06d", i)), Size: 1000, ETag: "v1"}, nil) {
				return
			}
		}
	}
}

func (many) Open(context.Context, store.Key, string, int64, int64) (io.ReadCloser, error) {
	return nil, store.ErrNotExist
}

// A locate is a Locator out of a function of the key.
type locate func(key string) ([]string, error)

func (l locate) Locate(_ context.Context, keys []store.Key, nodes [][]string) (err error) {
	for i, k := range keys {
		if nodes[i], err = l(string(k)); err != nil {
			return err
		}
	}
	return nil
}

// splits plans a thousand objects, and returns their keys split by split.
func splits(t *testing.T, o plan.Options) (*plan.Summary, []job.Split, [][]string) {
	t.Helper()
	u, err := store.ParseURI("s3://mail/")
	if err != nil {
		t.Fatal(err)
	}
	area := plan.NewDirArea(t.TempDir())
	defer area.Close()
	var all []job.Split
	var keys [][]string
	sum, err := plan.Build(t.Context(), []plan.Input{{URI: u, Bucket: many{n: 1000}}}, area, &o, func(s job.Split) error {
		objects, err := plan.Open(area).Split(t.Context(), s)
		var ks []string
		for _, o := range objects {
			ks = append(ks, string(o.Key))
		}
		all, keys = append(all, s), append(keys, ks)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if listed := slices.Concat(keys...); len(listed) != 1000 || len(slices.Compact(slices.Sorted(slices.Values(listed)))) != 1000 {
		t.Errorf("%d objects of 1000", len(listed))
	}
	for i, ks := range keys {
		if !slices.IsSorted(ks) {
			t.Errorf("split %d is not in order: %q", i, ks)
		}
	}
	return sum, all, keys
}

// onThree puts each object on three of a number of nodes.
func onThree(of uint32) locate {
	return func(key string) ([]string, error) {
		h := crc32.ChecksumIEEE([]byte(key))
		a, b := h%of, h/of%(of-1)
		return []string{fmt.Sprint("n", a), fmt.Sprint("n", (a+1+b)%of), fmt.Sprint("n", (a+1+(b+1)%(of-1))%of)}, nil
	}
}

// Where all objects lie on the same nodes, or nobody knows where, splits are the same; they are shared evenly.
func TestNodes(t *testing.T) {
	none, plain, _ := splits(t, plan.Options{})
	if none.Nodes != nil || plain[0].Nodes != nil {
		t.Errorf("without a locator: nodes %+v", none.Nodes)
	}
	one, _, _ := splits(t, plan.Options{Locators: []plan.Locator{locate(func(string) ([]string, error) { return []string{"a"}, nil })}})
	if one.Digest != none.Digest {
		t.Error("one node changes the plan")
	}
	sum, all, keys := splits(t, plan.Options{Locators: []plan.Locator{locate(func(string) ([]string, error) { return []string{"c", "a", "b"}, nil })}})
	for i, s := range all {
		if len(s.Nodes) != 3 || s.Nodes[0] != []string{"c", "a", "b"}[i%3] {
			t.Errorf("split %d: nodes %q", i, s.Nodes)
		}
	}
	if !slices.IsSorted(slices.Concat(keys...)) {
		t.Error("splits do not follow one another")
	}
	if n := sum.Nodes; len(n) != 3 || n[2].Splits-n[0].Splits > 1 || n[0].Bytes+n[1].Bytes+n[2].Bytes != sum.Bytes {
		t.Errorf("nodes %+v of %d splits", n, sum.Splits)
	}
}

// All of a split lies on each of its nodes, each of which gets its share, and the plan is the same each time.
func TestSplitsByNode(t *testing.T) {
	where := onThree(7)
	sum, all, keys := splits(t, plan.Options{Locators: []plan.Locator{where}})
	for i, s := range all {
		if len(s.Nodes) == 0 {
			t.Errorf("split %d of %d objects has no node", i, s.Objects)
		}
		for _, key := range keys[i] {
			held, _ := where(key)
			for _, n := range s.Nodes {
				if !slices.Contains(held, n) {
					t.Errorf("split %d: %s lies on %q, not on %s", i, key, held, n)
				}
			}
		}
	}
	if len(sum.Nodes) != 7 || len(all) > 7*4 {
		t.Errorf("%d splits on %d nodes", len(all), len(sum.Nodes))
	}
	for _, n := range sum.Nodes {
		if share := sum.Bytes / 7; n.Bytes < share*3/4 || n.Bytes > share*5/4 {
			t.Errorf("%s has %d bytes, a fair share is %d", n.Node, n.Bytes, share)
		}
	}
	again, _, _ := splits(t, plan.Options{Locators: []plan.Locator{where}})
	if again.Digest != sum.Digest {
		t.Error("the same objects on the same nodes give another plan")
	}
}

// Splits that are not full are closed when they take too much memory together, the largest first.
func TestRoomForSplits(t *testing.T) {
	where := []plan.Locator{locate(func(key string) ([]string, error) {
		if h := crc32.ChecksumIEEE([]byte(key)) % 100; h < 50 {
			return []string{fmt.Sprint("n", h)}, nil
		}
		return []string{"most"}, nil
	})}
	_, wide, _ := splits(t, plan.Options{Locators: where})
	_, narrow, _ := splits(t, plan.Options{Locators: where, Memory: 3 << 10})
	for _, s := range wide {
		if s.Nodes[0] != "most" {
			break
		}
		if s.Objects != 64 {
			t.Errorf("with room, %s is closed with %d objects", s.Task, s.Objects)
		}
	}
	if first := narrow[0]; first.Nodes[0] != "most" || first.Objects >= 64 {
		t.Errorf("without room, the first to be closed is of %q, %d objects", first.Nodes, first.Objects)
	}
	if len(narrow) <= len(wide) {
		t.Errorf("%d splits without room, %d with it", len(narrow), len(wide))
	}
}

// Where order matters, splits are those of one node; they prefer the nodes that hold most of them.
func TestOrdered(t *testing.T) {
	none, _, _ := splits(t, plan.Options{Ordered: true})
	sum, all, _ := splits(t, plan.Options{Ordered: true, Locators: []plan.Locator{locate(func(string) ([]string, error) { return []string{"c", "a", "b"}, nil })}})
	if sum.Digest != none.Digest {
		t.Error("a locator changes the plan")
	}
	for i, s := range all {
		if len(s.Nodes) != 3 || s.Nodes[0] != string(rune('a'+i%3)) {
			t.Errorf("split %d: nodes %q", i, s.Nodes)
		}
	}
	_, all, _ = splits(t, plan.Options{Ordered: true, Locators: []plan.Locator{locate(func(key string) ([]string, error) {
		switch {
		case key < "000500":
			return []string{"left", "x" + key}, nil
		case strings.HasSuffix(key, "7"):
			return []string{"seldom"}, nil
		}
		return nil, nil
	})}})
	if got := all[0].Nodes; !reflect.DeepEqual(got, []string{"left"}) {
		t.Errorf("first split: nodes %q, want left", got)
	}
	if got := all[len(all)-1].Nodes; got != nil {
		t.Errorf("last split: nodes %q, want none", got)
	}
}

// A locator that fails costs its advice only, and is not asked again.
func TestNodesUnknown(t *testing.T) {
	asked := 0
	sum, all, _ := splits(t, plan.Options{Locators: []plan.Locator{locate(func(string) ([]string, error) {
		asked++
		return nil, errors.New("no ring")
	})}})
	if sum.Unlocated != "no ring" || asked != 1 || all[0].Nodes != nil || sum.Objects != 1000 {
		t.Errorf("got %q, asked %d times, nodes %q", sum.Unlocated, asked, all[0].Nodes)
	}
}
