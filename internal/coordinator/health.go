package coordinator

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A node gets no work for a while when tasks fail on it that then succeed elsewhere: several of them, more than an eighth of what it does, and three times
// as many as on other nodes. Objects that bring their guests down do so everywhere, and say nothing of a node.
const (
	leastSuspects = 3
	quarantine    = 10 * time.Minute
)

// A health is what is known of a node by what became of its work.
type health struct {
	did      int64 // attempts that committed
	suspects int64 // tasks that failed there and succeeded elsewhere
	bad      bool  // it is quarantined
	until    time.Time

	times int     // attempts of which pace was learnt
	pace  float64 // how many times longer they take than expected, of late
}

func (h *health) quarantined() bool { return h.bad }

// barred reports whether h gets no work, for there are others.
func (m *Machine) barred(h *host) bool {
	return h.bad && m.others(func(o *host) bool { return !o.bad && !m.rift.shunned[o.name] })
}

// suspect learns from a task that has committed: where it did, and where it had failed before.
func (m *Machine) suspect(t *task) (effects []Effect) {
	t.host.did++
	m.did++
	if t.hurt == nil || t.hurt.told {
		return nil
	}
	var on []*host
	for h := range t.hurt.failures {
		if h != t.host {
			on = append(on, h)
		}
	}
	slices.SortFunc(on, func(a, b *host) int { return cmp.Compare(a.name, b.name) })
	for _, h := range on {
		t.hurt.told = true
		h.suspects++
		m.suspects++
		if !h.bad && m.unwell(h) && m.others(func(o *host) bool { return o != h && !o.bad }) {
			effects = append(effects, m.quarantine(h))
		}
	}
	return effects
}

// unwell reports whether h fails much more often than others.
func (m *Machine) unwell(h *host) bool {
	all, elsewhere := h.did+h.suspects, m.did+m.suspects-h.did-h.suspects
	return h.suspects >= leastSuspects && h.suspects*8 >= all && h.suspects*elsewhere >= 3*(m.suspects-h.suspects)*all
}

func (m *Machine) quarantine(h *host) Effect {
	h.bad, h.until = true, m.now.Add(quarantine)
	m.bad = append(m.bad, h)
	return Quarantine{h.name, fmt.Sprintf("%d tasks failed there and succeeded elsewhere; it has done %d", h.suspects, h.did), quarantine}
}

// pardon ends quarantines that have lasted long enough.
func (m *Machine) pardon() {
	m.bad = slices.DeleteFunc(m.bad, func(h *host) bool {
		if m.now.Before(h.until) {
			return false
		}
		m.did -= h.did
		m.suspects -= h.suspects
		h.health = health{times: h.times, pace: h.pace}
		return true
	})
}
