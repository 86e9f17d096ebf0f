package coordinator

// lost puts back what a node was doing and, while reducers may still ask for it, what it had done.
func (m *Machine) lost(e Lost) []Effect {
	if m.over || m.hosts[e.Node] == nil || e.Incarnation != 0 && m.hosts[e.Node].incarnation > e.Incarnation {
		return nil
	}
	m.queue.Absent(e.Node)
	m.later.Absent(e.Node)
	m.rift.forget(e.Node)
	h := m.hosts[e.Node]
	h.heard = false
	effects := append(m.clear(h), m.loseAll(h)...)
	return append(effects, m.grant()...)
}

// loseAll puts back all maps whose runs a node keeps.
func (m *Machine) loseAll(h *host) (effects []Effect) {
	done := h.done
	h.done = nil
	for _, t := range done {
		if t.state == committed && t.host == h {
			effects = append(effects, m.lose(t)...)
		}
	}
	return effects
}

// clear puts back what a node was doing.
func (m *Machine) clear(h *host) (effects []Effect) {
	seats := h.seats
	h.seats = nil
	for _, s := range seats {
		if s.place != nil {
			effects = append(effects, Grant{m.served(s), Lease{Over: true}})
		}
		if s.busy() {
			effects = append(effects, m.end(s.last)...)
		}
	}
	return effects
}

// lose puts back a committed map task whose runs are gone.
func (m *Machine) lose(t *task) []Effect {
	m.mapsDone--
	if t.away {
		t.away = false
		m.away--
	}
	m.count(&t.result.Counters, -1)
	m.shuffle -= t.result.Shuffle
	r := t.result
	t.result = nil
	effects := append(m.again(t), Append{Record{Lost: t.id}})
	return append(effects, discard(r)...)
}

// vacated takes back what a slot has that asked for work of another job.
func (m *Machine) vacated(e Vacated) []Effect {
	effects, why := m.admit(e.Sender)
	if why != "" || m.over {
		return effects
	}
	effects = append(effects, m.vacate(m.seat(m.host(e.Sender.Node), e.Slot))...)
	return append(effects, m.grant()...)
}
