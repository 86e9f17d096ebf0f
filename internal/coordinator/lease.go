package coordinator

import (
	"slices"
	"time"
)

// A slot is one of a node.
type slot struct {
	node string
	n    int
}

func (m *Machine) ask(e Asked) []Effect {
	if m.succeeded(e.Want.Sender) {
		return m.stepDown(e.Want.Epoch)
	}
	effects, why := m.admit(e.Want.Sender, e.Now)
	if why != "" || m.over {
		return append(effects, Grant{e.Ticket, Lease{Over: true}})
	}
	effects = append(effects, m.vacate(slot{e.Want.Node, e.Want.Slot})...)
	m.asked = append(m.asked, e)
	return append(effects, m.grant(e.Now)...)
}

// vacate takes back what a slot has that asks for work: it does one thing at a time, so that it never heard of its lease, or nobody
// heard how that went. An earlier question of it is one that it no longer waits for.
func (m *Machine) vacate(s slot) (effects []Effect) {
	m.asked = slices.DeleteFunc(m.asked, func(a Asked) bool {
		if a.Want.Node != s.node || a.Want.Slot != s.n {
			return false
		}
		effects = append(effects, Grant{a.Ticket, Lease{Idle: true}})
		return true
	})
	if t := m.slots[s]; t != nil && t.state == leased && t.node == s.node && t.slot == s.n {
		m.retries++
		t.state, t.node, t.running = waiting, "", Running{}
		m.again(t)
	}
	return effects
}

// grant answers wants with tasks as long as there are both.
func (m *Machine) grant(now time.Time) (effects []Effect) {
	kept := m.asked[:0]
	for _, a := range m.asked {
		if now.IsZero() {
			now = a.Now
		}
		p, ok := m.queue.Take(a.Want.Node, now)
		if !ok && m.mapsDone == len(m.maps) {
			p, ok = m.later.Take(a.Want.Node, now)
		}
		if !ok || m.over {
			kept = append(kept, a)
			continue
		}
		effects = append(effects, Grant{a.Ticket, m.lease(m.tasks[p.ID], slot{a.Want.Node, a.Want.Slot})})
	}
	m.asked = kept
	return effects
}

func (m *Machine) lease(t *task, to slot) Lease {
	t.try++
	t.state, t.node, t.slot = leased, to.node, to.n
	m.slots[to] = t
	t.running = Running{Attempt: t.attempt()}
	l := Lease{Attempt: t.attempt(), Queued: m.now.Sub(t.since), Partitions: m.conf.Reducers}
	if t.id.IsReduce() {
		l.Partition = t.part
		for _, mt := range m.maps {
			mt.shown = Run{mt.attempt(), mt.node, mt.result.Vector}
			l.Runs = append(l.Runs, mt.shown)
		}
		return l
	}
	split := t.split
	l.Split, l.Skip, l.Cuts = &split, t.skip, m.cuts
	return l
}

// again has t tried again, ahead of what was not tried yet.
func (m *Machine) again(t *task) {
	t.since = m.now
	if t.id.IsReduce() {
		m.later.PushFront(t.place())
	} else {
		m.queue.PushFront(t.place())
	}
}
