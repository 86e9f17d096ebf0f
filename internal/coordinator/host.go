package coordinator

import (
	"container/list"
	"slices"
	"time"
)

// A host is what is known of a node.
type host struct {
	name        string
	incarnation uint64
	heard       bool    // of in this epoch, and not lost since
	seats       []*seat // by number
	done        []*task // map tasks whose runs it keeps or kept: those of them count whose host it is
	health
}

// A seat is what is known of a slot.
type seat struct {
	host  *host
	n     int
	last  *attempt  // that it was given
	heard time.Time // of the slot

	// The question of it that waits for an answer, if place is not nil.
	ticket Ticket
	place  *list.Element
}

// absence is how long a free slot may be silent until nothing more is expected of it: twice what a want is kept.
const absence = 2 * time.Second

// busy reports whether the slot works on what it was given last.
func (s *seat) busy() bool {
	return s.last != nil && s.last.seat == s && slices.Contains(s.last.task.live, s.last)
}

// host returns what is known of a node.
func (m *Machine) host(name string) *host {
	h := m.hosts[name]
	if h == nil {
		h = &host{name: name}
		m.hosts[name] = h
	}
	return h
}

// seat returns what is known of a slot, which was heard of now.
func (m *Machine) seat(h *host, n int) *seat {
	i, ok := slices.BinarySearchFunc(h.seats, n, func(s *seat, n int) int { return s.n - n })
	if !ok {
		h.seats = slices.Insert(h.seats, i, &seat{host: h, n: n})
	}
	s := h.seats[i]
	s.heard = m.now
	return s
}

// wait notes a question of a seat.
func (m *Machine) wait(s *seat, t Ticket) {
	s.ticket, s.place = t, m.asked.PushBack(s)
	m.tickets[t] = s
}

// served forgets the question of a seat, and returns it.
func (m *Machine) served(s *seat) Ticket {
	t := s.ticket
	delete(m.tickets, t)
	m.asked.Remove(s.place)
	s.ticket, s.place = 0, nil
	return t
}
