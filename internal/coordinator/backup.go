package coordinator

import (
	"cmp"
	"slices"
	"time"
)

// A backup attempt is one that is begun beside another one that is slow, when nothing else is left to do for a slot.
// Which attempts are slow is estimated as in LATE (Zaharia et al., OSDI 2008), by how fast each gets on and not by how far it is, and as Hadoop's
// later scheduler does, against what a fresh attempt would take.
const (
	leastAge     = time.Second // of an attempt that is beaten
	slack        = 1.5         // it must take longer by that factor than a fresh one would
	leastBackups = 8           // at once; or a tenth of all slots
	slowdown     = 3           // of a node that gets no backup and no reduce while there are others
	sampled      = 256         // attempts of which the median is taken
)

// A pace is how long attempts of one kind took, of late, by what they had to do.
type pace struct {
	ring  []time.Duration
	next  int
	adds  int
	known time.Duration // median of a moment ago; 0: it is to be found
}

func (p *pace) add(d time.Duration) {
	p.adds++
	if p.adds < sampled || p.adds%32 == 0 {
		p.known = 0
	}
	if len(p.ring) < sampled {
		p.ring = append(p.ring, d)
		return
	}
	p.ring[p.next] = d
	p.next = (p.next + 1) % sampled
}

func (p *pace) median() time.Duration {
	if p.known == 0 && len(p.ring) > 0 {
		sorted := slices.Sorted(slices.Values(p.ring))
		p.known = max(sorted[len(sorted)/2], 1)
	}
	return p.known
}

// weight is how much a task has to do, beside others of its kind: an object takes about as long as 16 KiB.
func (t *task) weight() int64 {
	if t.split == nil {
		return 1
	}
	return max(1, int64(t.split.Objects)+t.split.Bytes>>14)
}

func (m *Machine) pace(t *task) *pace {
	if t.id.IsReduce() {
		return &m.paces[1]
	}
	return &m.paces[0]
}

// expected is how long a fresh attempt is likely to take, 0 if nothing is known.
func (m *Machine) expected(t *task) time.Duration {
	return m.pace(t).median() * time.Duration(t.weight())
}

// timed learns from an attempt that has committed.
func (m *Machine) timed(a *attempt) {
	took := m.now.Sub(a.began)
	a.seat.host.timed(took, m.expected(a.task))
	m.pace(a.task).add(took / time.Duration(a.task.weight()))
}

// outrun learns from one that another was faster than.
func (m *Machine) outrun(a *attempt) { a.seat.host.timed(m.now.Sub(a.began), m.expected(a.task)) }

// timed takes how long an attempt took on h, and would have been expected to.
func (h *host) timed(took, expected time.Duration) {
	if took < leastAge || expected == 0 {
		return
	}
	ratio := float64(took) / float64(expected)
	if h.times++; h.times > 1 {
		ratio = (h.pace + ratio) / 2
	}
	h.pace = ratio
}

// slow reports whether attempts on h take much longer than on others, and there are others.
func (m *Machine) slow(h *host) bool {
	slow := func(h *host) bool { return h.times > 1 && h.pace >= slowdown }
	return slow(h) && m.others(func(o *host) bool { return !o.bad && !slow(o) && !m.rift.shunned[o.name] })
}

// others reports whether there is a node that is well.
func (m *Machine) others(well func(*host) bool) bool {
	for _, h := range m.hosts {
		if h.heard && well(h) {
			return true
		}
	}
	return false
}

// gain is how much earlier a task is likely to be done if a backup of its only attempt begins now; 0: none is to.
func (m *Machine) gain(a *attempt) time.Duration {
	fresh, age := m.expected(a.task), m.now.Sub(a.began)
	if fresh == 0 || age < max(leastAge, fresh) || a.task.id.IsReduce() && !a.complete {
		return 0
	}
	left := age // who says nothing takes as long again
	if s := a.task.split; s != nil && s.Objects > 0 && a.running.Objects > 0 {
		done := float64(a.running.Objects) / float64(s.Objects)
		left = max(time.Duration(float64(age)*(1-done)/done), age/4)
	}
	if float64(left) <= slack*float64(fresh) {
		return 0
	}
	return left - fresh
}

// backup finds the attempts that are slow, those by which most is to be gained first, and begins backups of them if slots have nothing else to do.
func (m *Machine) backup() (effects []Effect) {
	m.slowest = m.slowest[:0]
	if m.over || !m.sealed || m.conf.Alone || m.waits() {
		return nil
	}
	gains := make(map[*task]time.Duration)
	for e := m.running.Front(); e != nil; e = e.Next() {
		t := e.Value.(*task)
		if len(t.live) > 1 {
			continue
		}
		if gain := m.gain(t.live[0]); gain > 0 {
			gains[t] = gain
			m.slowest = append(m.slowest, t)
		}
	}
	slices.SortStableFunc(m.slowest, func(a, b *task) int { return cmp.Compare(gains[b], gains[a]) })
	for next := m.asked.Front(); next != nil && m.backable() > 0; {
		s := next.Value.(*seat)
		next = next.Next()
		effects = append(effects, m.help(s)...)
	}
	return effects
}

// backable returns how many backups may begin.
func (m *Machine) backable() int {
	return min(len(m.slowest), max(leastBackups, (m.running.Len()+m.asked.Len())/10)-m.spare)
}

// help answers the want of a seat with a backup, if one is to begin there.
func (m *Machine) help(s *seat) []Effect {
	if m.over || m.waits() || m.backable() <= 0 || m.idles(s.host) || m.slow(s.host) {
		return nil
	}
	for i, t := range m.slowest {
		if len(t.live) != 1 {
			continue // since the last tick
		}
		if t.live[0].seat.host != s.host {
			m.slowest = slices.Delete(m.slowest, i, i+1)
			return []Effect{Grant{m.served(s), m.lease(t, s)}}
		}
	}
	return nil
}
