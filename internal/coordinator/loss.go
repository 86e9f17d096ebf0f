package coordinator

import "slices"

// lost puts back what a node was doing and, while reducers may still ask for it, what it had done.
func (m *Machine) lost(e Lost) (effects []Effect) {
	if m.over || e.Incarnation != 0 && m.nodes[e.Node] > e.Incarnation {
		return nil
	}
	m.queue.Absent(e.Node)
	m.later.Absent(e.Node)
	for _, a := range m.asked.of(e.Node) {
		effects = append(effects, Grant{a.Ticket, Lease{Over: true}})
		m.asked.remove(a.Ticket)
	}
	for s := range m.slots {
		if s.node == e.Node {
			delete(m.slots, s)
		}
	}
	m.rift.forget(e.Node)
	for _, t := range slices.Concat(m.maps, m.reds) {
		switch {
		case t.node != e.Node || t.state == waiting:
			continue
		case t.state == committed && (t.id.IsReduce() || m.conf.Reducers == 0):
			continue // what it published does not need the node
		case t.state == committed:
			effects = append(effects, m.lose(t)...)
			continue
		}
		effects = append(effects, m.again(t)...)
	}
	return append(effects, m.grant(e.Now)...)
}

// lose puts back a committed map task whose runs are gone.
func (m *Machine) lose(t *task) []Effect {
	m.mapsDone--
	m.count(&t.result.Counters, -1)
	m.shuffle -= t.result.Shuffle
	handles := t.result.handles()
	t.result = Result{}
	effects := m.again(t)
	return append(effects, Append{Record{Lost: t.id}}, Discard{handles})
}

// vacated takes back what a slot has that asked for work of another job.
func (m *Machine) vacated(e Vacated) []Effect {
	effects, why := m.admit(e.Sender, e.Now)
	if why != "" || m.over {
		return effects
	}
	effects = append(effects, m.vacate(slot{e.Sender.Node, e.Slot})...)
	return append(effects, m.grant(e.Now)...)
}
