package coordinator

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/job"
)

// current returns the task of an attempt that is the one leased to node, or says why it is not.
func (m *Machine) current(a job.AttemptID, node string) (*task, string) {
	t := m.tasks[a.Task]
	switch {
	case t == nil:
		return nil, fmt.Sprintf("no task %s", a.Task)
	case t.state == committed:
		return nil, fmt.Sprintf("beaten by %s", t.attempt())
	case t.state != leased || t.attempt() != a || t.node != node:
		return nil, fmt.Sprintf("%s is not leased to %s", a, node)
	case m.over:
		return nil, "the job is over"
	}
	return t, ""
}

func (m *Machine) reported(e Reported) []Effect {
	c := &e.Commit
	if m.succeeded(c.Sender) {
		return m.stepDown(c.Epoch)
	}
	effects, why := m.admit(c.Sender, time.Time{})
	t := m.tasks[c.Attempt.Task]
	if t != nil && t.state == committed && t.attempt() == c.Attempt {
		// Said before; what it names is output of the job.
		if why == "" && t.node != c.Node {
			why = "beaten by " + t.attempt().String()
		}
		return append(effects, Judge{e.Ticket, Verdict{Accepted: why == "", Reason: why}})
	}
	if why == "" {
		t, why = m.current(c.Attempt, c.Node)
	}
	if why != "" {
		if t := m.tasks[c.Attempt.Task]; t != nil && t.state == committed && !slices.Contains(t.beaten, c.Attempt.Try) {
			t.beaten = append(t.beaten, c.Attempt.Try)
			m.beaten++
		}
		return append(effects, Judge{e.Ticket, Verdict{Reason: why}}, Discard{c.Result.handles()})
	}
	if t.id.IsReduce() && c.Result.Vector != m.merged() {
		why = fmt.Sprintf("%s has merged other runs than those that count", c.Attempt)
		return append(effects, Judge{e.Ticket, Verdict{Reason: why}}, Discard{c.Result.handles()})
	}
	if t.shown.Attempt.Try > 0 && t.shown.Vector != c.Result.Vector {
		why = fmt.Sprintf("the program is not deterministic: %s on %s emitted other records than %s on %s, which was lost and may have been reduced",
			c.Attempt, c.Node, t.shown.Attempt, t.shown.Node)
		effects = append(effects, Judge{e.Ticket, Verdict{Reason: why}}, Discard{c.Result.handles()})
		return append(effects, m.fail(&job.Error{Err: errors.New(why)})...)
	}
	t.state, t.result = committed, c.Result
	m.seat(slot{t.node, t.slot})
	m.count(&c.Result.Counters, 1)
	m.shuffle += c.Result.Shuffle
	if t.id.IsReduce() {
		m.later.Done(t.node)
		m.redsDone++
	} else {
		m.mapsDone++
		m.runs = append(m.runs, Run{t.attempt(), t.node, t.result.Vector, c.Incarnation})
	}
	effects = append(effects,
		Append{Record{Committed: &Committed{c.Attempt, c.Node, c.Incarnation, c.Result.logged()}}},
		Judge{e.Ticket, Verdict{Accepted: true}})
	if err := m.hopeless(); err != nil {
		return append(effects, m.fail(err)...)
	}
	if m.mapped() {
		effects = append(effects, m.tellAll()...) // what comes before goes with the next tick
	}
	if effects = append(effects, m.advance()...); t.id.IsReduce() {
		effects = append(effects, m.grantNode(t.node)...) // it runs one less
	}
	return effects
}

func (m *Machine) broken(e Broken) []Effect {
	f := &e.Failure
	if m.succeeded(f.Sender) {
		return m.stepDown(f.Epoch)
	}
	effects, why := m.admit(f.Sender, e.Now)
	var t *task
	if why == "" {
		t, why = m.current(f.Attempt, f.Node)
	}
	if why != "" {
		return append(effects, Judge{e.Ticket, Verdict{Reason: why}})
	}
	effects = append(effects, Judge{e.Ticket, Verdict{Accepted: true}})
	m.seat(slot{t.node, t.slot})
	again := f.Fault != FaultJob && t.blame(f)
	if f.Fault == FaultRun {
		if mt := m.tasks[f.Run.Task]; mt != nil && !mt.id.IsReduce() && mt.state == committed && mt.attempt() == f.Run {
			effects = append(effects, m.lose(mt)...)
			mt.failures++
			again = mt.failures < maxFailures
		}
	}
	effects = append(effects, m.again(t)...)
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
	return append(effects, m.grant(e.Now)...)
}
