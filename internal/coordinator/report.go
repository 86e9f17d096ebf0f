package coordinator

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millrace/millrace/job"
)

// current returns the attempt of that name that is under way on a node, or says why there is none.
func (m *Machine) current(id job.AttemptID, node string) (*attempt, string) {
	t := m.task(id.Task)
	switch {
	case t == nil:
		return nil, fmt.Sprintf("no task %s", id.Task)
	case t.state == committed:
		return nil, fmt.Sprintf("beaten by %s", t.attempt())
	case m.over:
		return nil, "the job is over"
	}
	for _, a := range t.live {
		if a.try == id.Try && a.seat.host.name == node {
			return a, ""
		}
	}
	return nil, fmt.Sprintf("%s is not leased to %s", id, node)
}

func (m *Machine) reported(e Reported) []Effect {
	c := &e.Commit
	if m.succeeded(c.Sender) {
		return m.stepDown(c.Epoch)
	}
	effects, why := m.admit(c.Sender)
	t := m.task(c.Attempt.Task)
	if t != nil && t.state == committed && t.attempt() == c.Attempt && t.host.name == c.Node && m.conf.Job == c.Job {
		// Said before, to this coordinator or to one before it; what it names is output of the job. No two attempts have one name.
		return append(effects, Judge{e.Ticket, Verdict{Accepted: true}})
	}
	var a *attempt
	if why == "" {
		a, why = m.current(c.Attempt, c.Node)
	}
	if why != "" {
		if t != nil && t.state == committed && t.counts != c.Attempt.Try {
			m.loser(t, c.Attempt.Try)
		}
		return append(append(effects, Judge{e.Ticket, Verdict{Reason: why}}), discard(&c.Result)...)
	}
	if t.id.IsReduce() && c.Result.Vector != m.merged {
		why = fmt.Sprintf("%s has merged other runs than those that count", c.Attempt)
		return append(append(effects, Judge{e.Ticket, Verdict{Reason: why}}), discard(&c.Result)...)
	}
	if t.shown != nil && t.shown.Vector != c.Result.Vector {
		why = fmt.Sprintf("the program is not deterministic: %s on %s emitted other records than %s on %s, which was lost and may have been reduced",
			c.Attempt, c.Node, t.shown.Attempt, t.shown.Node)
		effects = append(append(effects, Judge{e.Ticket, Verdict{Reason: why}}), discard(&c.Result)...)
		return append(effects, m.fail(&job.Error{Err: errors.New(why)})...)
	}
	var on []*host
	for _, b := range t.live {
		on = append(on, b.seat.host)
	}
	effects = append(effects, m.commit(a, &c.Result)...)
	effects = append(effects, Judge{e.Ticket, Verdict{Accepted: true}})
	if err := m.hopeless(); err != nil {
		return append(effects, m.fail(err)...)
	}
	if m.mapped() {
		effects = append(effects, m.tellAll()...) // what comes before goes with the next tick
	}
	effects = append(effects, m.advance()...)
	for _, h := range on {
		effects = append(effects, m.grantNode(h)...) // it runs one less, or is not slow any more
	}
	return effects
}

// commit has an attempt count.
func (m *Machine) commit(a *attempt, r *Result) []Effect {
	t, h := a.task, a.seat.host
	a.seat.heard = m.now
	m.timed(a)
	effects := []Effect{Append{Record{Committed: &Committed{a.id(), h.name, h.incarnation, t.skip(), r.logged()}}}}
	effects = append(effects, m.drop(a)...)
	for _, b := range slices.Clone(t.live) {
		m.outrun(b)
		effects = append(effects, m.drop(b)...)
		effects = append(effects, Revoke{b.seat.host.name, b.id(), "beaten by " + a.id().String()})
	}
	t.state, t.counts, t.host, t.result = committed, a.try, h, r
	m.counted(t)
	return append(effects, m.suspect(t)...)
}

// counted adds what a task that has just committed came to.
func (m *Machine) counted(t *task) {
	m.count(&t.result.Counters, 1)
	m.shuffle += t.result.Shuffle
	m.peak = max(m.peak, t.result.Counters.PeakMemory)
	if t.id.IsReduce() {
		m.redsDone++
		return
	}
	m.mapsDone++
	if m.conf.Reducers == 0 {
		return
	}
	t.host.done = append(t.host.done, t)
	if t.host.heard {
		m.runs = append(m.runs, run{t, t.counts})
	} else {
		t.away = true
		m.away++
	}
}

// loser counts an attempt of a committed task that was done as well.
func (m *Machine) loser(t *task, try int) {
	if h := t.pain(); !slices.Contains(h.beaten, try) {
		h.beaten = append(h.beaten, try)
		m.beaten++
	}
}

func (m *Machine) broken(e Broken) []Effect {
	f := &e.Failure
	if m.succeeded(f.Sender) {
		return m.stepDown(f.Epoch)
	}
	effects, why := m.admit(f.Sender)
	var a *attempt
	if why == "" {
		a, why = m.current(f.Attempt, f.Node)
	}
	if why != "" {
		return append(effects, Judge{e.Ticket, Verdict{Reason: why}})
	}
	effects = append(effects, Judge{e.Ticket, Verdict{Accepted: true}})
	a.seat.heard = m.now
	again := f.Fault != FaultJob && a.task.blame(f, a.seat.host)
	if f.Fault == FaultRun {
		if mt := m.task(f.Run.Task); mt != nil && !mt.id.IsReduce() && mt.state == committed && mt.attempt() == f.Run {
			on := mt.host
			effects = append(effects, m.lose(mt)...)
			mt.pain().failed(on)
			again = mt.hurt.count() < maxFailures
		}
	}
	effects = append(effects, m.end(a)...)
	if !again {
		err := errors.New(f.Reason)
		if f.Fault != FaultJob {
			err = &job.AttemptError{Attempt: f.Attempt, Node: f.Node, Err: err}
		}
		return append(effects, m.fail(&job.Error{Err: err})...)
	}
	if err := m.hopeless(); err != nil {
		return append(effects, m.fail(err)...)
	}
	return append(effects, m.grant()...)
}

// discard gives up pending output.
func discard(r *Result) []Effect {
	if handles := r.handles(); len(handles) > 0 {
		return []Effect{Discard{handles}}
	}
	return nil
}
