package placement

import (
	"time"

	"github.com/millrace/millrace/job"
)

// A Spread holds tasks that lie nowhere and are not to sit on one node together, such as reduces. A node is given no more of them than its share while others are
// present that have less, unless its slots went without for a while.
type Spread struct {
	patience time.Duration
	waiting  []job.TaskID
	running  int
	present  int // nodes
	nodes    map[string]*seats
}

// Seats are what a node has of a Spread.
type seats struct {
	present bool
	running int
	since   time.Time // when it was first given no more than its share; zero: it was not
}

// NewSpread returns an empty Spread, whose tasks wait up to patience for a node that has fewer.
func NewSpread(patience time.Duration) *Spread {
	return &Spread{patience: patience, nodes: make(map[string]*seats)}
}

// Len returns how many tasks wait.
func (s *Spread) Len() int { return len(s.waiting) }

// Push adds a task at the end.
func (s *Spread) Push(t job.TaskID) { s.waiting = append(s.waiting, t) }

// PushFront adds a task, which was tried before, ahead of all others.
func (s *Spread) PushFront(t job.TaskID) { s.waiting = append([]job.TaskID{t}, s.waiting...) }

// Take removes and returns the first task for a slot of a node at the time now, which runs there until Done or Absent. It reports false
// if there is none, or none yet.
func (s *Spread) Take(node string, now time.Time) (job.TaskID, bool) {
	s.Present(node)
	at := s.nodes[node]
	if len(s.waiting) == 0 {
		at.since = time.Time{}
		return "", false
	}
	if at.running < s.share() {
		at.since = time.Time{}
	} else {
		if at.since.IsZero() || now.Before(at.since) { // clocks are set back
			at.since = now
		}
		if now.Sub(at.since) < s.patience {
			return "", false
		}
	}
	t := s.waiting[0]
	s.waiting = s.waiting[1:]
	at.running++
	s.running++
	return t, true
}

// share is how many tasks each present node runs if all have as many.
func (s *Spread) share() int { return (len(s.waiting) + s.running + s.present - 1) / s.present }

// Done says that a task runs no more on the node that took it.
func (s *Spread) Done(node string) {
	if at := s.node(node); at.running > 0 {
		at.running--
		s.running--
	}
}

// Present says that a node may ask for tasks.
func (s *Spread) Present(node string) {
	if at := s.node(node); !at.present {
		at.present = true
		s.present++
	}
}

// Absent says that a node will not ask for tasks. What it runs, it may go on with.
func (s *Spread) Absent(node string) {
	if at := s.node(node); at.present {
		at.present = false
		s.present--
	}
}

func (s *Spread) node(name string) *seats {
	at := s.nodes[name]
	if at == nil {
		at = new(seats)
		s.nodes[name] = at
	}
	return at
}
