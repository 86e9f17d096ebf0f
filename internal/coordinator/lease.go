package coordinator

import (
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/job"
)

func (m *Machine) ask(e Asked) []Effect {
	if m.succeeded(e.Want.Sender) {
		return m.stepDown(e.Want.Epoch)
	}
	effects, why := m.admit(e.Want.Sender)
	if why != "" || m.over {
		return append(effects, Grant{e.Ticket, Lease{Over: true}})
	}
	s := m.seat(m.host(e.Want.Node), e.Want.Slot)
	effects = append(effects, m.vacate(s)...)
	m.wait(s, e.Ticket)
	if m.pushed { // just now: others asked before
		return append(effects, m.grant()...)
	}
	effects = append(effects, m.serveOne(s)...)
	if s.place != nil {
		effects = append(effects, m.help(s)...)
	}
	return effects
}

// vacate takes back what a slot has that asks for work: it does one thing at a time, so that it never heard of its lease, or nobody
// heard how that went. An earlier question of it is one that it no longer waits for.
func (m *Machine) vacate(s *seat) (effects []Effect) {
	if s.place != nil {
		effects = append(effects, Grant{m.served(s), Lease{Idle: true}})
	}
	if s.busy() {
		effects = append(effects, m.end(s.last)...)
	}
	return effects
}

// withdraw forgets a question.
func (m *Machine) withdraw(asked Ticket) {
	if s := m.tickets[asked]; s != nil {
		m.served(s)
	}
	if a := m.follows[asked]; a != nil {
		a.follows = 0
		delete(m.follows, asked)
	}
}

// grant answers wants with tasks as long as there are both.
func (m *Machine) grant() (effects []Effect) {
	mapping := m.queue.Len() > 0
	var nothing map[*host]bool // for those
	for next := m.asked.Front(); next != nil && m.waits(); {
		s := next.Value.(*seat)
		next = next.Next()
		if nothing[s.host] {
			continue
		}
		given := m.serve(s)
		if given == nil {
			if nothing == nil {
				nothing = make(map[*host]bool)
			}
			nothing[s.host] = true
		}
		effects = append(effects, given...)
	}
	if mapping && m.queue.Len() == 0 { // those for whom there was no map may reduce
		effects = append(effects, m.grant()...)
	}
	return effects
}

// grantNode answers a want of a node that can be answered.
func (m *Machine) grantNode(h *host) []Effect {
	for _, s := range h.seats {
		if s.place != nil {
			return m.serveOne(s)
		}
	}
	return nil
}

// serveOne answers the want of a seat, and those of others that may reduce if it was given the last map that waited.
func (m *Machine) serveOne(s *seat) []Effect {
	mapping := m.queue.Len() > 0
	effects := m.serve(s)
	if mapping && m.queue.Len() == 0 {
		effects = append(effects, m.grant()...)
	}
	return effects
}

// offer answers the want of a slot to which a map task is near that was just planned, or, if it is for everybody, the oldest. Others get it when they have
// waited long enough.
func (m *Machine) offer(t *task, everybody bool) []Effect {
	for _, n := range t.split.Nodes {
		if h := m.hosts[n]; h != nil {
			if effects := m.grantNode(h); effects != nil {
				return effects
			}
		}
	}
	for e := m.asked.Front(); e != nil && everybody; e = e.Next() {
		if s := e.Value.(*seat); !m.idles(s.host) {
			return m.serve(s)
		}
	}
	return nil
}

// Waiting returns how many tasks wait for a slot, and may have one now, those for which a backup may begin included.
func (m *Machine) Waiting() int {
	switch {
	case m.over:
		return 0
	case m.queue.Len() > 0 || !m.sealed:
		return m.queue.Len()
	}
	return m.later.Len() + m.conf.Reducers - len(m.reds) + m.backable() // of reduces, some are not made yet
}

// waits reports whether a task waits for a slot.
func (m *Machine) waits() bool {
	return !m.over && (m.queue.Len() > 0 || m.sealed && (m.later.Len() > 0 || len(m.reds) < m.conf.Reducers))
}

// idles reports whether a node gets no work, for there are others.
func (m *Machine) idles(h *host) bool { return m.barred(h) || m.shuns(h) }

// serve answers the want of a seat, if there is a task for it. Reduces begin when no map waits: what is still being mapped
// comes to them later.
func (m *Machine) serve(s *seat) []Effect {
	if m.over || m.idles(s.host) {
		return nil
	}
	id, ok := m.queue.Take(s.host.name, m.now)
	spread := false
	if !ok && m.sealed && m.queue.Len() == 0 && !m.slow(s.host) {
		m.planReduces()
		id, ok = m.later.Take(s.host.name, m.now)
		spread = ok
	}
	if !ok {
		return nil
	}
	l := m.lease(m.task(id), s)
	s.last.spread = spread
	return []Effect{Grant{m.served(s), l}}
}

// planReduces makes the reduce tasks, once.
func (m *Machine) planReduces() {
	for i := len(m.reds); i < m.conf.Reducers; i++ {
		t := &task{id: job.ReduceTask(i), part: i, since: m.now, try: m.base}
		m.reds = append(m.reds, t)
		m.later.Push(t.id)
	}
}

func (m *Machine) lease(t *task, s *seat) Lease {
	if len(t.live) == 0 {
		t.place = m.running.PushBack(t)
	} else {
		m.spare++
		m.backups++
	}
	t.try = max(t.try, m.base) + 1
	m.leases++
	m.attempts++
	a := &attempt{task: t, try: t.try, seat: s, began: m.now, order: m.leases}
	t.state, s.last, s.heard = leased, a, m.now
	t.live = append(t.live, a)
	l := Lease{Attempt: a.id(), Queued: m.now.Sub(t.waited(m.began)), Partitions: m.conf.Reducers}
	if t.id.IsReduce() {
		l.Partition, l.Arrivals = t.part, m.arrivals(0)
		a.complete = l.All
		return l
	}
	split := *t.split
	l.Split, l.Skip, l.Cuts = &split, t.skip(), m.cuts
	return l
}

// waited returns since when t waits, in a machine that began then.
func (t *task) waited(began time.Time) time.Time {
	if t.since.Before(began) {
		return began
	}
	return t.since
}

// end takes back an attempt that is under way. Its task is tried again, ahead of what was not tried yet, unless it is under way elsewhere.
func (m *Machine) end(a *attempt) []Effect {
	effects := m.drop(a)
	if len(a.task.live) > 0 {
		return effects
	}
	return append(effects, m.again(a.task)...)
}

// drop forgets an attempt that is under way.
func (m *Machine) drop(a *attempt) []Effect {
	t := a.task
	m.progress(t, -1)
	if a.spread {
		m.later.Done(a.seat.host.name)
	}
	if len(t.live) > 1 {
		m.spare--
	}
	t.live = slices.DeleteFunc(t.live, func(b *attempt) bool { return a == b })
	m.progress(t, 1)
	if len(t.live) == 0 {
		m.running.Remove(t.place)
		t.live, t.place = nil, nil
	}
	return m.answer(a, Arrivals{Gone: true})
}

// again has a task wait that has no attempt any more.
func (m *Machine) again(t *task) []Effect {
	m.retries++
	t.state, t.counts, t.host, t.since, m.pushed = waiting, 0, nil, m.now, true
	if t.id.IsReduce() {
		m.later.PushFront(t.id)
	} else {
		m.queue.PushFront(t.wants())
	}
	if t.try < m.base+maxTries-1 {
		return nil
	}
	return m.fail(&job.Error{Err: fmt.Errorf("%s was tried %d times", t.id, t.try-m.base)})
}

// recall takes slots back from reduces that wait for maps, if maps wait for slots: the youngest first, and no more than there are maps
// for which no slot is free. It is no failure of theirs.
func (m *Machine) recall() (effects []Effect) {
	if m.queue.Len() == 0 || len(m.reds) == 0 || m.over {
		return nil
	}
	var given []*attempt // that wait for maps, the youngest first
	for _, t := range m.reds {
		for _, a := range t.live {
			if !a.complete {
				given = append(given, a)
			}
		}
	}
	if len(given) == 0 {
		return nil
	}
	slices.SortFunc(given, func(a, b *attempt) int { return b.order - a.order })
	for _, a := range given[:min(len(given), max(0, m.queue.Len()-m.free()))] {
		a.seat.heard = m.now
		effects = append(effects, m.end(a)...)
	}
	return effects
}

// free returns how many slots have nothing to do, and will ask for work if they have not yet.
func (m *Machine) free() (n int) {
	for _, h := range m.hosts {
		if m.idles(h) {
			continue
		}
		for _, s := range h.seats {
			if s.place != nil {
				s.heard = m.now
			}
			if !s.busy() && m.now.Sub(s.heard) < absence {
				n++
			}
		}
	}
	return n
}
