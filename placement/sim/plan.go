package sim

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/job"
)

// A planner makes splits as package plan does: an object joins the open split of that of its nodes which has least to read so far, a split holds no more than an
// eighth of what its node had before, and when the open splits take too much memory together the largest is closed.
type planner struct {
	names []string
	open  []open
	used  int // objects in open splits
	next  job.TaskID
	sink  func(job.Split)
}

// An open split gathers on a node.
type open struct {
	objects, bytes int64 // of the node, before it
	count, size    int64 // its own
	load           int64
	all            holders // nodes that hold all of it; -1 for those that do not
}

// What package plan keeps to.
const (
	memory       = 256 << 20
	perOpen      = 90 // bytes that an object of a mail archive takes: its key, its ETag and some numbers
	leastObjects = 64
	leastBytes   = 1 << 20
	growth       = 8
	opening      = 4 << 10
)

func (s *open) most() int64 { return min(max(s.objects/growth, leastObjects), plan.MaxObjects) }

func (s *open) mostBytes() int64 { return min(max(s.bytes/growth, leastBytes), plan.MaxBytes) }

// add takes an object into a split.
func (p *planner) add(on holders, size int64) {
	node := on[0]
	for _, n := range on[1:] {
		a, b := &p.open[n], &p.open[node]
		if a.count > 0 && b.count == 0 || (a.count > 0) == (b.count > 0) && a.load < b.load {
			node = n
		}
	}
	s := &p.open[node]
	if s.count > 0 && (s.count >= s.most() || s.size+size > s.mostBytes()) {
		p.close(node)
	}
	if s.count == 0 {
		s.all = on
	} else {
		for i, n := range s.all {
			if n >= 0 && !slices.Contains(on[:], n) {
				s.all[i] = -1
			}
		}
	}
	s.count++
	s.size += size
	s.load += size + opening
	p.used++
	if s.count >= s.most() || s.size >= s.mostBytes() {
		p.close(node)
	} else if p.used > memory/perOpen {
		largest := int32(0)
		for n := range p.open {
			if p.open[n].count > p.open[largest].count {
				largest = int32(n)
			}
		}
		p.close(largest)
	}
}

// close passes on the open split of a node.
func (p *planner) close(node int32) {
	s := &p.open[node]
	nodes := []string{p.names[node]}
	for _, n := range s.all {
		if n >= 0 && n != node {
			nodes = append(nodes, p.names[n])
		}
	}
	p.sink(job.Split{Task: p.next, Shard: "plan-00000", Objects: int(s.count), Bytes: s.size, Nodes: nodes})
	p.next = p.next.Next()
	p.used -= int(s.count)
	s.objects, s.bytes = s.objects+s.count, s.bytes+s.size
	s.count, s.size = 0, 0
}

// planned makes the splits of all objects, and passes them to sink in the order of the plan.
func planned(r *rand.Rand, o *Options, names []string, sink func(job.Split)) {
	all := make([]int32, o.Nodes)
	for i := range all {
		all[i] = int32(i)
	}
	whole := newRing(r, o, all)
	// The hot nodes are in all zones.
	hot := newRing(r, o, all[:max(int(float64(o.Nodes)*o.HotNodes), min(o.Zones, o.Nodes))])
	sizes := sizesOfMail(r)
	p := &planner{names: names, open: make([]open, o.Nodes), next: job.MapTask(0), sink: sink}
	threshold := uint64(o.HotObjects * (1 << 32))
	for range o.Objects {
		x := r.Uint64()
		rg := whole
		if x&(1<<32-1) < threshold {
			rg = hot
		}
		p.add(rg[(x>>32)*uint64(len(rg))>>32], int64(sizes[r.Uint32()%uint32(len(sizes))]))
	}
	for n := range p.open {
		if p.open[n].count > 0 {
			p.close(int32(n))
		}
	}
}

// sizesOfMail draws sizes of mails: of twenty, nineteen have some 3.5 KB, and one has an attachment of some 100 KB.
func sizesOfMail(r *rand.Rand) []int32 {
	sizes := make([]int32, 1<<16)
	for i := range sizes {
		median, spread := 3000.0, 0.6
		if r.IntN(20) == 0 {
			median, spread = 60_000.0, 1
		}
		sizes[i] = int32(min(median*math.Exp(spread*r.NormFloat64()), 32<<20))
	}
	return sizes
}
