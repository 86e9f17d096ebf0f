package coordinator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/placement"
	"github.com/millrace/millrace/store"
)

// A Config is what a [Machine] knows from the start.
type Config struct {
	Job      string
	Epoch    uint64
	Reducers int // partitions; 0: a map-only job
	// Tolerates reports whether a job of total objects commits with that many failed.
	Tolerates func(failed, total int64) bool
	Patience  time.Duration // of placement
}

// firstFailures is how many objects must fail at the start of a job, without one success, for it to stop at once.
const firstFailures = 100

// A Machine decides what is done next for one job: event in, effects out. It has no clock, no goroutine and does no I/O.
// It is not safe for concurrent use.
type Machine struct {
	conf   Config
	tasks  map[job.TaskID]*task
	maps   []*task
	reds   []*task
	queue  *placement.Queue  // map tasks that wait
	later  *placement.Queue  // reduce tasks that wait, until every map is committed
	asked  []Asked           // wants without an answer, oldest first
	nodes  map[string]uint64 // incarnation of each
	slots  map[slot]*task    // the last that each was given
	sealed bool
	digest string
	cuts   [][]byte // borders of partitions; nil: keys are hashed

	now time.Time // the latest that At was told

	mapsDone, redsDone int
	total              job.Counters // of committed attempts
	retries, beaten    int64
	shuffle            int64
	over               bool // Finish or Fail was returned
}

// A slot is one of a node.
type slot struct {
	node string
	n    int
}

// New returns a Machine for a job that is about to start.
func New(conf Config) *Machine {
	return &Machine{
		conf:  conf,
		tasks: make(map[job.TaskID]*task),
		queue: placement.New(conf.Patience),
		later: placement.New(conf.Patience),
		nodes: make(map[string]uint64),
		slots: make(map[slot]*task),
		total: job.Counters{User: make(map[string]int64)},
	}
}

// At tells the machine what time it is. It only counts by it how long tasks wait for a slot.
func (m *Machine) At(now time.Time) {
	if now.After(m.now) {
		m.now = now
	}
}

// Step takes an event and returns what is to be done about it.
func (m *Machine) Step(e Event) []Effect {
	switch e := e.(type) {
	case Planned:
		return m.planned(e)
	case Cut:
		m.cuts = e.Keys
		return []Effect{Append{Record{Cuts: e.Keys}}}
	case Sealed:
		if m.over {
			return nil
		}
		m.sealed, m.digest = true, e.Digest
		return append([]Effect{Append{Record{Plan: e.Digest}}}, m.advance(time.Time{})...)
	case Asked:
		return m.ask(e)
	case Withdrawn:
		for i, a := range m.asked {
			if a.Ticket == e.Ticket {
				m.asked = append(m.asked[:i], m.asked[i+1:]...)
				break
			}
		}
		return nil
	case Reported:
		return m.reported(e)
	case Broken:
		return m.broken(e)
	case Progressed:
		return m.progressed(e)
	case Lost:
		return m.lost(e)
	case Ticked:
		return m.grant(e.Now)
	case Stopped:
		return m.fail(e.Cause)
	}
	panic(fmt.Sprintf("coordinator: unknown event %T", e))
}

func (m *Machine) planned(e Planned) []Effect {
	t := &task{id: e.Split.Task, split: e.Split, since: m.now}
	m.tasks[t.id] = t
	m.maps = append(m.maps, t)
	m.queue.Push(t.place())
	return m.grant(time.Time{})
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

// succeeded reports whether the sender knows of a later coordinator. What it says is not ours to answer: a refusal would have it
// give up what the other one counts.
func (m *Machine) succeeded(s Sender) bool { return s.Job == m.conf.Job && s.Epoch > m.conf.Epoch }

// stepDown ends this coordinator's work for good.
func (m *Machine) stepDown(epoch uint64) []Effect {
	return m.fail(fmt.Errorf("coordinator of epoch %d: that of epoch %d took over", m.conf.Epoch, epoch))
}

// admit checks who speaks and returns why that is refused, "" if it is not.
func (m *Machine) admit(s Sender, now time.Time) (effects []Effect, why string) {
	switch seen := m.nodes[s.Node]; {
	case s.Job != m.conf.Job:
		return nil, fmt.Sprintf("job %s is not %s", s.Job, m.conf.Job)
	case s.Epoch != m.conf.Epoch:
		return nil, fmt.Sprintf("epoch %d is not %d", s.Epoch, m.conf.Epoch)
	case s.Incarnation < seen:
		return nil, fmt.Sprintf("node %s was started again", s.Node)
	case s.Incarnation > seen:
		if seen != 0 {
			effects = m.lost(Lost{Node: s.Node, Now: now})
		}
		m.nodes[s.Node] = s.Incarnation
	}
	return effects, ""
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
	if t.shown.Attempt.Try > 0 && t.shown.Vector != c.Result.Vector {
		why = fmt.Sprintf("the program is not deterministic: %s on %s emitted other records than %s on %s, which was lost and may have been reduced",
			c.Attempt, c.Node, t.shown.Attempt, t.shown.Node)
		effects = append(effects, Judge{e.Ticket, Verdict{Reason: why}}, Discard{c.Result.handles()})
		return append(effects, m.fail(&job.Error{Err: errors.New(why)})...)
	}
	t.state, t.result = committed, c.Result
	m.count(&c.Result.Counters, 1)
	m.shuffle += c.Result.Shuffle
	if t.id.IsReduce() {
		m.redsDone++
	} else {
		m.mapsDone++
	}
	effects = append(effects,
		Append{Record{Committed: &Committed{c.Attempt, c.Node, c.Result}}},
		Judge{e.Ticket, Verdict{Accepted: true}})
	if err := m.hopeless(); err != nil {
		return append(effects, m.fail(err)...)
	}
	return append(effects, m.advance(time.Time{})...)
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
	m.retries++
	again := f.Fault != FaultJob && t.blame(f)
	if f.Fault == FaultRun {
		if mt := m.tasks[f.Run.Task]; mt != nil && !mt.id.IsReduce() && mt.state == committed && mt.attempt() == f.Run {
			effects = append(effects, m.lose(mt)...)
			mt.failures++
			again = mt.failures < maxFailures
		}
	}
	t.state, t.node, t.running = waiting, "", Running{}
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
	m.again(t)
	return append(effects, m.grant(e.Now)...)
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

func (m *Machine) progressed(e Progressed) []Effect {
	if _, why := m.admit(e.Beat.Sender, time.Time{}); why != "" {
		return nil
	}
	for _, r := range e.Beat.Running {
		if t, why := m.current(r.Attempt, e.Beat.Node); why == "" {
			t.running = r
		}
	}
	if err := m.hopeless(); err != nil {
		return m.fail(err)
	}
	return nil
}

// lost puts back what a node was doing and, while reducers may still ask for it, what it had done.
func (m *Machine) lost(e Lost) (effects []Effect) {
	if m.over {
		return nil
	}
	kept := m.asked[:0]
	for _, a := range m.asked {
		if a.Want.Node == e.Node {
			effects = append(effects, Grant{a.Ticket, Lease{Over: true}})
			continue
		}
		kept = append(kept, a)
	}
	m.asked = kept
	for _, t := range append(append([]*task(nil), m.maps...), m.reds...) {
		switch {
		case t.node != e.Node || t.state == waiting:
			continue
		case t.state == committed && (t.id.IsReduce() || m.conf.Reducers == 0):
			continue // what it published does not need the node
		case t.state == committed:
			effects = append(effects, m.lose(t)...)
			continue
		}
		m.retries++
		t.state, t.node, t.running = waiting, "", Running{}
		m.again(t)
	}
	return append(effects, m.grant(e.Now)...)
}

// lose puts back a committed map task whose runs are gone.
func (m *Machine) lose(t *task) []Effect {
	m.mapsDone--
	m.count(&t.result.Counters, -1)
	m.shuffle -= t.result.Shuffle
	m.retries++
	handles := t.result.handles()
	t.state, t.node, t.result, t.running = waiting, "", Result{}, Running{}
	m.again(t)
	return []Effect{Append{Record{Lost: t.id}}, Discard{handles}}
}

// advance goes on to the reducers when all maps are committed, and to the end when everything is.
func (m *Machine) advance(now time.Time) []Effect {
	if m.over || !m.sealed || m.mapsDone < len(m.maps) {
		return m.grant(now)
	}
	if len(m.reds) < m.conf.Reducers {
		for i := range m.conf.Reducers {
			t := &task{id: job.ReduceTask(i), part: i, since: m.now}
			m.tasks[t.id] = t
			m.reds = append(m.reds, t)
			m.later.Push(t.place())
		}
	}
	if m.redsDone < m.conf.Reducers {
		return m.grant(now)
	}
	if !m.conf.Tolerates(m.total.Failed, m.total.Objects) {
		return m.fail(&job.Error{Err: fmt.Errorf("%d of %d objects failed, more than the job tolerates%s",
			m.total.Failed, m.total.Objects, m.example())})
	}
	m.over = true
	return append(m.dismiss(), Finish{})
}

// hopeless returns an error if the job began with nothing but failures.
func (m *Machine) hopeless() error {
	p := m.Progress()
	if p.Failed < firstFailures || p.Failed < p.Objects || m.conf.Tolerates(1, 1) {
		return nil
	}
	return &job.Error{Err: fmt.Errorf("the first %d objects all failed%s", p.Failed, m.example())}
}

// example names one failed object, if one is known.
func (m *Machine) example() string {
	for _, t := range m.maps {
		n := t.running.Example
		if len(t.result.Names) > 0 {
			n = &t.result.Names[0]
		}
		if n != nil {
			return fmt.Sprintf("; %s: %s", n.URI, n.Reason)
		}
	}
	return ""
}

func (m *Machine) fail(err error) []Effect {
	if m.over {
		return nil
	}
	m.over = true
	return append(m.dismiss(), Fail{err})
}

// dismiss answers everybody who waits for work.
func (m *Machine) dismiss() (effects []Effect) {
	for _, a := range m.asked {
		effects = append(effects, Grant{a.Ticket, Lease{Over: true}})
	}
	m.asked = nil
	return effects
}

func (m *Machine) count(c *job.Counters, sign int64) {
	t := &m.total
	t.Objects += sign * c.Objects
	t.Bytes += sign * c.Bytes
	t.Failed += sign * c.Failed
	t.Checked += sign * c.Checked
	t.Unchecked += sign * c.Unchecked
	t.Emitted += sign * c.Emitted
	t.Output += sign * c.Output
	t.Queue += time.Duration(sign) * c.Queue
	t.Run += time.Duration(sign) * c.Run
	t.CPU += time.Duration(sign) * c.CPU
	t.Reads += sign * c.Reads
	t.ReadBytes += sign * c.ReadBytes
	t.Writes += sign * c.Writes
	t.WriteBytes += sign * c.WriteBytes
	t.LogLines += sign * c.LogLines
	t.LogDropped += sign * c.LogDropped
	t.Restored += sign * c.Restored
	for k, v := range c.User {
		t.User[k] += sign * v
	}
	t.Channels = t.Channels.Plus(c.Channels, sign)
}

// Progress describes the job as it stands, without what only the outside knows (listing, publishing, time).
func (m *Machine) Progress() job.Progress {
	p := job.Progress{
		Job: m.conf.Job, Phase: job.Mapping, ListDone: m.sealed,
		Objects: m.total.Objects, Bytes: m.total.Bytes, Failed: m.total.Failed, Records: m.total.Emitted,
		Maps: m.mapsDone, MapTotal: len(m.maps),
		ShuffleBytes: m.shuffle, Reduces: m.redsDone, ReduceTotal: m.conf.Reducers,
		Queue: m.total.Queue, Run: m.total.Run, CPU: m.total.CPU, PeakMemory: m.peak(),
	}
	for _, t := range m.maps {
		if t.state == leased {
			p.Objects += t.running.Objects
			p.Bytes += t.running.Bytes
			p.Failed += t.running.Failed
			p.Records += t.running.Records
		}
	}
	switch {
	case m.over:
		p.Phase = job.Committing
	case m.sealed && m.mapsDone == len(m.maps) && m.conf.Reducers > 0:
		p.Phase = job.Reducing
	}
	return p
}

// peak returns the memory of the largest committed attempt.
func (m *Machine) peak() (n int64) {
	for _, ts := range [][]*task{m.maps, m.reds} {
		for _, t := range ts {
			if t.state == committed {
				n = max(n, t.result.Counters.PeakMemory)
			}
		}
	}
	return n
}

// An Outcome is all that committed attempts made.
type Outcome struct {
	Digest   string // of the plan
	Counters job.Counters
	Parts    map[job.TaskID]*Result
}

// Outcome returns what committed attempts made. It is complete after Finish.
func (m *Machine) Outcome() Outcome {
	o := Outcome{Digest: m.digest, Counters: m.total, Parts: make(map[job.TaskID]*Result)}
	o.Counters.Retries, o.Counters.Beaten, o.Counters.PeakMemory = m.retries, m.beaten, m.peak()
	for _, t := range m.tasks {
		o.Counters.Attempts += int64(t.try)
		if t.state == committed {
			o.Parts[t.id] = &t.result
		}
	}
	return o
}

// handles returns the pending output that r names.
func (r *Result) handles() (hs []store.Handle) {
	pending := []*store.Pending{r.Part, r.Failed}
	for _, p := range r.Members {
		pending = append(pending, p.Part, p.Failed)
	}
	for _, p := range pending {
		if p != nil {
			hs = append(hs, p.Handle)
		}
	}
	return hs
}

// Order returns the tasks of an outcome whose attempts may have made something to publish, in the order of what is published.
func (o *Outcome) Order() []job.TaskID {
	return slices.SortedFunc(maps.Keys(o.Parts), job.TaskID.Compare)
}
