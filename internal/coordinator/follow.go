package coordinator

// follow answers a reduce attempt with the runs that it was not told of, now or when there are some.
func (m *Machine) follow(e Followed) []Effect {
	f := &e.Follow
	if m.succeeded(f.Sender) {
		return m.stepDown(f.Epoch)
	}
	effects, why := m.admit(f.Sender)
	var a *attempt
	if why == "" {
		a, why = m.current(f.Attempt, f.Node)
	}
	if why != "" || !f.Attempt.Task.IsReduce() || f.Next < 0 || f.Next > len(m.runs) {
		return append(effects, Tell{e.Ticket, Arrivals{Gone: true}})
	}
	// An earlier question is one that it no longer waits for.
	effects = append(effects, m.answer(a, Arrivals{Next: a.next})...)
	a.follows, a.next, a.complete = e.Ticket, f.Next, false // or it would not ask
	m.follows[e.Ticket] = a
	if len(f.Missing) > 0 {
		effects = append(effects, m.missing(a, &e)...)
	}
	return append(effects, m.tell(a)...)
}

// tellAll tells all reduces that wait for runs what has come since they asked.
func (m *Machine) tellAll() (effects []Effect) {
	if len(m.follows) == 0 || m.told == len(m.runs) {
		return nil
	}
	m.told = len(m.runs)
	for _, t := range m.reds {
		for _, a := range t.live {
			effects = append(effects, m.tell(a)...)
		}
	}
	return effects
}

// tell tells a what has come since it asked, if anything has.
func (m *Machine) tell(a *attempt) []Effect {
	if a.follows == 0 {
		return nil
	}
	new := m.arrivals(a.next)
	if len(new.Runs) == 0 && !new.All {
		return nil
	}
	if a.complete = new.All; new.All {
		a.began = m.now // it has waited until now
	}
	return m.answer(a, new)
}

// answer answers the question of a that waits, if there is one.
func (m *Machine) answer(a *attempt, with Arrivals) []Effect {
	if a.follows == 0 {
		return nil
	}
	ticket := a.follows
	a.follows = 0
	delete(m.follows, ticket)
	return []Effect{Tell{ticket, with}}
}

// arrivals returns runs that count, from the place next of all.
func (m *Machine) arrivals(next int) Arrivals {
	a := Arrivals{Next: next}
	for ; a.Next < len(m.runs) && len(a.Runs) < maxRuns; a.Next++ {
		if r := m.runs[a.Next]; r.there() {
			said := r.task.run()
			m.show(r.task, said)
			a.Runs = append(a.Runs, said)
		}
	}
	a.All = m.mapped() && a.Next == len(m.runs)
	return a
}

// show notes what reducers were told to merge of a map task.
func (m *Machine) show(t *task, r Run) {
	m.merged += merged(t.id, r.Vector) - t.vector()
	t.shown = &r
}

// vector is what a map task adds to the Vector of a reduce attempt.
func (t *task) vector() uint64 {
	if t.shown == nil {
		return merged(t.id, 0)
	}
	return merged(t.id, t.shown.Vector)
}
