package coordinator

import (
	"container/list"
	"strconv"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/placement"
)

// A state of a task. It moves forward, with two ways back:
//
//	waiting → leased → committed
//	   ↑________|__________|        no attempt is under way any more; the node that kept the runs is gone
type state byte

const (
	waiting state = iota
	leased
	committed
)

// A task is kept small: a job may have a million of them.
type task struct {
	id    job.TaskID
	split *job.Split // of a map task
	part  int        // of a reduce task
	state state
	since time.Time // it waits for a slot

	try   int           // of the last attempt begun
	live  []*attempt    // under way, the oldest first: while it is leased one, and perhaps a backup
	place *list.Element // among those that are leased

	// Of the attempt that counts, while there is one.
	counts int // its number
	host   *host
	result *Result
	away   bool // its node was not heard of since a coordinator took over

	shown *Run // of a map task: what reducers were last told to merge; nil: nothing yet
	hurt  *hurt
}

// A hurt is what went wrong with a task. Most have none.
type hurt struct {
	beaten   []int          // attempts that were done after another had committed
	failures map[*host]int  // attempts that failed or whose runners died, by node
	refusals int            // attempts that runners said cannot succeed
	deaths   map[int]int    // by object: runners that died while it was in flight
	skip     map[int]string // objects that are failed already, with the reason
	told     bool           // the nodes of failures are suspected
}

// attempt returns the attempt that counts.
func (t *task) attempt() job.AttemptID { return job.AttemptID{Task: t.id, Try: t.counts} }

// opening is what opening an object costs, in bytes read instead.
const opening = 64 << 10

// wants is a map task as placement knows it.
func (t *task) wants() placement.Task {
	return placement.Task{ID: t.id, Nodes: t.split.Nodes, Weight: t.split.Bytes + int64(t.split.Objects)*opening}
}

// run names what a committed map task has made.
func (t *task) run() Run { return Run{t.attempt(), t.host.name, t.result.Vector, t.host.incarnation} }

// skip returns the objects that are failed already.
func (t *task) skip() map[int]string {
	if t.hurt == nil {
		return nil
	}
	return t.hurt.skip
}

// pain returns what went wrong with t, to add to it.
func (t *task) pain() *hurt {
	if t.hurt == nil {
		t.hurt = new(hurt)
	}
	return t.hurt
}

// count returns how many attempts failed, but for those on nodes that are quarantined.
func (h *hurt) count() (n int) {
	for on, k := range h.failures {
		if !on.quarantined() {
			n += k
		}
	}
	return n
}

// failed counts a failure on a node.
func (h *hurt) failed(on *host) {
	if h.failures == nil {
		h.failures = make(map[*host]int)
	}
	h.failures[on]++
}

// blame counts a failure of an attempt of t, and reports whether the task may be tried again. What a node does that is
// quarantined is not the task's fault.
func (t *task) blame(f *Failure, on *host) bool {
	if f.Fault == FaultStore || f.Fault == FaultRun {
		return true
	}
	h := t.pain()
	switch {
	case f.Fault == FaultAttempt:
		h.failed(on)
		if on.quarantined() {
			return true
		}
		h.refusals++
		return h.refusals < maxRefusals
	case f.Object >= 0 && f.Fault == FaultObject && h.skip[f.Object] == "":
		h.omit(f.Object, f.Reason)
		if t.split != nil && len(t.split.Gang) > 0 {
			break // it begins all over again for each such object
		}
		return true
	case f.Object >= 0 && !on.quarantined():
		if h.deaths == nil {
			h.deaths = make(map[int]int)
		}
		h.deaths[f.Object]++
		if h.deaths[f.Object] >= maxDeaths {
			h.omit(f.Object, "in flight when its runner died, four times; the last time: "+f.Reason)
			return true
		}
	}
	h.failed(on)
	return h.count() < maxFailures
}

func (h *hurt) omit(object int, reason string) {
	if h.skip == nil {
		h.skip = make(map[int]string)
	}
	h.skip[object] = reason
}

const (
	maxDeaths   = 4  // of runners with one object in flight, before that object is blamed
	maxRefusals = 2  // of attempts of one task by their runners, before the job fails
	maxFailures = 16 // of attempts of one task, before the job is
)

// An attempt is one under way.
type attempt struct {
	task    *task
	try     int
	seat    *seat
	began   time.Time
	running Running // as the last beat said

	// Of a reduce.
	spread   bool   // it is one of those that are spread over nodes
	order    int    // of its lease, among all
	complete bool   // it was told all runs
	follows  Ticket // its question for more, which waits; 0: none does
	next     int    // of that
}

func (a *attempt) id() job.AttemptID { return job.AttemptID{Task: a.task.id, Try: a.try} }

// A run is one that was committed. It may be lost since.
type run struct {
	task *task
	try  int
}

// there reports whether the run counts.
func (r run) there() bool { return r.task.state == committed && r.task.counts == r.try && !r.task.away }

// task returns the task of that name, nil if there is none.
func (m *Machine) task(id job.TaskID) *task {
	if len(id) < 3 {
		return nil
	}
	n, err := strconv.Atoi(string(id[2:]))
	of := m.maps
	if id.IsReduce() {
		of = m.reds
	}
	if err != nil || n < 0 || n >= len(of) || of[n].id != id {
		return nil
	}
	return of[n]
}
