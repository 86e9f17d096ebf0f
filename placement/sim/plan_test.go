package sim

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"testing"

	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A drawn bucket holds the objects of a simulation, and says where they lie.
type drawn struct {
	store.Bucket
	objects []store.Object
	nodes   map[store.Key][]string
}

func (d *drawn) List(context.Context, store.Key, store.Key) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		for _, o := range d.objects {
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (*drawn) Open(context.Context, store.Key, string, int64, int64) (io.ReadCloser, error) {
	return nil, store.ErrNotExist // there is no manifest
}

func (d *drawn) Locate(_ context.Context, keys []store.Key, nodes [][]string) error {
	for i, k := range keys {
		nodes[i] = d.nodes[k]
	}
	return nil
}

// The splits of a simulation are those that package plan makes of the same objects.
func TestPlannedAsByPlan(t *testing.T) {
	for _, sets := range []bool{false, true} {
		o := Standard()
		o.Nodes, o.Zones, o.Objects, o.Sets = 30, 5, 150_000, sets
		d := &drawn{nodes: map[store.Key][]string{}}
		var names []string
		for i := range o.Nodes {
			names = append(names, fmt.Sprintf("node-%05d", i))
		}
		for on, size := range objects(&o) {
			key := store.Key(fmt.Sprintf("%08d.eml", len(d.objects)))
			d.objects = append(d.objects, store.Object{Key: key, Size: size})
			for _, n := range on {
				d.nodes[key] = append(d.nodes[key], names[n])
			}
		}
		var got, want []job.Split
		planned(&o, names, func(s job.Split) { got = append(got, s) })
		area := plan.NewDirArea(t.TempDir())
		_, err := plan.Build(t.Context(), []plan.Input{{URI: store.URI{Scheme: "mem", Bucket: "mail"}, Bucket: d}}, area,
			&plan.Options{Locators: []plan.Locator{d}}, func(s job.Split) error {
				s.Shard, s.Offset, s.Length = "plan-00000", 0, 0
				want = append(want, s)
				return nil
			})
		if err != nil {
			t.Fatal(err)
		}
		if err := area.Close(); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Errorf("%d splits, want %d", len(got), len(want))
		}
		for i := range min(len(got), len(want)) {
			slices.Sort(got[i].Nodes[1:])
			slices.Sort(want[i].Nodes[1:])
			if fmt.Sprint(got[i]) != fmt.Sprint(want[i]) {
				t.Fatalf("split %d is %v, want %v", i, got[i], want[i])
			}
		}
	}
}
