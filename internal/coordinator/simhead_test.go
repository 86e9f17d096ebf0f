package coordinator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/coordinator/commit"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

var (
	errCancelled = errors.New("cancelled by its user")
	errFenced    = errors.New("another coordinator took over")
	errLog       = errors.New("the log does not answer")
	bg           = context.Background()
)

// A phase of a coordinator's process.
type phase byte

const (
	working phase = iota
	ended         // its machine has
	decided
	published
	gone
)

// A head is one process that coordinates the job: the real loop and machine, the real commit, and between them what
// package local does.
type head struct {
	s       *simulation
	epoch   uint64
	store   *process
	claim   *commit.Claim
	loop    *loop
	asks    []*ask
	follows []*following
	phase   phase
	paused  bool
	begun   bool // its machine has
	plan    uint64
	planned int
	sealed  bool
	outcome Outcome
	err     error

	resumed     bool // it goes on with a sealed plan
	kept        int  // tasks that were committed then
	quarantined int

	seen      map[string]uint64 // incarnation of each node, as messages said
	committed map[job.TaskID]*Committed
	told      map[job.AttemptID]map[job.TaskID]Run // what each reduce was
	beaten    map[job.AttemptID]bool
	failures  map[job.TaskID]int // that it heard of
	failedOn  map[string]map[job.TaskID]bool

	about   string                   // node that the event is about
	reduces map[job.AttemptID]string // that were leased before it, and where
}

// A holder is who was given a lease.
type holder struct {
	node               string
	incarnation, epoch uint64
}

// An ask is a want whose answer is not there yet.
type ask struct {
	from   caller
	sender Sender
	ticket Ticket
	answer chan Lease
}

// A following is a reduce that waits for runs.
type following struct {
	from   caller
	follow Follow
	answer chan Arrivals
}

func (s *simulation) newHead() *head {
	s.epoch++
	h := &head{
		s: s, epoch: s.epoch, store: &process{jobStore: s.store, epoch: s.epoch},
		seen:      make(map[string]uint64),
		committed: make(map[job.TaskID]*Committed), beaten: make(map[job.AttemptID]bool),
		told: make(map[job.AttemptID]map[job.TaskID]Run), failures: make(map[job.TaskID]int),
		failedOn: make(map[string]map[job.TaskID]bool),
		reduces:  make(map[job.AttemptID]string),
	}
	if s.storeFaults && !s.quiet() {
		h.store.seed = s.seed*31 + s.epoch
		s.faults-- // what it loses by them is bounded too
	}
	s.log = append(s.log, entry{epoch: h.epoch, lead: true})
	m := h.resume()
	c := &Coordinator{
		opts: Options{
			Log: h, Discard: h.discard, Committed: h.counts, Revoke: h.revoke, Quarantine: h.quarantine,
			Now: func() time.Time { return s.now }, Hold: time.Second,
		},
		cancel: func() {}, ended: make(chan struct{}),
	}
	h.loop = newLoop(c, m)
	s.heads = append(s.heads, h)
	return h
}

// resume makes a machine of what the log says, and reads the log once more for what is to be checked.
func (h *head) resume() *Machine {
	s := h.s
	var r Replay
	for _, e := range s.log {
		if err := r.Take(e.lead, e.record); err != nil {
			s.wrong("%v: %v", h, err)
		}
		var rec Record
		if e.lead {
			continue
		}
		if err := json.Unmarshal(e.record, &rec); err != nil {
			s.wrong("%v: %v", h, err)
		}
		switch {
		case rec.Begun != 0:
			h.plan, h.sealed = rec.Begun, false
			clear(h.committed)
		case rec.Plan != "":
			h.sealed = true
		case rec.Committed != nil:
			h.committed[rec.Committed.Attempt.Task] = rec.Committed
		case rec.Lost != "":
			delete(h.committed, rec.Lost)
		}
	}
	if !h.sealed {
		h.plan = h.epoch
		clear(h.committed)
	} else {
		h.planned, h.resumed, h.kept = s.maps, true, len(h.committed)
	}
	m, err := Resume(Config{
		Job: "j", Epoch: h.epoch, Reducers: s.reducers, Patience: time.Second,
		Tolerates: func(failed, _ int64) bool { return s.tolerant || failed == 0 },
	}, &r, slices.Clone(s.plans[r.Begun]))
	if err != nil {
		s.wrong("%v: %v", h, err)
		return New(Config{})
	}
	if s.epoch > 1 {
		s.note("%v goes on with %d tasks committed; plan %d, sealed: %t", h, len(h.committed), h.plan, h.sealed)
	}
	m.At(s.now)
	return m
}

func (h *head) String() string { return fmt.Sprintf("coordinator %d", h.epoch) }

// brief leaves out where a call failed: of several at once that may be one or the other.
func brief(err error) error {
	if errors.Is(err, errFault) {
		return errFault
	}
	return err
}

// take claims the output, as every coordinator does first.
func (h *head) take() {
	var err error
	h.claim, err = commit.Take(bg, h.store, outDir, "j", &commit.Options{
		Name: "out", Owner: commit.Owner{Host: "here", PID: int(h.epoch)}, Float64: h.s.r.Float64,
		Succeeds: true,
		// Those before are dead, or silent for so long that they are taken for it.
		Dead: func(o commit.Owner) (dead, known bool) { return o.PID < int(h.epoch), true },
	})
	h.s.note("%v takes the output: %v", h, brief(err))
	switch {
	case errors.Is(err, commit.ErrExists):
		h.phase = gone
		h.s.finish(nil)
	case err != nil:
		h.die()
	case h.claim.Finished() != nil:
		h.phase = published
	case h.s.ended != nil:
		h.s.note("%v finds that the job has ended: %v", h, h.s.ended)
		h.phase = gone
		_ = h.claim.Release(bg)
		h.s.finish(h.s.ended)
	}
}

// die ends the process in the middle of whatever it does.
func (h *head) die() {
	h.s.note("%v dies", h)
	h.store.dead, h.phase, h.asks, h.follows = true, gone, nil, nil
	if h.claim != nil {
		_ = h.claim.Release(bg) // nothing of this reaches the store; it ends a goroutine
	}
}

// Append is the job log, which the latest epoch alone may write. It may fail and have appended.
func (h *head) Append(_ context.Context, record []byte) error {
	s := h.s
	if h.epoch != s.epoch {
		return errFenced
	}
	crash, unknown := s.fault(40), s.fault(100)
	if crash && s.r.IntN(2) == 0 {
		h.die()
		return errLog
	}
	s.note("log: %s", record[:min(len(record), 80)])
	s.log = append(s.log, entry{epoch: h.epoch, record: bytes.Clone(record)})
	if lost, ok := bytes.CutPrefix(record, []byte(`{"lost":"`)); ok {
		id := job.TaskID(lost[:bytes.IndexByte(lost, '"')])
		if h.committed[id] == nil {
			s.wrong("%s is lost and was not committed", id)
		}
		delete(h.committed, id)
	}
	if crash {
		h.die()
	} else if unknown {
		s.note("%v does not hear of it", h)
	}
	if crash || unknown {
		return errLog
	}
	return nil
}

// counts is told of each attempt that counts.
func (h *head) counts(c *Committed) {
	s := h.s
	if by := h.committed[c.Attempt.Task]; by != nil {
		s.wrong("%s commits after %s did", c.Attempt, by.Attempt)
	}
	given, ok := s.leases[c.Attempt]
	if !ok || given.epoch != h.epoch || given.node != c.Node || given.incarnation != c.Incarnation || given.incarnation < h.seen[c.Node] {
		s.wrong("%s commits on %s, in incarnation %d, now %d, under %v; it was leased to %v", c.Attempt, c.Node, c.Incarnation, h.seen[c.Node], h, given)
	}
	h.committed[c.Attempt.Task] = c
}

// revoke tells a node that it works in vain.
func (h *head) revoke(r Revoke) {
	if by := h.committed[r.Attempt.Task]; by == nil || by.Attempt == r.Attempt {
		h.s.wrong("%s is revoked, and %v counts", r.Attempt, by)
	}
	n := h.s.byName(r.Node)
	h.s.send(n, func() { n.revoked(r) })
}

// quarantine sees whether there is a reason.
func (h *head) quarantine(q Quarantine) {
	h.quarantined++
	h.s.note("%v quarantines %s: %s", h, q.Node, q.Reason)
	if n := len(h.failedOn[q.Node]); n < leastSuspects {
		h.s.wrong("%s is quarantined, where %d tasks failed", q.Node, n)
	}
}

func (h *head) discard(_ context.Context, hd store.Handle) error {
	if h.phase == gone {
		return errFault
	}
	for _, c := range h.committed {
		for _, kept := range c.Result.handles() {
			if kept == hd && h.epoch == h.s.epoch {
				h.s.wrong("discards output of %s, which counts", c.Attempt)
			}
		}
	}
	return h.store.Discard(bg, hd)
}

// step hands the loop an event that nobody waits for.
func (h *head) step(e Event) {
	h.s.note("%v: %T%[2]v", h, e)
	h.about = ""
	switch e := e.(type) {
	case Lost:
		h.about = e.Node
	case Noted: // it may have started again
		h.about = e.Node
	}
	h.loop.step(bg, e)
	h.settle()
}

// heard notes who spoke, as far as the coordinator is to believe it.
func (h *head) heard(s Sender) {
	h.about = s.Node
	if s.Epoch == h.epoch {
		h.seen[s.Node] = max(h.seen[s.Node], s.Incarnation)
	}
}

func (h *head) want(from caller, w Want) {
	h.heard(w.Sender)
	a := &ask{from: from, sender: w.Sender, answer: make(chan Lease, 1)}
	a.ticket = h.loop.ask(bg, w, a.answer)
	h.asks = append(h.asks, a)
	h.settle()
}

func (h *head) follow(from caller, q Follow) {
	h.heard(q.Sender)
	for _, x := range q.Missing {
		if x.Gone {
			h.failures[x.Run.Task]++
			if c := h.committed[x.Run.Task]; c != nil && c.Attempt == x.Run {
				h.failsOn(c.Node, x.Run.Task)
			}
		}
	}
	f := &following{from, q, make(chan Arrivals, 1)}
	h.follows = append(h.follows, f)
	h.loop.follow(bg, q, f.answer)
	h.settle()
}

func (h *head) judge(from caller, s Sender, e func(Ticket) Event) {
	h.heard(s)
	answer := make(chan Verdict, 1)
	counted := h.phase == working // after the end nothing is
	if b, ok := e(0).(Broken); ok {
		h.failures[b.Failure.Attempt.Task]++
		h.failures[b.Failure.Run.Task]++
		h.failsOn(s.Node, b.Failure.Attempt.Task)
		if r := b.Failure.Run; r.Task != "" {
			h.failsOn(h.s.leases[r].node, r.Task)
		}
	}
	h.loop.judge(bg, e, answer)
	select {
	case v := <-answer:
		if h.phase == gone {
			break // it died before it could say so
		}
		if r, ok := e(0).(Reported); ok && !v.Accepted {
			a := r.Commit.Attempt
			if by := h.committed[a.Task]; counted && by != nil && by.Attempt != a {
				h.beaten[a] = true
			}
		}
		h.s.note("%v tells %v %+v", h, from, v)
		h.s.send(from.node, func() { from.node.verdict(from, v) })
	default:
	}
	h.settle()
}

func (h *head) failsOn(node string, t job.TaskID) {
	if h.failedOn[node] == nil {
		h.failedOn[node] = make(map[job.TaskID]bool)
	}
	h.failedOn[node][t] = true
}

// settle sends the answers that are there, and looks at what became of the machine.
func (h *head) settle() {
	if h.phase == gone {
		return
	}
	h.watch()
	for i := 0; i < len(h.asks); i++ {
		a := h.asks[i]
		if len(a.answer) == 0 {
			continue
		}
		h.asks = slices.Delete(h.asks, i, i+1)
		i = -1 // whoever is told first may change what others are
		if h.s.fault(60) {
			h.s.note("%v no longer waits for the work that it has", a.from)
			h.about = a.sender.Node
			h.loop.withdraw(bg, a.ticket, a.sender, a.answer)
			h.watch()
			continue
		}
		h.granted(a, <-a.answer)
	}
	for i := 0; i < len(h.follows); i++ {
		f := h.follows[i]
		if len(f.answer) > 0 {
			h.follows = slices.Delete(h.follows, i, i+1)
			i--
			h.arrivals(f, <-f.answer)
		}
	}
	if h.phase == working {
		h.look()
		select {
		case <-h.loop.c.ended:
			h.phase = ended
			h.outcome, h.err = h.loop.c.Outcome()
			h.s.note("%v has ended: %v", h, h.err)
		default:
		}
	}
}

// watch sees what an event has done to slots and reduces.
func (h *head) watch() {
	m := h.loop.m
	if h.loop.broken || m.over {
		return
	}
	slots, bare := 0, 0 // that wait; of nodes that run no reduces and may have some
	for _, a := range h.asks {
		on := m.hosts[a.sender.Node]
		if len(a.answer) > 0 || m.rift.shunned[a.sender.Node] || m.idles(on) {
			continue
		}
		slots++
		reduces := slices.ContainsFunc(m.reds, func(t *task) bool {
			return slices.ContainsFunc(t.live, func(x *attempt) bool { return x.seat.host == on })
		})
		if !reduces && on.pace < slowdown {
			bare++
		}
	}
	maps, recalled := m.queue.Len(), 0
	under := make(map[job.AttemptID]string)
	for _, t := range m.reds {
		for _, a := range t.live {
			under[a.id()] = a.seat.host.name
			if _, before := h.reduces[a.id()]; !before && maps > 0 {
				h.s.wrong("%s begins while %d maps wait", a.id(), maps)
			}
		}
	}
	for a, on := range h.reduces {
		if t := m.task(a.Task); on != h.about && t.state == waiting {
			recalled++
		}
	}
	h.reduces = under
	switch {
	case maps == 0 && h.sealed && bare > 0 && (m.later.Len() > 0 || len(m.reds) < h.s.reducers):
		h.s.wrong("%d reduces wait, and so do %d slots of nodes without any", m.later.Len(), bare)
	case recalled > 0 && slots+recalled > maps:
		h.s.wrong("%d reduces are given back while %d slots are free, for %d maps", recalled, slots, maps)
	}
}

// look sees that tasks are where they should be.
func (h *head) look() {
	m, under := h.loop.m, 0
	for _, ts := range [][]*task{m.maps, m.reds} {
		for _, t := range ts {
			if (t.state == leased) != (len(t.live) > 0) || len(t.live) > 2 {
				h.s.wrong("%s is in state %d with %d attempts", t.id, t.state, len(t.live))
			}
			under += len(t.live)
			if len(t.live) == 2 && t.live[0].seat.host == t.live[1].seat.host {
				h.s.wrong("%s has both attempts on one node", t.id)
			}
			for _, a := range t.live {
				if _, ok := h.s.leases[a.id()]; !ok && !h.loop.broken {
					h.s.wrong("%s is leased and nobody was told", a.id())
				}
			}
			if t.hurt != nil && t.hurt.count() > h.failures[t.id] {
				h.s.wrong("%s has failed %d times, of which %d were heard", t.id, t.hurt.count(), h.failures[t.id])
			}
		}
	}
	if under != m.running.Len()+m.spare {
		h.s.wrong("%d attempts are under way, of %d tasks, %d of them backups", under, m.running.Len(), m.spare)
	}
}

// arrivals sends runs to a reduce.
func (h *head) arrivals(f *following, a Arrivals) {
	h.s.note("%v tells %s of %v: %+v", h, f.follow.Attempt, f.from, a)
	h.tell(f.follow.Attempt, a)
	h.s.send(f.from.node, func() { f.from.node.arrived(f.from, a) })
}

// tell notes what a reduce is told, and sees that it counts.
func (h *head) tell(to job.AttemptID, a Arrivals) {
	if a.Gone {
		return
	}
	s, told := h.s, h.told[to]
	if told == nil {
		told = make(map[job.TaskID]Run)
		h.told[to] = told
	}
	for _, r := range a.Runs {
		if c := h.committed[r.Attempt.Task]; c == nil || c.Attempt != r.Attempt || c.Node != r.Node || c.Result.Vector != r.Vector {
			s.wrong("%s is to merge %+v, which does not count", to, r)
		}
		if h.seen[r.Node] == 0 {
			s.wrong("%s is to merge %+v of a node that was not heard of", to, r)
		}
		told[r.Attempt.Task] = r
	}
	if !a.All {
		return
	}
	for i := range s.maps {
		if c := h.committed[job.MapTask(i)]; c == nil || told[job.MapTask(i)].Attempt != c.Attempt {
			s.wrong("%s was told all, and of map %d %v, not %v", to, i, told[job.MapTask(i)], c)
		}
	}
}

// granted sends a lease to whoever asked.
func (h *head) granted(a *ask, l Lease) {
	s := h.s
	switch {
	case l.Idle:
		s.note("%v has nothing for %v", h, a.from)
	case l.Over:
		s.note("%v dismisses %v", h, a.from)
	default:
		s.note("%v leases %v to %v: skip %v, merge %v", h, l.Attempt, a.from, l.Skip, l.Runs)
	}
	if l.Attempt.Task != "" {
		if by, ok := s.leases[l.Attempt]; ok {
			s.wrong("%s is leased again, first to %v", l.Attempt, by)
		}
		if by := h.committed[l.Attempt.Task]; by != nil {
			s.wrong("%s is leased, and %s counts", l.Attempt, by.Attempt)
		}
		if a.sender.Epoch != h.epoch || a.sender.Incarnation < h.seen[a.sender.Node] {
			s.wrong("%s is leased to %+v", l.Attempt, a.sender)
		}
		s.leases[l.Attempt] = holder{a.sender.Node, a.sender.Incarnation, h.epoch}
		if l.Queued < 0 || l.Queued > s.now.Sub(start) {
			s.wrong("%s waited %v, and the job began %v ago", l.Attempt, l.Queued, s.now.Sub(start))
		}
		if l.Attempt.Task.IsReduce() {
			h.tell(l.Attempt, l.Arrivals)
		}
	}
	s.send(a.from.node, func() { a.from.node.lease(a.from, l) })
}

// act does one thing that the process does by itself.
func (h *head) act() {
	s := h.s
	switch h.phase {
	case working:
		h.work()
	case ended:
		if h.err != nil {
			h.release(h.err)
			return
		}
		h.decide()
	case decided:
		_, err := h.claim.Finish(bg)
		s.note("%v publishes: %v", h, brief(err))
		if err == nil {
			h.phase = published
		} else {
			h.fails(err)
		}
	case published:
		h.release(nil)
	}
}

func (h *head) work() {
	s := h.s
	switch k := s.r.IntN(8); {
	case !h.begun:
		h.begun = true
		h.step(Started{})
	case h.planned < s.maps && k < 6:
		split := job.Split{Task: job.MapTask(h.planned), Offset: int64(h.plan), Objects: objects, Nodes: s.names[:min(s.r.IntN(3), len(s.names))]}
		h.planned++
		s.plans[h.plan] = append(s.plans[h.plan], split)
		h.step(Planned{split})
	case h.planned == s.maps && !h.sealed && k < 6:
		h.sealed = true
		h.step(Sealed{Digest: "d"})
	case k < 6:
		s.note("%v ticks", h)
		h.about = ""
		h.loop.tick(bg)
		h.settle()
	case k == 6:
		n := s.nodes[s.r.IntN(len(s.nodes))]
		if !n.up || n.paused || s.fault(4) {
			h.step(Lost{Node: n.name, Now: s.now})
		}
	case len(h.asks) > 0 && s.r.IntN(8) == 0:
		a := h.asks[0]
		h.asks = h.asks[1:]
		s.note("%v no longer waits for work", a.from)
		h.about = a.sender.Node
		h.loop.withdraw(bg, a.ticket, a.sender, a.answer)
		h.settle()
	case s.cancels && s.fault(8):
		h.step(Stopped{errCancelled})
	case s.fault(4):
		n := s.nodes[s.r.IntN(len(s.nodes))]
		e := Noted{Node: n.name, Zone: fmt.Sprint(s.r.IntN(2)), Slots: 1 + s.r.IntN(2), Away: s.r.IntN(2) == 0, Now: s.now}
		if n.up && n.epoch == h.epoch && !e.Away {
			e.Incarnation = n.incarnation
			h.heard(n.sender())
		}
		h.step(e)
	}
}

// decide writes what the machine came to, as a decision.
func (h *head) decide() {
	s, o := h.s, &h.outcome
	d := &commit.Decision{Manifest: job.Manifest{Version: 1, Job: "j", Reducers: s.reducers, Counters: o.Counters}}
	for _, t := range o.Order() {
		p := o.Parts[t]
		if p.Part != nil {
			d.Parts = append(d.Parts, commit.Part{Pending: *p.Part, Records: p.Counters.Output})
		}
		if p.Failed != nil {
			d.Failed = append(d.Failed, commit.Part{Pending: *p.Failed, Records: p.Counters.Failed})
		}
	}
	h.store.deciding = func() { s.deciding(h, d) }
	err := h.claim.Decide(bg, d)
	s.note("%v decides: %v", h, err)
	if err == nil {
		h.phase = decided
	} else {
		h.fails(err)
	}
}

// fails ends a process whose store has failed it: at once, or in good order.
func (h *head) fails(err error) {
	switch {
	case errors.Is(err, commit.ErrLost):
		if h.epoch == h.s.epoch {
			h.s.wrong("the latest coordinator lost its claim: %v", err)
		}
	case !errors.Is(err, errFault):
		h.s.wrong("%v: %v", h, err)
	}
	if h.s.r.IntN(2) == 0 {
		h.die()
		return
	}
	h.release(err)
}

// release ends the process in good order. A job that has failed ends in the log first: who cannot write that any more has a successor, to whom all that is there
// belongs.
func (h *head) release(err error) {
	s := h.s
	if err != nil && !errors.Is(err, commit.ErrLost) {
		if errors.Is(err, ErrSucceeded) || errors.Is(err, errFenced) || errors.Is(err, errLog) || h.Append(bg, []byte(`{"ended":{}}`)) != nil {
			s.note("%v leaves: %v", h, brief(err))
			h.claim.Leave()
			h.phase, h.asks, h.follows, h.store.dead = gone, nil, nil, true
			return
		}
		s.ended = err
	}
	rerr := h.claim.Release(bg)
	s.note("%v releases its claim: %v", h, brief(rerr))
	if rerr != nil && !errors.Is(rerr, errFault) {
		s.wrong("%v: %v", h, rerr)
	}
	h.phase, h.asks, h.follows = gone, nil, nil
	switch {
	case h.epoch != s.epoch, errors.Is(err, commit.ErrLost):
		// Another one does it, or will.
	case err != nil && s.store.decided != nil:
		s.note("whoever comes next finishes what was decided")
	default:
		s.finish(err)
	}
}
