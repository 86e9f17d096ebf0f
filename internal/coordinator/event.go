package coordinator

import (
	"encoding/json"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// An Event is something that happened outside the [Machine].
type Event interface{ event() }

// A Ticket names a question that waits for its answer.
type Ticket uint64

// Events.
type (
	// Started: the coordinator has read the job's log, and begins or goes on. It comes before all others.
	Started struct{}
	// Planned: a split is in the plan and may be mapped. They come in the order of the plan.
	Planned struct{ Split job.Split }
	// Cut: keys are partitioned by ranges, with these borders; it comes before the first Planned, or not at all.
	Cut struct{ Keys [][]byte }
	// Sealed: the plan is complete and will not change.
	Sealed struct {
		Digest string
		Listed Listed
	}
	// Asked: a slot wants work; it is answered with a Lease.
	Asked struct {
		Ticket Ticket
		Want   Want
		Now    time.Time
	}
	// Followed: a reduce attempt wants more runs; it is answered with Arrivals.
	Followed struct {
		Ticket Ticket
		Follow Follow
		Now    time.Time
	}
	// Withdrawn: nobody waits for the answer any more.
	Withdrawn struct{ Ticket Ticket }
	// Reported: an attempt succeeded; it is answered with a Verdict.
	Reported struct {
		Ticket Ticket
		Commit Commit
	}
	// Broken: an attempt failed; it is answered with a Verdict.
	Broken struct {
		Ticket  Ticket
		Failure Failure
		Now     time.Time
	}
	// Progressed: attempts under way.
	Progressed struct{ Beat Beat }
	// Lost: a node is gone with all that it kept.
	Lost struct {
		Node        string
		Incarnation uint64 // of the agent that is gone: a later one is not; 0: whichever is there
		Now         time.Time
	}
	// Vacated: a slot is free, whatever it was given.
	Vacated struct {
		Sender Sender
		Slot   int
		Now    time.Time
	}
	// Noted: what membership says of a node: it is there, in a zone, and may ask for work; or it is away, drains, or is to be given none. What it
	// has, it keeps, unless it is Lost.
	Noted struct {
		Node, Zone  string
		Slots       int
		Away        bool
		Incarnation uint64 // of its agent, which is there; 0: not known
		Now         time.Time
	}
	// Ticked: time has passed.
	Ticked struct{ Now time.Time }
	// Stopped: the job is to end, for that cause.
	Stopped struct{ Cause error }
)

func (Started) event()    {}
func (Planned) event()    {}
func (Cut) event()        {}
func (Sealed) event()     {}
func (Asked) event()      {}
func (Followed) event()   {}
func (Withdrawn) event()  {}
func (Reported) event()   {}
func (Broken) event()     {}
func (Progressed) event() {}
func (Lost) event()       {}
func (Vacated) event()    {}
func (Noted) event()      {}
func (Ticked) event()     {}
func (Stopped) event()    {}

// An Effect is something that the [Machine] wants done, in the order given.
type Effect interface{ effect() }

// Effects.
type (
	// Grant answers a Want.
	Grant struct {
		Ticket Ticket
		Lease  Lease
	}
	// Tell answers a Follow.
	Tell struct {
		Ticket   Ticket
		Arrivals Arrivals
	}
	// Judge answers a Commit or a Failure.
	Judge struct {
		Ticket  Ticket
		Verdict Verdict
	}
	// Append adds a record to the job log. Effects after it wait until it is durable.
	Append struct{ Record Record }
	// Discard gives up pending output of an attempt that does not count.
	Discard struct{ Handles []store.Handle }
	// Revoke tells a node that an attempt is not wanted any more: what it made is to go, and its slot may ask for other work. It is lost without harm.
	Revoke struct {
		Node    string
		Attempt job.AttemptID
		Reason  string
	}
	// Quarantine: attempts fail on that node that succeed elsewhere. It gets no work of this job for that time, while there are others.
	Quarantine struct {
		Node   string
		Reason string
		For    time.Duration
	}
	// Finish: every task is committed; the job can be decided.
	Finish struct{}
	// Fail: the job ends without a decision.
	Fail struct{ Err error }
)

func (Grant) effect()      {}
func (Tell) effect()       {}
func (Judge) effect()      {}
func (Append) effect()     {}
func (Discard) effect()    {}
func (Revoke) effect()     {}
func (Quarantine) effect() {}
func (Finish) effect()     {}
func (Fail) effect()       {}

// A Listed says what was listed and is not in the plan.
type Listed struct {
	Archived int64 `json:"archived,omitempty"`
	Markers  int64 `json:"markers,omitempty"`
}

// A Record is one entry of the job log. Exactly one field is set, but for Began, which goes with Spec, and Listed.
type Record struct {
	Spec      *job.Spec  `json:"spec,omitempty"` // the first
	Began     time.Time  `json:"began,omitzero"`
	Begun     uint64     `json:"begun,omitempty"` // epoch of the coordinator that begins a plan, named by it; what came before does not count
	Plan      string     `json:"plan,omitempty"`  // digest of the sealed plan
	Listed    Listed     `json:"listed,omitzero"` // with Plan
	Cuts      [][]byte   `json:"cuts,omitempty"`  // borders of partitions
	Committed *Committed `json:"committed,omitempty"`
	Lost      job.TaskID `json:"lost,omitempty"`    // a committed map task whose node is gone
	Decided   bool       `json:"decided,omitempty"` // every task is committed; the decision may be written from here on
	Ended     *Ended     `json:"ended,omitempty"`   // the last
}

// An Ended is how a job has ended.
type Ended struct {
	Name      string          `json:"name,omitempty"`
	Began     time.Time       `json:"began"`
	Took      time.Duration   `json:"took_ns"`
	Error     string          `json:"error,omitempty"`
	Cancelled bool            `json:"cancelled,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"` // a job.Result without its parts
}

// A Committed is the commit of one attempt.
type Committed struct {
	Attempt     job.AttemptID  `json:"attempt"`
	Node        string         `json:"node"`
	Incarnation uint64         `json:"incarnation"`    // of the agent that keeps its runs
	Skip        map[int]string `json:"skip,omitempty"` // objects of the split that were left out, with the reason
	Result      Result         `json:"result"`
}
