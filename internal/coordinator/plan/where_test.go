package plan_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
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

func splits(t *testing.T, l plan.Locator) (*plan.Summary, []job.Split) {
	t.Helper()
	u, err := store.ParseURI("s3://mail/")
	if err != nil {
		t.Fatal(err)
	}
	area := plan.NewDirArea(t.TempDir())
	defer area.Close()
	var all []job.Split
	sum, err := plan.Build(t.Context(), []plan.Input{{URI: u, Bucket: many{n: 1000}}}, area, &plan.Options{Locators: []plan.Locator{l}}, func(s job.Split) error {
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum, all
}

// A split prefers the nodes that hold most of it; nodes that hold all of all splits share them evenly.
func TestNodes(t *testing.T) {
	none, plain := splits(t, nil)
	if none.Nodes != nil || plain[0].Nodes != nil {
		t.Errorf("without a locator: nodes %+v", none.Nodes)
	}
	sum, all := splits(t, locate(func(string) ([]string, error) { return []string{"c", "a", "b"}, nil }))
	if sum.Digest != none.Digest {
		t.Error("a locator changes the plan's digest")
	}
	for i, s := range all {
		if len(s.Nodes) != 3 || s.Nodes[0] != string(rune('a'+i%3)) {
			t.Errorf("split %d: nodes %q", i, s.Nodes)
		}
	}
	if n := sum.Nodes; len(n) != 3 || n[0].Node != "a" || n[0].Splits-n[2].Splits > 1 || n[0].Bytes+n[1].Bytes+n[2].Bytes != sum.Bytes {
		t.Errorf("nodes %+v of %d splits", n, sum.Splits)
	}
	_, all = splits(t, locate(func(key string) ([]string, error) {
		switch {
		case key < "000500":
			return []string{"left", "x" + key}, nil
		case strings.HasSuffix(key, "7"):
			return []string{"seldom"}, nil
		}
		return nil, nil
	}))
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
	sum, all := splits(t, locate(func(string) ([]string, error) {
		asked++
		return nil, errors.New("no ring")
	}))
	if sum.Unlocated != "no ring" || asked != 1 || all[0].Nodes != nil || sum.Objects != 1000 {
		t.Errorf("got %q, asked %d times, nodes %q", sum.Unlocated, asked, all[0].Nodes)
	}
}
