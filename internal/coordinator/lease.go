package coordinator

import (
	"slices"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/placement"
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
	if t := m.seat(s).task; t != nil && t.holds(s) {
		effects = append(effects, m.again(t)...)
	}
	return effects
}

// withdraw forgets a question.
func (m *Machine) withdraw(asked Ticket) {
	m.asked = slices.DeleteFunc(m.asked, func(a Asked) bool { return a.Ticket == asked })
	for _, t := range m.reds {
		if t.follows == asked {
			t.follows = 0
		}
	}
}

// grant answers wants with tasks as long as there are both. Reduces begin when no map waits: what is still being mapped
// comes to them later.
func (m *Machine) grant(now time.Time) []Effect {
	effects := m.grantFrom(m.queue, now)
	if m.sealed && m.queue.Len() == 0 && !m.over {
		m.planReduces()
		effects = append(effects, m.grantFrom(m.later, now)...)
	}
	return effects
}

func (m *Machine) grantFrom(q *placement.Queue, now time.Time) (effects []Effect) {
	if q.Len() == 0 || m.over {
		return nil
	}
	m.asked = slices.DeleteFunc(m.asked, func(a Asked) bool {
		if now.IsZero() {
			now = a.Now
		}
		if m.shuns(a.Want.Node) {
			return false
		}
		p, ok := q.Take(a.Want.Node, now)
		if ok {
			effects = append(effects, Grant{a.Ticket, m.lease(m.tasks[p.ID], slot{a.Want.Node, a.Want.Slot})})
		}
		return ok
	})
	return effects
}

// planReduces makes the reduce tasks, once.
func (m *Machine) planReduces() {
	for i := len(m.reds); i < m.conf.Reducers; i++ {
		t := &task{id: job.ReduceTask(i), part: i, since: m.now}
		m.tasks[t.id] = t
		m.reds = append(m.reds, t)
		m.later.Push(t.place())
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
	m.retries++
	t.state, t.node, t.running, t.since = waiting, "", Running{}, m.now
	if t.id.IsReduce() {
		m.later.PushFront(t.place())
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
	for _, a := range m.asked {
		m.seat(slot{a.Want.Node, a.Want.Slot})
	}
	for s, at := range m.slots {
		if (at.task == nil || !at.task.holds(s)) && m.now.Sub(at.heard) < absence && !m.shuns(s.node) {
			n++
		}
	}
	return n
}
