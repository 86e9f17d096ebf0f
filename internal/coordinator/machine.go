package coordinator

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/placement"
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

// A Machine decides what is done next for one job: event in, effects out. It has no clock, no goroutine and does no I/O.
// It is not safe for concurrent use.
type Machine struct {
	conf   Config
	tasks  map[job.TaskID]*task
	maps   []*task
	reds   []*task
	queue  *placement.Queue  // map tasks that wait
	later  *placement.Spread // reduce tasks that wait, until no map does
	runs   []Run             // of committed maps, oldest first; also those that were lost since
	asked  *asks             // wants without an answer
	nodes  map[string]uint64 // incarnation of each
	slots  map[slot]*seat
	leases int // granted
	rift   rift
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

// New returns a Machine for a job that is about to start.
func New(conf Config) *Machine {
	return &Machine{
		conf:  conf,
		tasks: make(map[job.TaskID]*task),
		queue: placement.New(conf.Patience),
		later: placement.NewSpread(conf.Patience),
		asked: newAsks(),
		nodes: make(map[string]uint64),
		slots: make(map[slot]*seat),
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
	effects := m.take(e)
	return append(effects, m.recall()...)
}

func (m *Machine) take(e Event) []Effect {
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
		effects := append([]Effect{Append{Record{Plan: e.Digest}}}, m.advance()...)
		return append(effects, m.grant(time.Time{})...)
	case Asked:
		return m.ask(e)
	case Followed:
		return m.follow(e)
	case Withdrawn:
		m.withdraw(e.Ticket)
		return nil
	case Noted:
		return m.noted(e)
	case Reported:
		return m.reported(e)
	case Broken:
		return m.broken(e)
	case Progressed:
		return m.progressed(e)
	case Lost:
		return m.lost(e)
	case Vacated:
		return m.vacated(e)
	case Ticked:
		return append(m.tellAll(), m.grant(e.Now)...)
	case Stopped:
		return m.fail(e.Cause)
	}
	panic(fmt.Sprintf("coordinator: unknown event %T", e))
}

func (m *Machine) planned(e Planned) []Effect {
	t := &task{id: e.Split.Task, split: e.Split, since: m.now}
	m.tasks[t.id] = t
	m.maps = append(m.maps, t)
	everybody := m.queue.Push(t.place())
	return m.offer(t, everybody)
}

func (m *Machine) noted(e Noted) []Effect {
	if e.Away {
		m.queue.Absent(e.Node)
		m.later.Absent(e.Node)
	} else {
		m.queue.Present(e.Node, e.Zone, e.Slots)
		m.later.Present(e.Node)
	}
	return m.grant(e.Now)
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

// mapped reports whether every map task is committed.
func (m *Machine) mapped() bool { return m.sealed && m.mapsDone == len(m.maps) }

// advance goes on to the end when everything is committed.
func (m *Machine) advance() []Effect {
	if m.over || !m.mapped() || m.redsDone < m.conf.Reducers {
		return nil
	}
	if !m.conf.Tolerates(m.total.Failed, m.total.Objects) {
		return m.fail(&job.Error{Err: fmt.Errorf("%d of %d objects failed, more than the job tolerates%s",
			m.total.Failed, m.total.Objects, m.example())})
	}
	m.over = true
	return append(m.dismiss(), Finish{})
}

func (m *Machine) fail(err error) []Effect {
	if m.over {
		return nil
	}
	m.over = true
	return append(m.dismiss(), Fail{err})
}

// dismiss answers everybody who waits for work, or for runs.
func (m *Machine) dismiss() (effects []Effect) {
	for a := range m.asked.each() {
		effects = append(effects, Grant{a.Ticket, Lease{Over: true}})
	}
	m.asked = newAsks()
	for _, t := range m.reds {
		effects = append(effects, m.answer(t, Arrivals{Gone: true})...)
	}
	return effects
}
