package sim

import "math/rand/v2"

// replicas is how many nodes hold an object.
const replicas = 3

// Holders are nodes that hold the same objects, by number.
type holders [replicas]int32

// A ring says where objects lie: each belongs to a partition.
type ring []holders

// perNode is how many partitions of a ring a node has.
const perNode = 300

// zone returns that of a node.
func (o *Options) zone(node int32) int { return int(node) % o.Zones }

// newRing deals partitions to nodes, to each about as many, the replicas of each to different zones.
func newRing(r *rand.Rand, o *Options, nodes []int32) ring {
	decks := make([]deck, o.Zones)
	for _, n := range nodes {
		z := o.zone(n)
		decks[z].nodes = append(decks[z].nodes, n)
	}
	count := max(len(nodes)*perNode/replicas, 1)
	if o.Sets {
		count = len(nodes) / replicas
	}
	rg := make(ring, count)
	for p := range rg {
		// The zones of a partition follow one another, so that all zones have as many: they begin at each in turn.
		for i := range replicas {
			rg[p][i] = decks[(p*replicas+i)%o.Zones].deal(r)
		}
	}
	return rg
}

// A deck of nodes is dealt out, and shuffled when it is at its end.
type deck struct {
	nodes []int32
	next  int
}

func (d *deck) deal(r *rand.Rand) int32 {
	if d.next == 0 {
		r.Shuffle(len(d.nodes), func(i, j int) { d.nodes[i], d.nodes[j] = d.nodes[j], d.nodes[i] })
	}
	n := d.nodes[d.next]
	d.next = (d.next + 1) % len(d.nodes)
	return n
}
