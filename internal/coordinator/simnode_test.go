package coordinator

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/coordinator/commit"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A node is an agent as package agent has it, and the machine under it.
type node struct {
	s           *simulation
	name        string
	incarnation uint64
	epoch       uint64 // of the coordinator that it works for
	up, paused  bool
	gone        bool // it will not start again
	slow, flaky bool
	slots       []simSlot
	kept        map[job.AttemptID]*keptRun
	counts      map[job.AttemptID]bool // of those, what it knows to count
	tentative   []inbox                // by partition: what mappers sent ahead; empty: nothing
	store       *process
}

// A slotState is what a slot of an agent does.
type slotState byte

const (
	idle slotState = iota
	asking
	mapping
	reducing
	reporting // it waits for a verdict
	dismissed // it was told that there will be no work
)

type simSlot struct {
	state slotState
	seq   int // of its question; an answer to another one is not for it
	lease Lease
	tries int

	commit  *Commit // reported, or else:
	failure *Failure
	fetched fetched // of a reduce
}

// A caller is a slot that waits for an answer.
type caller struct {
	node        *node
	incarnation uint64
	slot, seq   int
}

func (c caller) String() string { return fmt.Sprintf("slot %d of %v", c.slot, c.node) }

func (n *node) String() string { return fmt.Sprintf("%s.%d", n.name, n.incarnation) }

func (n *node) sender() Sender { return Sender{"j", n.epoch, n.name, n.incarnation} }

// start is the agent's beginning: it has nothing, and works for the latest coordinator.
func (n *node) start() {
	n.stop()
	n.incarnation++
	n.epoch, n.up, n.paused = n.s.epoch, true, false
	n.s.note("%v starts, for epoch %d", n, n.epoch)
}

// stop loses all that the node has.
func (n *node) stop() {
	n.up = false
	for i := range n.slots {
		n.slots[i] = simSlot{}
	}
	clear(n.kept)
	clear(n.counts)
	n.tentative = make([]inbox, n.s.reducers)
}

// adopt has the agent work for the latest coordinator. What is not committed it gives up, but for what may be: of that it asks.
func (n *node) adopt() {
	n.epoch = n.s.epoch
	n.s.note("%v works for epoch %d", n, n.epoch)
	n.tentative = make([]inbox, n.s.reducers)
	for i := range n.slots {
		sl := &n.slots[i]
		if sl.state == reporting && sl.commit != nil {
			sl.commit.Sender = n.sender()
			n.report(i)
			continue
		}
		*sl = simSlot{state: idle, seq: sl.seq + 1}
	}
}

// revoked gives up an attempt that is beaten.
func (n *node) revoked(r Revoke) {
	for i := range n.slots {
		sl := &n.slots[i]
		if n.up && (sl.state == mapping || sl.state == reducing) && sl.lease.Attempt == r.Attempt {
			n.s.note("%v gives up %s: %s", n, r.Attempt, r.Reason)
			*sl = simSlot{state: idle, seq: sl.seq + 1}
		}
	}
}

// others reports whether there is another node that is not gone.
func (s *simulation) others(than *node) bool {
	return slices.ContainsFunc(s.nodes, func(n *node) bool { return n != than && !n.gone })
}

// act does one thing that the agent does by itself.
func (n *node) act() {
	s := n.s
	switch {
	case !n.up:
		if s.r.IntN(6) == 0 && !n.gone {
			n.start()
		}
		return
	case n.paused:
		if s.r.IntN(6) == 0 {
			s.note("%v goes on", n)
			n.paused = false
		}
		return
	case s.fault(100):
		n.gone = s.r.IntN(4) == 0 && s.others(n)
		s.note("%v dies; for good: %t", n, n.gone)
		n.stop()
		return
	case s.fault(100):
		s.note("%v stands still", n)
		n.paused = true
		return
	case len(n.kept) > 0 && s.fault(60):
		n.rot()
		return
	case n.epoch != s.epoch && s.r.IntN(16) == 0:
		if s.r.IntN(4) == 0 {
			n.start()
		} else {
			n.adopt()
		}
		return
	}
	i := s.r.IntN(len(n.slots))
	sl := &n.slots[i]
	switch sl.state {
	case idle:
		n.ask(i)
	case asking:
		if s.late() {
			n.ask(i)
		}
	case mapping:
		n.mapSplit(i)
	case reducing:
		n.reduce(i)
	case reporting:
		if s.late() {
			n.report(i)
		}
	case dismissed:
		if s.r.IntN(6) == 0 {
			n.start()
		}
	}
}

// rot has the disk lose something of a run that is kept.
func (n *node) rot() {
	attempts := slices.SortedFunc(maps.Keys(n.kept), func(a, b job.AttemptID) int { return strings.Compare(a.String(), b.String()) })
	a := attempts[n.s.r.IntN(len(attempts))]
	n.s.note("%s is damaged on %v", a, n)
	n.kept[a].rotten = true
}

func (n *node) caller(i int) caller {
	n.slots[i].seq++
	return caller{n, n.incarnation, i, n.slots[i].seq}
}

// call sends a question to a coordinator: the latest as a rule, and at times one that does not know yet that it is not.
func (n *node) call(f func(h *head)) {
	s := n.s
	s.send(nil, func() {
		to := -1
		for i, h := range s.heads {
			if h.phase != gone && !h.paused && (to < 0 || s.r.IntN(4) > 0) {
				to = i
			}
		}
		if to >= 0 {
			f(s.heads[to])
		}
	})
}

func (n *node) ask(i int) {
	n.slots[i].state = asking
	from, w := n.caller(i), Want{Sender: n.sender(), Slot: i}
	n.s.note("%v asks for work", from)
	n.call(func(h *head) { h.want(from, w) })
}

// answered returns the slot that an answer is for, nil if nobody waits for it any more.
func (n *node) answered(c caller, state slotState) *simSlot {
	sl := &n.slots[c.slot]
	if !n.up || n.incarnation != c.incarnation || sl.seq != c.seq || sl.state != state {
		return nil
	}
	return sl
}

func (n *node) lease(c caller, l Lease) {
	sl := n.answered(c, asking)
	switch {
	case sl == nil:
	case l.Over:
		sl.state = dismissed
	case l.Idle:
		sl.state = idle
	default:
		n.s.note("%v begins %s", c, l.Attempt)
		*sl = simSlot{state: mapping, seq: sl.seq, lease: l}
		if l.Attempt.Task.IsReduce() {
			sl.state = reducing
		}
	}
}

// mapSplit maps a part of the split, or ends it.
func (n *node) mapSplit(i int) {
	s, sl := n.s, &n.slots[i]
	l := &sl.lease
	task := s.number(l.Attempt.Task)
	content := s.source(task, uint64(l.Split.Offset))
	if sl.tries == 0 {
		sl.tries = 1 + s.r.IntN(objects+1)
	}
	variant := 0
	if s.chance {
		variant = int(uint64(l.Attempt.Try)+n.incarnation+uint64(sl.seq)) % variants
	}
	run := newKeptRun(content, variant, l.Partitions, l.Skip)
	if sl.tries--; sl.tries > 0 {
		n.sendAhead(l, run)
		if s.r.IntN(8) == 0 {
			b := Beat{n.sender(), []Running{{Attempt: l.Attempt, Objects: 1}}}
			n.call(func(h *head) { h.step(Progressed{b}) })
		}
		return
	}
	if n.flaky && s.others(n) && s.r.IntN(3) == 0 {
		n.fails(i, FaultTask, -1, "runner died")
		return
	}
	for o := range objects {
		if _, skipped := l.Skip[o]; s.poison[content-s.content]>>o&1 == 1 && !skipped {
			n.fails(i, FaultObject, o, "guest memory limit")
			return
		}
	}
	if s.fault(12) {
		n.die(i, s.r.IntN(objects+1)-1)
		return
	}
	res := n.result(l)
	res.Counters.Objects, res.Counters.Failed = objects, int64(len(l.Skip))
	var out strings.Builder
	for o := range objects {
		if reason, ok := l.Skip[o]; ok {
			res.Names = append(res.Names, job.FailedObject{URI: fmt.Sprint(task, ".", o), Reason: reason, Task: l.Attempt.Task})
			continue
		}
		for _, r := range mapped(content, o, variant) {
			listed(&out, r.key, r.value)
			res.Counters.Emitted++
		}
	}
	if len(res.Names) > 0 {
		res.Failed = n.upload(l, fmt.Sprintf("_failed/part-%05d.jsonl", task), fmt.Sprint(res.Names))
	}
	if l.Partitions > 0 {
		n.kept[l.Attempt] = run
		res.Vector = vectorOf(run.table)
		for _, r := range s.r.Perm(l.Partitions) {
			if s.r.IntN(2) == 0 {
				n.endAhead(l, run, r)
			}
		}
	} else {
		res.Part = n.upload(l, "part-"+string(l.Attempt.Task), out.String())
		res.Counters.Output = res.Counters.Emitted
	}
	n.commits(i, res)
}

// result returns counters that tell attempts apart.
func (n *node) result(l *Lease) *Result {
	k := int64(n.s.r.IntN(9))
	return &Result{Shuffle: k << 9, Counters: job.Counters{
		Bytes: k << 1, User: map[string]int64{"u": k}, Checked: k << 2, Unchecked: k << 3,
		Queue: l.Queued, Run: time.Duration(k), CPU: time.Duration(k << 5), PeakMemory: k << 6,
		Reads: k << 7, ReadBytes: k << 8, Writes: k << 9, WriteBytes: k << 10, LogLines: k << 11, LogDropped: k << 12,
	}}
}

// upload uploads a part, which stays invisible.
func (n *node) upload(l *Lease, name, body string) *store.Pending {
	w, err := n.store.Create(bg, store.Key(outDir+name), nil)
	if err != nil {
		panic(err)
	}
	u := commit.Uploads{Bucket: n.store, Prefix: outDir, Job: "j"}
	if err := u.Record(bg, l.Attempt.String(), w.Handle()); err != nil {
		panic(err)
	}
	_, _ = io.WriteString(w, body)
	p, err := w.Seal(bg)
	if err != nil {
		panic(err)
	}
	return &p
}

// die has the runner of a slot die, or the agent fail it.
func (n *node) die(i, object int) {
	s, task := n.s, n.slots[i].lease.Attempt.Task
	switch k := s.r.IntN(8); {
	case k == 0 && s.refusals:
		n.fails(i, []Fault{FaultAttempt, FaultJob}[s.r.IntN(2)], -1, "refused")
	case k < 3:
		n.fails(i, FaultStore, -1, "slow down")
	default:
		if object >= 0 && !task.IsReduce() {
			d := &s.deaths[s.number(task)][object]
			if *d++; *d >= maxDeaths {
				object = -1 // a good object is not to be blamed
			}
		} else {
			object = -1
		}
		n.fails(i, FaultTask, object, "runner died")
	}
}

func (n *node) fails(i int, f Fault, object int, reason string) {
	n.failed(i, Failure{Fault: f, Object: object, Reason: reason})
}

func (n *node) failed(i int, f Failure) {
	sl := &n.slots[i]
	f.Sender, f.Attempt = n.sender(), sl.lease.Attempt
	sl.failure = &f
	n.report(i)
}

func (n *node) commits(i int, r *Result) {
	sl := &n.slots[i]
	sl.commit = &Commit{Sender: n.sender(), Attempt: sl.lease.Attempt, Result: *r}
	n.report(i)
}

// report tells how the attempt went, once more if there was no answer.
func (n *node) report(i int) {
	sl := &n.slots[i]
	sl.state = reporting
	from := n.caller(i)
	if c := sl.commit; c != nil {
		n.s.note("%v commits %v: vector %x, parts %v", from, c.Attempt, c.Result.Vector, c.Result.handles())
		n.call(func(h *head) { h.judge(from, c.Sender, func(t Ticket) Event { return Reported{t, *c} }) })
		return
	}
	f := sl.failure
	n.s.note("%v fails %v: the %s, object %d: %s", from, f.Attempt, f.Fault, f.Object, f.Reason)
	n.call(func(h *head) { h.judge(from, f.Sender, func(t Ticket) Event { return Broken{t, *f, n.s.now} }) })
}

func (n *node) verdict(c caller, v Verdict) {
	sl := n.answered(c, reporting)
	if sl == nil {
		return
	}
	if sl.commit != nil && !v.Accepted {
		a := sl.commit.Attempt
		delete(n.kept, a)
		if n.counts[a] {
			n.s.wrong("%v gives up %s, of which it heard that it counts", n, a)
		}
		u := commit.Uploads{Bucket: n.store, Prefix: outDir, Job: "j"}
		for _, h := range sl.commit.Result.handles() {
			n.s.note("%v gives up %s", c, h)
			if err := u.Discard(bg, a.String(), h); err != nil {
				panic(err)
			}
		}
	}
	if sl.commit != nil && v.Accepted {
		n.counts[sl.commit.Attempt] = true
	}
	*sl = simSlot{state: idle, seq: sl.seq}
}

// source returns what a task maps: plans that were begun one after the other differ.
func (s *simulation) source(task int, plan uint64) int {
	return s.content + (task+int(plan))%s.maps
}
