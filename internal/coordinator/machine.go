package coordinator

import (
	"container/list"
	"errors"
	"fmt"
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
	// Alone has no two attempts of a task run at the same time: what they print is shown as it comes.
	Alone bool
	// Term counts the coordinators that the job has had, this one included: the Lead entries of its log. 0 is 1.
	Term int
}

// maxTries bounds the attempts of one task under one coordinator. Those of the n-th coordinator have numbers above n-1 times as many: whatever one before
// it has leased, with a trace in the log or without, has another name.
const maxTries = 1_000_000

// A Machine decides what is done next for one job: event in, effects out. It has no clock, no goroutine and does no I/O.
// It is not safe for concurrent use.
type Machine struct {
	conf    Config
	base    int // attempts of this coordinator have higher numbers
	maps    []*task
	reds    []*task
	queue   *placement.Queue  // map tasks that wait
	later   *placement.Spread // reduce tasks that wait, until no map does
	running list.List         // of *task: those that are leased, in the order in which they were
	runs    []run             // of committed maps, oldest first; also those that were lost since
	told    int               // of those, how many reduces that wait were told
	merged  uint64            // Vector of a reduce attempt that was told all runs
	hosts   map[string]*host
	asked   list.List        // of *seat: those whose want has no answer, the oldest first
	tickets map[Ticket]*seat // the same
	follows map[Ticket]*attempt
	leases  int // granted
	rift    rift
	spare   int // attempts under way beside another one of their task
	pushed  bool
	sealed  bool
	digest  string
	cuts    [][]byte // borders of partitions; nil: keys are hashed
	void    []store.Handle

	began, now time.Time // the first and the latest that it was told

	mapsDone, redsDone         int
	away                       int          // committed maps on nodes that were not heard of
	total                      job.Counters // of committed attempts
	under                      Running      // sums over map attempts under way
	attempts, retries, backups int64
	beaten                     int64
	shuffle, peak              int64
	paces                      [2]pace // of maps, of reduces
	slowest                    []*task // that a backup may be begun of, as of the last tick
	did, suspects              int64   // of all nodes
	bad                        []*host // those in quarantine
	over                       bool    // Finish or Fail was returned
}

// New returns a Machine for a job that is about to start.
func New(conf Config) *Machine {
	return &Machine{
		conf:    conf,
		base:    max(conf.Term-1, 0) * maxTries,
		queue:   placement.New(conf.Patience),
		later:   placement.NewSpread(conf.Patience),
		hosts:   make(map[string]*host),
		tickets: make(map[Ticket]*seat),
		follows: make(map[Ticket]*attempt),
		total:   job.Counters{User: make(map[string]int64)},
	}
}

// At tells the machine what time it is.
func (m *Machine) At(now time.Time) {
	if m.began.IsZero() {
		m.began = now
	}
	if now.After(m.now) {
		m.now = now
	}
}

// Step takes an event and returns what is to be done about it.
func (m *Machine) Step(e Event) []Effect {
	effects := m.take(e)
	if _, tick := e.(Ticked); tick || m.pushed {
		effects = append(effects, m.recall()...)
	}
	m.pushed = false
	return effects
}

func (m *Machine) take(e Event) []Effect {
	switch e := e.(type) {
	case Started:
		return m.started()
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
		effects := append([]Effect{Append{Record{Plan: e.Digest, Listed: e.Listed}}}, m.advance()...)
		return append(effects, m.grant()...)
	case Asked:
		m.At(e.Now)
		return m.ask(e)
	case Followed:
		m.At(e.Now)
		return m.follow(e)
	case Withdrawn:
		m.withdraw(e.Ticket)
		return nil
	case Noted:
		m.At(e.Now)
		return m.noted(e)
	case Reported:
		return m.reported(e)
	case Broken:
		m.At(e.Now)
		return m.broken(e)
	case Progressed:
		return m.progressed(e)
	case Lost:
		m.At(e.Now)
		return m.lost(e)
	case Vacated:
		m.At(e.Now)
		return m.vacated(e)
	case Ticked:
		m.At(e.Now)
		m.pardon()
		return append(append(m.tellAll(), m.grant()...), m.backup()...)
	case Stopped:
		return m.fail(e.Cause)
	}
	panic(fmt.Sprintf("coordinator: unknown event %T", e))
}

func (m *Machine) planned(e Planned) []Effect {
	t := m.add(&e.Split)
	everybody := m.queue.Push(t.wants())
	if m.over {
		return nil
	}
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
	var effects []Effect
	if e.Incarnation != 0 && !e.Away && !m.over {
		effects, _ = m.admit(Sender{m.conf.Job, m.conf.Epoch, e.Node, e.Incarnation})
	}
	return append(effects, m.grant()...)
}

// add makes the task of the split that follows those before.
func (m *Machine) add(s *job.Split) *task {
	if want := job.MapTask(len(m.maps)); s.Task != want {
		panic(fmt.Sprintf("coordinator: %s is planned in the place of %s", s.Task, want))
	}
	t := &task{id: s.Task, split: s, since: m.now, try: m.base}
	m.maps = append(m.maps, t)
	m.merged += t.vector()
	return t
}

// succeeded reports whether the sender knows of a later coordinator. What it says is not ours to answer: a refusal would have it
// give up what the other one counts.
func (m *Machine) succeeded(s Sender) bool { return s.Job == m.conf.Job && s.Epoch > m.conf.Epoch }

// ErrSucceeded ends the work of a coordinator of which another one has become the successor. The job goes on there: what it made must stay.
var ErrSucceeded = errors.New("took over")

// stepDown ends this coordinator's work for good.
func (m *Machine) stepDown(epoch uint64) []Effect {
	return m.fail(fmt.Errorf("coordinator of epoch %d: that of epoch %d %w", m.conf.Epoch, epoch, ErrSucceeded))
}

// admit checks who speaks and returns why that is refused, "" if it is not.
func (m *Machine) admit(s Sender) (effects []Effect, why string) {
	h := m.hosts[s.Node]
	switch {
	case s.Job != m.conf.Job:
		return nil, fmt.Sprintf("job %s is not %s", s.Job, m.conf.Job)
	case s.Epoch != m.conf.Epoch:
		return nil, fmt.Sprintf("epoch %d is not %d", s.Epoch, m.conf.Epoch)
	case h != nil && s.Incarnation < h.incarnation:
		return nil, fmt.Sprintf("node %s was started again", s.Node)
	case h != nil && s.Incarnation > h.incarnation:
		effects = m.lost(Lost{Node: s.Node})
	case h != nil && h.heard:
		return nil, ""
	}
	h = m.host(s.Node)
	h.incarnation, h.heard = s.Incarnation, true
	return append(effects, m.back(h)...), ""
}

// mapped reports whether the runs of every map task are there.
func (m *Machine) mapped() bool { return m.sealed && m.mapsDone == len(m.maps) && m.away == 0 }

// advance goes on to the end when everything is committed.
func (m *Machine) advance() []Effect {
	if m.over || !m.sealed || m.mapsDone < len(m.maps) || m.redsDone < m.conf.Reducers {
		return nil
	}
	if !m.conf.Tolerates(m.total.Failed, m.total.Objects) {
		return m.fail(&job.Error{Err: fmt.Errorf("%d of %d objects failed, more than the job tolerates%s",
			m.total.Failed, m.total.Objects, m.example())})
	}
	m.over = true
	return append(append([]Effect{Append{Record{Decided: true}}}, m.dismiss()...), Finish{})
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
	for m.asked.Len() > 0 {
		effects = append(effects, Grant{m.served(m.asked.Front().Value.(*seat)), Lease{Over: true}})
	}
	for _, t := range m.reds {
		for _, a := range t.live {
			effects = append(effects, m.answer(a, Arrivals{Gone: true})...)
		}
	}
	return effects
}
