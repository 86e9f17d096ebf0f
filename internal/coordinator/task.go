package coordinator

import (
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/placement"
)

// A state of a task. It moves forward, with two ways back:
//
//	waiting → leased → committed
//	   ↑________|__________|        the attempt failed; the node that kept the runs is gone
type state byte

const (
	waiting state = iota
	leased
	committed
)

type task struct {
	id     job.TaskID
	split  job.Split // of a map task
	part   int       // of a reduce task
	state  state
	since  time.Time // it waits for a slot
	try    int       // attempts begun
	node   string    // of the attempt leased or committed
	slot   int       // of that node
	result Result    // of the committed attempt
	shown  Run       // of a map task: what reducers were last told to merge; zero: nothing yet

	// Of a leased reduce attempt.
	order    int    // of its lease, among all
	complete bool   // it was told all runs
	follows  Ticket // its question for more, which waits; 0: none does
	next     int    // of that

	beaten   []int          // attempts that were done after another had committed
	failures int            // attempts that failed or whose runners died
	refusals int            // attempts that runners said cannot succeed
	deaths   map[int]int    // by object: runners that died while it was in flight
	skip     map[int]string // objects that are failed already, with the reason
	running  Running        // progress of the leased attempt
}

// opening is what opening an object costs, in bytes read instead.
const opening = 64 << 10

func (t *task) attempt() job.AttemptID { return job.AttemptID{Task: t.id, Try: t.try} }

func (t *task) place() placement.Task {
	return placement.Task{ID: t.id, Nodes: t.split.Nodes, Weight: t.split.Bytes + int64(t.split.Objects)*opening}
}

// blame counts a failure of t's attempt and reports whether the task may be tried again.
func (t *task) blame(f *Failure) bool {
	switch {
	case f.Fault == FaultStore, f.Fault == FaultRun:
		return true
	case f.Fault == FaultAttempt:
		t.refusals++
		return t.refusals < maxRefusals
	case f.Object >= 0 && f.Fault == FaultObject && t.skip[f.Object] == "":
		t.fail(f.Object, f.Reason)
		if len(t.split.Gang) > 0 {
			break // it begins all over again for each such object
		}
		return true
	case f.Object >= 0:
		if t.deaths == nil {
			t.deaths = make(map[int]int)
		}
		t.deaths[f.Object]++
		if t.deaths[f.Object] >= maxDeaths {
			t.fail(f.Object, "in flight when its runner died, four times; the last time: "+f.Reason)
			return true
		}
	}
	t.failures++
	return t.failures < maxFailures
}

func (t *task) fail(object int, reason string) {
	if t.skip == nil {
		t.skip = make(map[int]string)
	}
	t.skip[object] = reason
}

const (
	maxDeaths   = 4  // of runners with one object in flight, before that object is blamed
	maxRefusals = 2  // of attempts of one task by their runners, before the job fails
	maxFailures = 16 // of attempts of one task, before the job is
)
