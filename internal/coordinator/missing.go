package coordinator

import (
	"errors"

	"github.com/millrace/millrace/job"
)

// A Missing is a run that a reduce attempt was told of and cannot have.
type Missing struct {
	Run job.AttemptID `json:"run"`
	// Gone is set if its node is there, and has not got it or cannot read it: the map is done again, and that counts against it. Else the
	// two nodes cannot reach each other.
	Gone   bool   `json:"gone,omitempty"`
	Reason string `json:"reason,omitempty"` // of Gone
}

// MaxMissing bounds the runs that one Follow says are missing. Of those that one node keeps and that cannot be reached, one is enough.
const MaxMissing = 64

// A rift is what is known of nodes that cannot reach each other, though all can reach the coordinator. Nobody knows which of two is to blame until
// another is apart from one of them. Some are shunned: they get no work, so that those that do can reach each other in the end.
type rift struct {
	apart   map[string]map[string]bool // of each node, those that it cannot reach, or that cannot reach it
	shunned map[string]bool
}

// part notes that two nodes are apart, and has one of them shunned if neither was: the one that is apart from others as well, or a.
func (r *rift) part(a, b string) {
	if r.apart == nil {
		r.apart, r.shunned = make(map[string]map[string]bool), make(map[string]bool)
	}
	for _, p := range [][2]string{{a, b}, {b, a}} {
		if r.apart[p[0]] == nil {
			r.apart[p[0]] = make(map[string]bool)
		}
		r.apart[p[0]][p[1]] = true
	}
	switch {
	case r.shunned[a] || r.shunned[b]:
	case len(r.apart[b]) == 1:
		r.shunned[a] = true
	default:
		r.shunned[b] = true
		for n := range r.apart[b] {
			if len(r.apart[n]) == 1 {
				delete(r.shunned, n) // it was not to blame
			}
		}
	}
}

// forget gives a node that is gone another chance.
func (r *rift) forget(node string) {
	delete(r.shunned, node)
	for n := range r.apart[node] {
		delete(r.apart[n], node)
	}
	delete(r.apart, node)
}

// shuns reports whether a node gets no work, because it cannot reach others that do.
func (m *Machine) shuns(node string) bool {
	if !m.rift.shunned[node] {
		return false
	}
	for s, at := range m.slots {
		if !m.rift.shunned[s.node] && (at.task != nil && at.task.holds(s) || m.now.Sub(at.heard) < absence) {
			return true
		}
	}
	return false
}

// missing has runs made again that a reduce attempt cannot have, on other nodes; or takes it back, if its own node is shunned.
func (m *Machine) missing(t *task, e *Followed) (effects []Effect) {
	for _, x := range e.Follow.Missing[:min(len(e.Follow.Missing), MaxMissing)] {
		mt := m.tasks[x.Run.Task]
		if mt == nil || mt.id.IsReduce() || mt.state != committed || mt.attempt() != x.Run {
			continue // it was lost meanwhile; the attempt will be told of another
		}
		if x.Gone || mt.node == t.node {
			node := mt.node
			effects = append(effects, m.lose(mt)...)
			if mt.failures++; mt.failures >= maxFailures {
				err := &job.AttemptError{Attempt: x.Run, Node: node, Err: errors.New(x.Reason)}
				return append(effects, m.fail(&job.Error{Err: err})...)
			}
			continue
		}
		m.rift.part(t.node, mt.node)
		if m.shuns(mt.node) {
			effects = append(effects, m.loseAll(mt.node)...)
		} else if m.shuns(t.node) {
			m.seat(slot{t.node, t.slot})
			return append(append(effects, m.again(t)...), m.grant(e.Now)...)
		}
	}
	return append(effects, m.grant(e.Now)...)
}

// loseAll puts back all maps whose runs a node keeps.
func (m *Machine) loseAll(node string) (effects []Effect) {
	for _, t := range m.maps {
		if t.state == committed && t.node == node {
			effects = append(effects, m.lose(t)...)
		}
	}
	return effects
}
