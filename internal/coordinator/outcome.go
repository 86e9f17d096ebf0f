package coordinator

import (
	"maps"
	"slices"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// An Outcome is all that committed attempts made.
type Outcome struct {
	Digest   string // of the plan
	Counters job.Counters
	Parts    map[job.TaskID]*Result
}

// Outcome returns what committed attempts made. It is complete after Finish.
func (m *Machine) Outcome() Outcome {
	o := Outcome{Digest: m.digest, Counters: m.total, Parts: make(map[job.TaskID]*Result, len(m.maps)+len(m.reds))}
	o.Counters.Attempts, o.Counters.Retries, o.Counters.Backups, o.Counters.Beaten = m.attempts, m.retries, m.backups, m.beaten
	for _, ts := range [][]*task{m.maps, m.reds} {
		for _, t := range ts {
			if t.state == committed {
				o.Parts[t.id] = t.result
				o.Counters.PeakMemory = max(o.Counters.PeakMemory, t.result.Counters.PeakMemory)
			}
		}
	}
	return o
}

// handles returns the pending output that r names.
func (r *Result) handles() (hs []store.Handle) {
	pending := []*store.Pending{r.Part, r.Failed}
	for _, p := range r.Members {
		pending = append(pending, p.Part, p.Failed)
	}
	for _, p := range pending {
		if p != nil {
			hs = append(hs, p.Handle)
		}
	}
	return hs
}

// Order returns the tasks of an outcome whose attempts may have made something to publish, in the order of what is published.
func (o *Outcome) Order() []job.TaskID {
	return slices.SortedFunc(maps.Keys(o.Parts), job.TaskID.Compare)
}

// logged returns r as it is written down: a key is content of the user's, which no log keeps. Who replays the log does not know it.
func (r *Result) logged() Result {
	l := *r
	if r.Partition != nil {
		p := *r.Partition
		p.HotKey = ""
		l.Partition = &p
	}
	return l
}
