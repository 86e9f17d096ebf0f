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
		delete(r.shunned, n) // perhaps it was not to blame
	}
	delete(r.apart, node)
}

// shuns reports whether a node gets no work, because it cannot reach others that do.
func (m *Machine) shuns(h *host) bool {
	if !m.rift.shunned[h.name] {
		return false
	}
	for _, o := range m.hosts {
		if m.rift.shunned[o.name] {
			continue
		}
		for _, s := range o.seats {
			if s.busy() || m.now.Sub(s.heard) < absence {
				return true
			}
		}
	}
	return false
}

// missing has runs made again that a reduce attempt cannot have, on other nodes; or takes it back, if its own node is shunned.
func (m *Machine) missing(a *attempt, e *Followed) (effects []Effect) {
	own := a.seat.host
	for _, x := range e.Follow.Missing[:min(len(e.Follow.Missing), MaxMissing)] {
		t := m.task(x.Run.Task)
		if t == nil || t.id.IsReduce() || t.state != committed || t.attempt() != x.Run {
			continue // it was lost meanwhile; the attempt will be told of another
		}
		on := t.host
		if x.Gone || on == own {
			effects = append(effects, m.lose(t)...)
			h := t.pain()
			if h.failed(on); h.count() >= maxFailures {
				err := &job.AttemptError{Attempt: x.Run, Node: on.name, Err: errors.New(x.Reason)}
				return append(effects, m.fail(&job.Error{Err: err})...)
			}
			continue
		}
		m.rift.part(own.name, on.name)
		if m.shuns(on) {
			effects = append(effects, m.loseAll(on)...)
		} else if m.shuns(own) {
			a.seat.heard = m.now
			return append(append(effects, m.end(a)...), m.grant()...)
		}
	}
	return append(effects, m.grant()...)
}
