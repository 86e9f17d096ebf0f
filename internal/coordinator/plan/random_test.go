package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/store"
)

// A spread is a Locator by chance: each object lies on up to three of some nodes. It fails after a number of calls.
type spread struct {
	seed  uint64
	nodes int
	calls int // 0: any number
}

func (s *spread) at(key store.Key) (nodes []string) {
	r := rand.New(rand.NewPCG(s.seed, uint64(len(key))+uint64(key[len(key)-1])*131+uint64(key[len(key)-2])*131*131))
	for range r.IntN(4) {
		if n := fmt.Sprint("n", r.IntN(s.nodes)); !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

func (s *spread) Locate(_ context.Context, keys []store.Key, nodes [][]string) error {
	if s.calls--; s.calls == 0 {
		return errors.New("no more")
	}
	for i, k := range keys {
		nodes[i] = s.at(k)
	}
	return nil
}

// Whatever lies where, each object is in one split, all of which lies on each of its nodes; splits keep to their bounds, and the plan is the same again.
func TestRandomPlans(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("from seed %d", seed)
	for i := range uint64(15) {
		if t.Failed() {
			break
		}
		r := rand.New(rand.NewPCG(seed+i, 1))
		o := &Options{Split: []int{0, 0, 7}[r.IntN(3)], Memory: int64(r.IntN(200 << 10)), Ordered: r.IntN(4) == 0}
		var inputs []Input
		var where []*spread
		var want []string
		for n := range 1 + r.IntN(3) {
			l := &listing{}
			for k := range r.IntN(3000) {
				l.objects = append(l.objects, object(fmt.Sprintf("%d/%05d", n, k), int64(r.ExpFloat64()*float64(r.IntN(1<<20)))))
				want = append(want, fmt.Sprintf("%d:%s", n, l.objects[k].Key))
			}
			inputs = append(inputs, Input{uri(fmt.Sprintf("s3://b/%d/", n)), l})
			s := &spread{seed: seed + i, nodes: 1 + r.IntN(30), calls: r.IntN(4)}
			where = append(where, s)
		}
		locators := func() {
			o.Locators = nil
			for _, s := range where {
				again := *s
				if s.nodes%5 == 0 {
					o.Locators = append(o.Locators, nil)
				} else {
					o.Locators = append(o.Locators, &again)
				}
			}
		}
		locators()
		area := NewDirArea(t.TempDir())
		splits, objects, sum, err := build(t.Context(), area, inputs, o)
		if err := errors.Join(err, area.Close()); err != nil {
			t.Fatalf("seed %d: %v", seed+i, err)
		}
		var got []string
		at := 0
		for _, s := range splits {
			of := objects[at : at+s.Objects]
			at += s.Objects
			sorted := slices.IsSortedFunc(of, func(a, b Object) int { return cmp.Or(cmp.Compare(a.Input, b.Input), cmp.Compare(a.Key, b.Key)) })
			if !sorted || s.Objects > MaxObjects || o.Split > 0 && s.Objects > o.Split || s.Objects > 1 && s.Bytes > MaxBytes {
				t.Errorf("seed %d: split %+v, in order: %t", seed+i, s, sorted)
			}
			for _, obj := range of {
				got = append(got, fmt.Sprintf("%d:%s", obj.Input, obj.Key))
				for _, n := range s.Nodes {
					if !o.Ordered && !slices.Contains(where[obj.Input].at(obj.Key), n) {
						t.Errorf("seed %d: %s of %s does not lie on %s", seed+i, obj.Key, s.Task, n)
					}
				}
			}
		}
		if !o.Ordered {
			slices.Sort(got)
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("seed %d: %d objects of %d, or in another order", seed+i, len(got), len(want))
		}
		locators()
		area = NewDirArea(t.TempDir())
		_, _, again, err := build(t.Context(), area, inputs, o)
		if err := errors.Join(err, area.Close()); err != nil {
			t.Fatalf("seed %d: %v", seed+i, err)
		}
		if again.Digest != sum.Digest || fmt.Sprint(again.Nodes) != fmt.Sprint(sum.Nodes) {
			t.Errorf("seed %d: the plan is another the second time", seed+i)
		}
	}
}
