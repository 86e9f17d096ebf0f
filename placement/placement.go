// Package placement chooses which task a node works on next: one whose objects lie on that node, if there is one, and after
// a short wait any (delay scheduling: Zaharia et al., EuroSys 2010). It is plain state: time is given to it.
package placement

import (
	"slices"
	"time"

	"github.com/millrace/millrace/job"
)

// DefaultPatience is how long a task waits for a slot on a node that holds its objects before any node may have it.
const DefaultPatience = 3 * time.Second

// A Task is something to place.
type Task struct {
	ID    job.TaskID
	Nodes []string // that hold its input, best first; none means that all are alike
}

// A Queue holds the tasks that wait for a slot, in the order they came. It is not safe for concurrent use.
type Queue struct {
	patience time.Duration
	waiting  []entry
}

type entry struct {
	Task
	since time.Time // of being passed over for the first time; zero if it never was
}

// New returns an empty queue whose tasks wait for a slot near their data for up to patience.
func New(patience time.Duration) *Queue { return &Queue{patience: patience} }

// Len returns how many tasks wait.
func (q *Queue) Len() int { return len(q.waiting) }

// Push adds t at the end.
func (q *Queue) Push(t Task) { q.waiting = append(q.waiting, entry{Task: t}) }

// PushFront adds t, which was tried before, ahead of all others.
func (q *Queue) PushFront(t Task) { q.waiting = slices.Insert(q.waiting, 0, entry{Task: t}) }

// Take removes and returns the best task for node at the time now: the first that lies there or that lies nowhere in particular,
// else the first that has waited long enough. It reports false if there is none; tasks that were passed over start to wait.
func (q *Queue) Take(node string, now time.Time) (Task, bool) {
	best := -1
	for i := range q.waiting {
		e := &q.waiting[i]
		if len(e.Nodes) == 0 || slices.Contains(e.Nodes, node) {
			best = i
			break
		}
		if e.since.IsZero() {
			e.since = now
		}
		if best < 0 && now.Sub(e.since) >= q.patience {
			best = i
		}
	}
	if best < 0 {
		return Task{}, false
	}
	t := q.waiting[best].Task
	if best == 0 {
		q.waiting = q.waiting[1:]
	} else {
		q.waiting = slices.Delete(q.waiting, best, best+1)
	}
	return t, true
}
