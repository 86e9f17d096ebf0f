package plan

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/millrace/millrace/store"
)

// A where finds the nodes of splits. A nil one finds none.
type where struct {
	locators []Locator // of each input
	groups   []group   // of the open split
	nodes    map[string]*Node
	err      error // of a locator, none of which is asked after it
}

// A group is consecutive objects of one input in a split.
type group struct {
	input int
	keys  []store.Key
	sizes []int64
}

// newWhere returns a where for a number of inputs, the first of which have these locators.
func newWhere(inputs int, locators []Locator) *where {
	if !slices.ContainsFunc(locators, func(l Locator) bool { return l != nil }) {
		return nil
	}
	w := &where{locators: make([]Locator, inputs), nodes: map[string]*Node{}}
	copy(w.locators, locators)
	return w
}

// add takes an object into the open split.
func (w *where) add(input int, o *store.Object) {
	if w == nil || w.locators[input] == nil {
		return
	}
	if n := len(w.groups); n == 0 || w.groups[n-1].input != input {
		w.groups = append(w.groups, group{input: input})
	}
	g := &w.groups[len(w.groups)-1]
	g.keys = append(g.keys, o.Key)
	g.sizes = append(g.sizes, o.Size)
}

// flush ends the open split, which has that many bytes, and returns the nodes that hold at least half of it: those with most of it first, and of
// equal ones those that fewer splits prefer.
func (w *where) flush(ctx context.Context, bytes int64) []string {
	if w == nil {
		return nil
	}
	held, all := map[string]int64{}, int64(0)
	for _, g := range w.groups {
		nodes := make([][]string, len(g.keys))
		if w.err == nil {
			w.err = w.locators[g.input].Locate(ctx, g.keys, nodes)
		}
		if w.err != nil {
			break
		}
		for i, size := range g.sizes {
			weight := size + 1 // that of an empty object, and of opening any, is not nothing
			all += weight
			for _, n := range nodes[i] {
				held[n] += weight
			}
		}
	}
	w.groups = w.groups[:0]
	if w.err != nil {
		return nil
	}
	var best []string
	for n, weight := range held {
		if 2*weight >= all {
			best = append(best, n)
		}
	}
	preferred := func(n string) int {
		if w.nodes[n] == nil {
			return 0
		}
		return w.nodes[n].Splits
	}
	slices.SortFunc(best, func(a, b string) int {
		return cmp.Or(cmp.Compare(held[b], held[a]), cmp.Compare(preferred(a), preferred(b)), cmp.Compare(a, b))
	})
	if len(best) > 0 {
		n := w.nodes[best[0]]
		if n == nil {
			n = &Node{Node: best[0]}
			w.nodes[best[0]] = n
		}
		n.Splits++
		n.Bytes += bytes
	}
	return best
}

// summary returns what lies on each node, and why that is not known.
func (w *where) summary() (nodes []Node, unlocated string) {
	if w == nil {
		return nil, ""
	}
	for _, name := range slices.Sorted(maps.Keys(w.nodes)) {
		nodes = append(nodes, *w.nodes[name])
	}
	if w.err != nil {
		unlocated = w.err.Error()
	}
	return nodes, unlocated
}
