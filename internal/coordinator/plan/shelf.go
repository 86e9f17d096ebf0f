package plan

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/millrace/millrace/store"
)

// memory is how many bytes the open splits of a plan may take together. When they take more, the largest is closed.
const memory = 256 << 20

// lookUp is how many objects a Locator is asked for at once.
const lookUp = 1000

// opening is what opening an object costs, in bytes read instead.
const opening = 4 << 10

// A shelf is where the objects of a node gather: what was planned for that node so far, and its open split. The node "" has those that lie nowhere in
// particular, and those whose order matters.
type shelf struct {
	node  string
	cut   cut
	load  int64
	enc   *encoder // nil: no split is open
	since int64    // objects of the plan before the first of the open split

	at    int              // of the shelf in shelves.open
	all   []string         // nodes that hold all of the open split
	holds map[string]int64 // what each node holds of it, if order matters
	whole int64            // of that
}

// A shelves is all shelves of a plan.
type shelves struct {
	locators []Locator // of each input; nil: where objects lie does not matter
	ordered  bool      // there is one shelf, and its objects stay in order
	most     int64     // objects of a split; 0: MaxObjects
	room     int64     // bytes for the open splits

	byNode map[string]*shelf
	open   []*shelf
	used   int64
	spare  *encoder

	nodes map[string]*Node
	err   error // of a locator, none of which is asked after it

	waiting []waiting
	keys    []store.Key
	found   [][]string
}

// A waiting is an object of which it is not yet known where it lies.
type waiting struct {
	input  int
	object store.Object
}

func newShelves(inputs int, o *Options) *shelves {
	s := &shelves{
		ordered: o.Ordered, most: int64(o.Split), room: cmp.Or(o.Memory, memory),
		byNode: make(map[string]*shelf), nodes: make(map[string]*Node),
	}
	if slices.ContainsFunc(o.Locators, func(l Locator) bool { return l != nil }) {
		s.locators = make([]Locator, inputs)
		copy(s.locators, o.Locators)
	}
	return s
}

// located reports whether somebody knows where the objects of an input lie.
func (s *shelves) located(input int) bool {
	return s.locators != nil && s.locators[input] != nil && s.err == nil
}

// locate finds out where the waiting objects lie, which are of one input. It returns for each the nodes that hold it.
func (s *shelves) locate(ctx context.Context) [][]string {
	s.keys, s.found = s.keys[:0], s.found[:0]
	for i := range s.waiting {
		s.keys, s.found = append(s.keys, s.waiting[i].object.Key), append(s.found, nil)
	}
	if s.err == nil {
		s.err = s.locators[s.waiting[0].input].Locate(ctx, s.keys, s.found)
	}
	if s.err != nil {
		clear(s.found)
	}
	return s.found
}

// shelf returns the shelf of a node.
func (s *shelves) shelf(node string) *shelf {
	sh := s.byNode[node]
	if sh == nil {
		sh = &shelf{node: node, cut: cut{most: s.most}}
		s.byNode[node] = sh
	}
	return sh
}

// choose returns the shelf for an object that lies on some nodes: one with an open split, which it helps to fill, and of several that whose node has least
// to read; the first of equals.
func (s *shelves) choose(nodes []string) *shelf {
	if s.ordered || len(nodes) == 0 {
		return s.shelf("")
	}
	var best *shelf
	for _, n := range nodes {
		sh := s.shelf(n)
		if best == nil || sh.enc != nil && best.enc == nil || (sh.enc != nil) == (best.enc != nil) && sh.load < best.load {
			best = sh
		}
	}
	return best
}

// add puts an object, the n-th of the plan, on a shelf.
func (s *shelves) add(sh *shelf, n int64, input int, o *store.Object, nodes []string) {
	switch {
	case sh.enc == nil:
		sh.enc, sh.since, sh.at = cmp.Or(s.spare, new(encoder)), n, len(s.open)
		s.spare = nil
		s.open = append(s.open, sh)
		s.used += sh.enc.size()
		if sh.node != "" {
			sh.all = append(sh.all[:0], sh.node)
			for _, n := range nodes {
				if n != sh.node {
					sh.all = append(sh.all, n)
				}
			}
		}
	case sh.node != "":
		sh.all = slices.DeleteFunc(sh.all, func(n string) bool { return !slices.Contains(nodes, n) })
	}
	if s.ordered && s.locators != nil {
		sh.hold(o, nodes)
	}
	s.used -= sh.enc.size()
	sh.enc.add(input, o)
	s.used += sh.enc.size()
	sh.cut.add(o.Size)
	sh.load += o.Size + opening
}

func (sh *shelf) hold(o *store.Object, nodes []string) {
	if sh.holds == nil {
		sh.holds = make(map[string]int64)
	}
	sh.whole += o.Size + opening
	for _, n := range nodes {
		sh.holds[n] += o.Size + opening
	}
}

// crowded returns the shelf whose open split is to be closed to make room, nil if there is room.
func (s *shelves) crowded() *shelf {
	if s.used <= s.room {
		return nil
	}
	return slices.MaxFunc(s.open, func(a, b *shelf) int { return cmp.Compare(a.enc.size(), b.enc.size()) })
}

// oldest returns the shelf whose open split was opened first.
func (s *shelves) oldest() *shelf {
	return slices.MinFunc(s.open, func(a, b *shelf) int { return cmp.Compare(a.since, b.since) })
}

// close ends a shelf's open split, which was sealed, and returns the nodes that it prefers: those that hold all of it, the one that it was gathered for first;
// or, where order matters, those that hold at least half of it, the ones with most first, and of equal ones those that fewer splits prefer.
func (s *shelves) close(sh *shelf) (nodes []string) {
	s.used -= sh.enc.size()
	if s.locators == nil {
		s.spare = sh.enc // of many, it would be larger than what it holds
	}
	sh.enc = nil
	last := s.open[len(s.open)-1]
	s.open[sh.at], last.at = last, sh.at
	s.open = s.open[:len(s.open)-1]
	if sh.node != "" {
		nodes = slices.Clone(sh.all)
	} else {
		nodes = s.best(sh)
	}
	if len(nodes) > 0 {
		n := s.nodes[nodes[0]]
		if n == nil {
			n = &Node{Node: nodes[0]}
			s.nodes[nodes[0]] = n
		}
		n.Splits++
		n.Bytes += sh.cut.openBytes
	}
	sh.cut.close()
	return nodes
}

func (s *shelves) best(sh *shelf) (nodes []string) {
	for n, weight := range sh.holds {
		if 2*weight >= sh.whole {
			nodes = append(nodes, n)
		}
	}
	preferred := func(n string) int {
		if s.nodes[n] == nil {
			return 0
		}
		return s.nodes[n].Splits
	}
	slices.SortFunc(nodes, func(a, b string) int {
		return cmp.Or(cmp.Compare(sh.holds[b], sh.holds[a]), cmp.Compare(preferred(a), preferred(b)), cmp.Compare(a, b))
	})
	clear(sh.holds)
	sh.whole = 0
	return nodes
}

// summary returns what lies on each node, and why that is not known.
func (s *shelves) summary() (nodes []Node, unlocated string) {
	for _, name := range slices.Sorted(maps.Keys(s.nodes)) {
		nodes = append(nodes, *s.nodes[name])
	}
	if s.err != nil {
		unlocated = s.err.Error()
	}
	return nodes, unlocated
}
