package coordinator

// follow answers a reduce attempt with the runs that it was not told of, now or when there are some.
func (m *Machine) follow(e Followed) []Effect {
	f := &e.Follow
	if m.succeeded(f.Sender) {
		return m.stepDown(f.Epoch)
	}
	effects, why := m.admit(f.Sender, e.Now)
	var t *task
	if why == "" {
		t, why = m.current(f.Attempt, f.Node)
	}
	if why != "" || !t.id.IsReduce() || f.Next < 0 || f.Next > len(m.runs) {
		return append(effects, Tell{e.Ticket, Arrivals{Gone: true}})
	}
	// An earlier question is one that it no longer waits for.
	effects = append(effects, m.answer(t, Arrivals{Next: t.next})...)
	t.follows, t.next, t.complete = e.Ticket, f.Next, false // or it would not ask
	if len(f.Missing) > 0 {
		effects = append(effects, m.missing(t, &e)...)
	}
	return append(effects, m.tell(t)...)
}

// tellAll tells all reduces that wait for runs what has come since they asked.
func (m *Machine) tellAll() (effects []Effect) {
	for _, t := range m.reds {
		effects = append(effects, m.tell(t)...)
	}
	return effects
}

// tell tells t what has come since it asked, if anything has.
func (m *Machine) tell(t *task) []Effect {
	if t.follows == 0 {
		return nil
	}
	a := m.arrivals(t.next)
	if len(a.Runs) == 0 && !a.All {
		return nil
	}
	t.complete = a.All
	return m.answer(t, a)
}

// answer answers the question of t that waits, if there is one.
func (m *Machine) answer(t *task, a Arrivals) []Effect {
	if t.follows == 0 {
		return nil
	}
	ticket := t.follows
	t.follows = 0
	return []Effect{Tell{ticket, a}}
}

// merged returns the Vector of a reduce attempt that was told all runs.
func (m *Machine) merged() (sum uint64) {
	for _, t := range m.maps {
		sum += merged(t.id, t.shown.Vector)
	}
	return sum
}

// arrivals returns runs that count, from the place next of all.
func (m *Machine) arrivals(next int) Arrivals {
	a := Arrivals{Next: next}
	for ; a.Next < len(m.runs) && len(a.Runs) < maxRuns; a.Next++ {
		r := m.runs[a.Next]
		if t := m.tasks[r.Attempt.Task]; t.state == committed && t.attempt() == r.Attempt {
			t.shown = r
			a.Runs = append(a.Runs, r)
		}
	}
	a.All = m.mapped() && a.Next == len(m.runs)
	return a
}
