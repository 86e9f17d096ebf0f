package coordinator

import (
	"time"

	"github.com/zeebo/xxh3"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A Sender says who speaks. The coordinator refuses messages of another job, of an epoch that is not its own, and of an
// incarnation of a node that it has seen replaced.
type Sender struct {
	Job         string `json:"job"`
	Epoch       uint64 `json:"epoch"`
	Node        string `json:"node"`
	Incarnation uint64 `json:"incarnation"` // larger after each start of the agent
}

// A Want is a free slot that asks for work. The coordinator answers with a Lease; it may keep the question for a while. A slot that has
// a lease by what the coordinator knows, and asks all the same, has lost it: its task goes to whoever asks first.
type Want struct {
	Sender
	Slot int `json:"slot"`
}

// A Lease answers a Want: a task to try, or that there is none now (Idle) or ever (Over).
type Lease struct {
	Idle    bool          `json:"idle,omitempty"`
	Over    bool          `json:"over,omitempty"`
	Attempt job.AttemptID `json:"attempt,omitzero"`
	Queued  time.Duration `json:"queued_ns,omitempty"` // how long the task waited for a slot, this time

	// A map attempt.
	Split      *job.Split     `json:"split,omitempty"`
	Partitions int            `json:"partitions,omitempty"` // 0: the output is text
	Cuts       [][]byte       `json:"cuts,omitempty"`       // the first key of each partition but the first; nil: keys are hashed
	Skip       map[int]string `json:"skip,omitempty"`       // objects of the split that are failed already, with the reason

	// A reduce attempt. It is given the runs that are there; unless these are all, it is to follow the mappers.
	Partition int `json:"partition,omitempty"`
	Arrivals
}

// A Follow is a reduce attempt that asks for runs that it was not told of. The coordinator answers with Arrivals; it may keep the
// question until there are some.
type Follow struct {
	Sender
	Attempt job.AttemptID `json:"attempt"`
	Next    int           `json:"next"`              // of the last Arrivals
	Missing []Missing     `json:"missing,omitempty"` // runs that the attempt was told of and still cannot have
}

// Arrivals are sealed runs for a reduce attempt to merge. A map that had to be done again comes again: both runs of it have the same
// Vector, and either will do.
type Arrivals struct {
	Runs []Run `json:"runs,omitempty"`
	// Addresses are where the runs of nodes can be fetched, by node. Whoever knows them adds them to what a [Coordinator] answers.
	Addresses map[string]string `json:"addresses,omitempty"`
	Next      int               `json:"next,omitempty"` // what to ask for those that come after
	All       bool              `json:"all,omitempty"`  // none will: every map task has a run among these and those before
	Gone      bool              `json:"gone,omitempty"` // the attempt is not wanted any more: it counts as neither done nor failed
}

// Merged returns the Vector of a reduce attempt: a hash of those of the runs that it merged, by map task.
func Merged(vectors map[job.TaskID]uint64) (sum uint64) {
	for t, v := range vectors {
		sum += merged(t, v)
	}
	return sum
}

func merged(t job.TaskID, vector uint64) uint64 { return xxh3.HashStringSeed(string(t), vector) }

// maxRuns bounds the runs of one answer, which has to fit into a message. Whoever asks is told the others next.
const maxRuns = 2048

// A Run names the sealed runs of one committed map attempt.
type Run struct {
	Attempt job.AttemptID `json:"attempt"`
	Node    string        `json:"node"`
	Vector  uint64        `json:"vector"` // hash of the table of its sections
	// Incarnation is that of the agent that keeps them: one that was started again has nothing.
	Incarnation uint64 `json:"incarnation"`
}

// A Commit reports an attempt that succeeded and asks for it to count.
type Commit struct {
	Sender
	Attempt job.AttemptID `json:"attempt"`
	Result  Result        `json:"result"`
}

// A Result is what a committed attempt adds to its job.
type Result struct {
	Partition *job.Partition `json:"partition,omitempty"` // what a reduce attempt was given

	Counters job.Counters       `json:"counters"`
	Vector   uint64             `json:"vector,omitempty"`  // of a map attempt with reducers, or what a reduce attempt merged
	Shuffle  int64              `json:"shuffle,omitempty"` // bytes of its sealed runs
	Part     *store.Pending     `json:"part,omitempty"`    // output, if it goes to a store and is not empty
	Failed   *store.Pending     `json:"failed,omitempty"`  // list of failed objects, likewise
	Names    []job.FailedObject `json:"names,omitempty"`   // the first MaxNames of them
	Members  []Made             `json:"members,omitempty"` // in place of Part and Failed, what the members of groups have made
}

// A Made is what one member of a group has made.
type Made struct {
	Part    *store.Pending `json:"part,omitempty"` // output
	Records int64          `json:"records,omitempty"`
	Failed  *store.Pending `json:"failed,omitempty"` // list of failed objects
	Listed  int64          `json:"listed,omitempty"` // in it
}

// MaxGang bounds the splits of which one task is made: a lease names them all.
const MaxGang = 4096

// MaxNames bounds the failed objects named in one Commit.
const MaxNames = 100

// A Failure reports an attempt that did not succeed.
type Failure struct {
	Sender
	Attempt job.AttemptID `json:"attempt"`
	Fault   Fault         `json:"fault"`
	Object  int           `json:"object"`        // index in its split of the object in flight; -1 if none was
	URI     string        `json:"uri,omitempty"` // of that object
	Run     job.AttemptID `json:"run,omitzero"`  // of FaultRun
	Reason  string        `json:"reason"`
}

// A Fault says who is to blame for a failed attempt.
type Fault string

// Faults.
const (
	// FaultObject: the guest brought its runner down with that object: the object fails, the task goes on without it.
	FaultObject Fault = "object"
	// FaultTask: the attempt failed or its runner died; counts against the task.
	FaultTask Fault = "task"
	// FaultAttempt: the runner is well and says that the attempt cannot succeed in it. The same is likely elsewhere.
	FaultAttempt Fault = "attempt"
	// FaultStore: the store was busy or out of reach; consumes no attempt.
	FaultStore Fault = "store"
	// FaultRun: the run of a map attempt, which Run names, cannot be read as it was written: that task is mapped again. It consumes no
	// attempt of the reducer.
	FaultRun Fault = "run"
	// FaultJob: no attempt can succeed (the program does not load, a layer is missing): the job ends.
	FaultJob Fault = "job"
)

// A Verdict answers a Commit or a Failure.
type Verdict struct {
	Accepted bool   `json:"accepted"`
	Reason   string `json:"reason,omitempty"` // why not
}

// A Beat reports how far running attempts are. It is lost without harm.
type Beat struct {
	Sender
	Running []Running `json:"running"`
}

// A Running is one attempt under way.
type Running struct {
	Attempt job.AttemptID `json:"attempt"`
	Objects int64         `json:"objects"`
	Bytes   int64         `json:"bytes"`
	Records int64         `json:"records"`
	Failed  int64         `json:"failed"`
	// Example is one of the failed objects, if there is any.
	Example *job.FailedObject `json:"example,omitempty"`
}
