package coordinator

import (
	"time"

	"github.com/millrace/millrace/job"
)

// A slot is one of a node.
type slot struct {
	node string
	n    int
}

// A seat is what is known of a slot.
type seat struct {
	task  *task     // the last that it was given
	heard time.Time // of the slot
}

// absence is how long a free slot may be silent until nothing more is expected of it: twice what a want is kept.
const absence = 2 * time.Second

// holds reports whether t is leased to the slot.
func (t *task) holds(s slot) bool { return t.state == leased && t.node == s.node && t.slot == s.n }

// seat returns what is known of a slot, which was heard of now.
func (m *Machine) seat(s slot) *seat {
	at := m.slots[s]
	if at == nil {
		at = new(seat)
		m.slots[s] = at
	}
	at.heard = m.now
	return at
}

func (m *Machine) ask(e Asked) []Effect {
	if m.succeeded(e.Want.Sender) {
		return m.stepDown(e.Want.Epoch)
	}
	effects, why := m.admit(e.Want.Sender, e.Now)
	if why != "" || m.over {
		return append(effects, Grant{e.Ticket, Lease{Over: true}})
	}
	waiting := m.queue.Len() + m.later.Len()
	effects = append(effects, m.vacate(slot{e.Want.Node, e.Want.Slot})...)
	m.asked.add(e)
	if m.queue.Len()+m.later.Len() > waiting {
		return append(effects, m.grant(e.Now)...) // what it had is for those who asked before
	}
	maps := m.queue.Len()
	granted, _ := m.grantTo(e, e.Now)
	effects = append(effects, granted...)
	if maps > 0 && m.queue.Len() == 0 {
		effects = append(effects, m.grant(e.Now)...) // reduces
	}
	return effects
}

// vacate takes back what a slot has that asks for work: it does one thing at a time, so that it never heard of its lease, or nobody
// heard how that went. An earlier question of it is one that it no longer waits for.
func (m *Machine) vacate(s slot) (effects []Effect) {
	for _, a := range m.asked.of(s.node) {
		if a.Want.Slot == s.n {
			effects = append(effects, Grant{a.Ticket, Lease{Idle: true}})
			m.asked.remove(a.Ticket)
		}
	}
	if t := m.seat(s).task; t != nil && t.holds(s) {
		effects = append(effects, m.again(t)...)
	}
	return effects
}

// withdraw forgets a question.
func (m *Machine) withdraw(asked Ticket) {
	m.asked.remove(asked)
	for _, t := range m.reds {
		if t.follows == asked {
			t.follows = 0
		}
	}
}

// grant answers all wants that can be answered.
func (m *Machine) grant(now time.Time) (effects []Effect) {
	maps := m.queue.Len()
	effects = m.grantOnce(now)
	if maps > 0 && m.queue.Len() == 0 {
		effects = append(effects, m.grantOnce(now)...) // with reduces
	}
	return effects
}

// Waiting returns how many tasks wait for a slot, and may have one now.
func (m *Machine) Waiting() int {
	switch {
	case m.over:
		return 0
	case m.queue.Len() > 0 || !m.sealed:
		return m.queue.Len()
	}
	return m.later.Len() + m.conf.Reducers - len(m.reds) // of reduces, some are not made yet
}

func (m *Machine) grantOnce(now time.Time) (effects []Effect) {
	nothing := make(map[string]bool) // for those nodes
	for a := range m.asked.each() {
		if m.over || m.queue.Len() == 0 && (!m.sealed || m.later.Len() == 0 && len(m.reds) == m.conf.Reducers) {
			break
		}
		if nothing[a.Want.Node] {
			continue
		}
		at := now
		if at.IsZero() {
			at = a.Now
		}
		granted, ok := m.grantTo(a, at)
		nothing[a.Want.Node] = !ok
		effects = append(effects, granted...)
	}
	return effects
}

// grantTo answers a want if there is a task for it. Reduces begin when no map waits: what is still being mapped comes to them later.
func (m *Machine) grantTo(a Asked, now time.Time) ([]Effect, bool) {
	if m.shuns(a.Want.Node) {
		return nil, false
	}
	id, ok := m.queue.Take(a.Want.Node, now)
	if m.sealed && m.queue.Len() == 0 && !ok && !m.over {
		m.planReduces()
		id, ok = m.later.Take(a.Want.Node, now)
	}
	if !ok {
		return nil, false
	}
	m.asked.remove(a.Ticket)
	return []Effect{Grant{a.Ticket, m.lease(m.tasks[id], slot{a.Want.Node, a.Want.Slot})}}, true
}

// grantNode answers a want of a node that can be answered.
func (m *Machine) grantNode(node string) []Effect {
	for _, a := range m.asked.of(node) {
		if effects, ok := m.grantTo(a, a.Now); ok {
			return effects
		}
	}
	return nil
}

// offer answers the want of a slot to which a map task is near that waits from now on. Others get it when they have waited long enough.
func (m *Machine) offer(t *task, everybody bool) []Effect {
	for _, n := range t.split.Nodes {
		if effects := m.grantNode(n); effects != nil {
			return effects
		}
	}
	for a := range m.asked.each() {
		if everybody {
			effects, _ := m.grantTo(a, a.Now)
			return effects
		}
		break
	}
	return nil
}

// planReduces makes the reduce tasks, once.
func (m *Machine) planReduces() {
	for i := len(m.reds); i < m.conf.Reducers; i++ {
		t := &task{id: job.ReduceTask(i), part: i, since: m.now}
		m.tasks[t.id] = t
		m.reds = append(m.reds, t)
		m.later.Push(t.id)
	}
}

func (m *Machine) lease(t *task, to slot) Lease {
	t.try++
	m.leases++
	t.state, t.node, t.slot, t.order, t.complete = leased, to.node, to.n, m.leases, false
	m.seat(to).task = t
	t.running = Running{Attempt: t.attempt()}
	l := Lease{Attempt: t.attempt(), Queued: m.now.Sub(t.since), Partitions: m.conf.Reducers}
	if t.id.IsReduce() {
		l.Partition, l.Arrivals = t.part, m.arrivals(0)
		t.complete = l.All
		return l
	}
	split := t.split
	l.Split, l.Skip, l.Cuts = &split, t.skip, m.cuts
	return l
}

// again takes back a task that is leased or whose runs are gone: it is tried again, ahead of what was not tried yet.
func (m *Machine) again(t *task) []Effect {
	effects := m.answer(t, Arrivals{Gone: true})
	if t.id.IsReduce() && t.state == leased {
		m.later.Done(t.node)
	}
	m.retries++
	t.state, t.node, t.running, t.since = waiting, "", Running{}, m.now
	if t.id.IsReduce() {
		m.later.PushFront(t.id)
	} else {
		m.queue.PushFront(t.place())
	}
	return effects
}

// recall takes slots back from reduces that wait for maps, if maps wait for slots: the youngest first, and no more than there are maps
// for which no slot is free. It is no failure of theirs.
func (m *Machine) recall() (effects []Effect) {
	if m.queue.Len() == 0 || len(m.reds) == 0 || m.over {
		return nil
	}
	for n := m.queue.Len() - m.free(); n > 0; n-- {
		var youngest *task
		for _, t := range m.reds {
			if t.state == leased && !t.complete && (youngest == nil || t.order > youngest.order) {
				youngest = t
			}
		}
		if youngest == nil {
			break
		}
		m.seat(slot{youngest.node, youngest.slot})
		effects = append(effects, m.again(youngest)...)
	}
	return effects
}

// free returns how many slots have nothing to do, and will ask for work if they have not yet.
func (m *Machine) free() (n int) {
	for a := range m.asked.each() {
		m.seat(slot{a.Want.Node, a.Want.Slot})
	}
	for s, at := range m.slots {
		if (at.task == nil || !at.task.holds(s)) && m.now.Sub(at.heard) < absence && !m.shuns(s.node) {
			n++
		}
	}
	return n
}
