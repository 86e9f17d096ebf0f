// Package sim runs jobs on a cluster that is a model, to see how well they are placed. Real are the coordinator's machine and package placement; the nodes,
// what lies on them, the network and time are not: ten thousand nodes and a hundred million objects take half a minute.
package sim

import (
	"cmp"
	"time"
)

// Options say what is simulated. A zero field of those with a default means that.
type Options struct {
	Seed     uint64
	Nodes    int
	Slots    int // of each node
	Zones    int
	Objects  int64
	Patience time.Duration

	// Each object lies on three nodes, in three zones. Unless Sets is true these are others for each partition of a ring; else the nodes are
	// grouped by three, and what lies on one of a group lies on all.
	Sets bool

	Slow float64 // share of the nodes that have half the speed of the others
	Dead float64 // share of the nodes that die; half of them are dead when the job begins, and the others die one after the other until half-time

	// A share of the objects, those of a bucket that is kept on few nodes, lies on that share of the nodes alone.
	HotObjects, HotNodes float64
}

// What things take. An object costs what a disk takes to find it, or a page of text takes to parse.
const (
	perObject  = 10 * time.Millisecond
	rate       = 50e6                 // bytes per second that a slot maps
	farObject  = 2 * time.Millisecond // more for an object that is read over the network
	farRate    = 50e6                 // and for its bytes
	roundTrip  = time.Millisecond     // of a question to the coordinator
	lease      = 15 * time.Second     // from the death of a node until the coordinator knows
	tick       = 100 * time.Millisecond
	beatEvery  = 1500 * time.Millisecond
	keepAsking = time.Second // a want is kept for so long
)

// A Result is how a job went.
type Result struct {
	Options
	Tasks    int
	Largest  int // objects of a task
	Attempts int

	// Attempts that counted, by where they ran: on a node that holds all of the split, in a zone of such a node, elsewhere.
	Local, Near, Far int
	// LocalObjects is the share of objects that were mapped on a node that holds them.
	LocalObjects float64

	Makespan time.Duration
	// Ideal is the time in which all slots, as fast as they are and as long as they live, would do the work if it could be divided at will and lay
	// everywhere; or that of the largest task, if that is more.
	Ideal time.Duration

	Decided time.Duration // CPU time that the machine and placement took for all events
	Events  int
	Peak    uint64 // bytes of the process, which holds the simulator as well
}

// Ratio is how much longer the job took than it had to.
func (r *Result) Ratio() float64 { return float64(r.Makespan) / float64(r.Ideal) }

// Rate is how many tasks were decided per second of CPU time.
func (r *Result) Rate() float64 { return float64(r.Tasks) / r.Decided.Seconds() }

func (o Options) withDefaults() Options {
	o.Nodes, o.Slots = cmp.Or(o.Nodes, 10_000), cmp.Or(o.Slots, 2)
	o.Zones = cmp.Or(o.Zones, 20)
	o.Objects = cmp.Or(o.Objects, 100_000_000)
	return o
}

// Standard is the cluster that is measured: a tenth of the nodes is slow, a fiftieth dies, and a twentieth of the objects lies on a fiftieth of the nodes.
func Standard() Options {
	return Options{Seed: 1, Slow: 0.1, Dead: 0.02, HotObjects: 0.05, HotNodes: 0.02, Patience: 3 * time.Second}.withDefaults()
}
