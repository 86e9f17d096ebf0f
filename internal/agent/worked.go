package agent

import (
	"time"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/job"
)

// A Worked is an attempt that a node has reported.
type Worked struct {
	Job      string
	Attempt  job.AttemptID
	Leased   time.Time         // to this node
	Reported time.Time         // by it
	Answered time.Time         // by the coordinator
	Accepted bool              // it counts
	Fault    coordinator.Fault // who was to blame, if it did not succeed
	Counters *job.Counters     // of one that succeeded
}

// worked tells of an attempt that was reported, which was answered if err is nil.
func (e *engagement) worked(w Worked, err error) {
	if err != nil || e.n.o.Worked == nil {
		return
	}
	w.Job, w.Answered = e.id, time.Now()
	began, _ := e.leased.Load(w.Attempt)
	w.Leased, _ = began.(time.Time)
	e.n.o.Worked(w)
}

// A Picture is a node at one moment.
type Picture struct {
	Epoch   uint64 // of the latest leader
	Alone   bool   // no leader is heard of
	Jobs    int    // that it works for
	Running int    // attempts
	Keeps   int    // runs of committed attempts
}

// Look returns what there is to be seen of the node.
func (n *Node) Look() (p Picture) {
	n.mu.Lock()
	p.Epoch, p.Alone, p.Jobs = n.epoch, n.alone, len(n.jobs)
	n.mu.Unlock()
	for _, e := range n.engagements() {
		e.leased.Range(func(any, any) bool { p.Running++; return true })
		select {
		case <-e.opened:
			if e.agent != nil {
				p.Keeps += e.agent.runs.count()
			}
		default:
		}
	}
	return p
}

// count returns how many there are.
func (rs *runs) count() int {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return len(rs.kept)
}
