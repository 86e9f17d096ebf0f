package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/metrics"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/job"
)

// A world is a job under way.
type world struct {
	o      *Options
	m      *coordinator.Machine
	r      *rand.Rand
	names  []string
	number map[string]int32
	speed  []float64       // of each node
	death  []time.Duration // of each node; forever: it lives
	slots  []slot
	events events
	now    time.Duration
	end    time.Duration // of the last commit
	over   error         // how the job ended, once it has
	res    Result
}

// A slot of a node works on an attempt, or waits for one.
type slot struct {
	run     int32
	attempt job.AttemptID
	objects int
	place   place
	waits   bool
}

// A place is where an attempt runs, as seen from its input.
type place byte

const (
	local place = iota
	near
	far
)

const forever = time.Duration(1<<63 - 1)

var (
	epoch   = time.Unix(1_000_000_000, 0)
	errDone = errors.New("done")
)

// Run simulates a job.
func Run(opts Options) (*Result, error) {
	o := opts.withDefaults()
	w := &world{o: &o, r: rand.New(rand.NewPCG(o.Seed, 1)), number: make(map[string]int32, o.Nodes), res: Result{Options: o}}
	w.m = coordinator.New(coordinator.Config{Job: "j", Epoch: 1, Patience: o.Patience, Tolerates: func(failed, _ int64) bool { return failed == 0 }})
	for i := range o.Nodes {
		name := fmt.Sprintf("node-%05d", i)
		w.names = append(w.names, name)
		w.number[name] = int32(i)
	}
	w.fates()
	var work, largest time.Duration
	planned(&o, w.names, func(s job.Split) {
		work += w.takes(&s, local)
		largest = max(largest, w.takes(&s, local))
		w.res.Tasks++
		w.res.Largest = max(w.res.Largest, s.Objects)
		w.step(coordinator.Planned{Split: s})
	})
	w.step(coordinator.Sealed{Digest: "d"})
	w.ideal(work, largest)
	w.begin()
	for w.over == nil {
		if err := w.next(); err != nil {
			return nil, err
		}
	}
	if w.over != errDone {
		return nil, w.over
	}
	w.res.Makespan = w.end
	w.res.LocalObjects /= float64(o.Objects)
	w.measure()
	return &w.res, nil
}

// fates decides which nodes are slow and which die. Those that are dead already are not members.
func (w *world) fates() {
	w.speed, w.death = make([]float64, w.o.Nodes), make([]time.Duration, w.o.Nodes)
	order := w.r.Perm(w.o.Nodes)
	slow := int(w.o.Slow * float64(w.o.Nodes))
	dead := int(w.o.Dead * float64(w.o.Nodes))
	for i := range w.speed {
		w.speed[i], w.death[i] = 1, forever
	}
	for _, n := range order[:slow] {
		w.speed[n] = 0.5
	}
	for i, n := range order[len(order)-dead:] {
		w.death[n] = 0
		if i%2 == 0 {
			w.death[n] = time.Duration(i + 1) // a number, until it is known how long the job takes
		}
	}
	for n, name := range w.names {
		if w.death[n] > 0 {
			w.step(coordinator.Noted{Node: name, Zone: fmt.Sprint("zone-", w.o.zone(int32(n))), Slots: w.o.Slots})
		}
	}
}

// ideal says how long the job has to take, and when nodes die: until half of that time.
func (w *world) ideal(work, largest time.Duration) {
	var speed float64
	for n := range w.speed {
		if w.death[n] > 0 {
			speed += w.speed[n] * float64(w.o.Slots)
		}
	}
	half := time.Duration(float64(work) / speed / 2)
	dying := w.o.Dead * float64(w.o.Nodes)
	missing := float64(work)
	for n := range w.death {
		if w.death[n] > 0 && w.death[n] < forever {
			w.death[n] = time.Duration(float64(w.death[n]) / dying * float64(half))
			speed -= w.speed[n] * float64(w.o.Slots)
			missing -= w.speed[n] * float64(w.o.Slots) * float64(w.death[n])
		}
	}
	w.res.Ideal = max(time.Duration(missing/speed), largest)
}

// begin has all slots ask for work, within a second.
func (w *world) begin() {
	w.slots = make([]slot, w.o.Nodes*w.o.Slots)
	for n := range w.names {
		if w.death[n] == 0 {
			continue
		}
		for s := range w.o.Slots {
			w.events.push(event{at: time.Duration(w.r.Int64N(int64(time.Second))), kind: asks, slot: int32(n*w.o.Slots + s)})
		}
		w.events.push(event{at: time.Duration(w.r.Int64N(int64(beatEvery))), kind: beats, slot: int32(n)})
		if w.death[n] < forever {
			w.events.push(event{at: w.death[n], kind: dies, slot: int32(n)})
			w.events.push(event{at: w.death[n] + lease, kind: missed, slot: int32(n)})
		}
	}
	w.events.push(event{kind: ticks})
}

// takes is how long a slot of speed 1 takes for a split.
func (w *world) takes(s *job.Split, at place) time.Duration {
	d := time.Duration(s.Objects)*perObject + time.Duration(float64(s.Bytes)/rate*1e9)
	if at != local {
		d += time.Duration(s.Objects)*farObject + time.Duration(float64(s.Bytes)/farRate*1e9)
	}
	return d
}

// step has the machine take an event, and does what it says.
func (w *world) step(e coordinator.Event) {
	began := cpu()
	w.m.At(epoch.Add(w.now))
	effects := w.m.Step(e)
	w.res.Decided += cpu() - began
	w.res.Events++
	for _, f := range effects {
		switch f := f.(type) {
		case coordinator.Grant:
			w.granted(int32(f.Ticket-1), &f.Lease)
		case coordinator.Append:
			if f.Record.Committed != nil {
				w.end = w.now
			}
		case coordinator.Revoke:
			w.revoked(f)
		case coordinator.Finish:
			w.over = errDone
		case coordinator.Fail:
			w.over = f.Err
		}
	}
}

func (w *world) node(slot int32) int32 { return slot / int32(w.o.Slots) }

func (w *world) from(slot int32) coordinator.Sender {
	return coordinator.Sender{Job: "j", Epoch: 1, Node: w.names[w.node(slot)], Incarnation: 1}
}

// granted has a slot begin what it was given.
func (w *world) granted(at int32, l *coordinator.Lease) {
	s := &w.slots[at]
	s.waits = false
	s.run++
	if l.Over {
		return
	}
	if l.Idle {
		w.events.push(event{at: w.now + roundTrip, kind: asks, slot: at, run: s.run})
		return
	}
	node := w.node(at)
	s.attempt, s.objects, s.place = l.Attempt, l.Split.Objects, far
	for _, n := range l.Split.Nodes {
		switch holder := w.number[n]; {
		case holder == node:
			s.place = local
		case s.place == far && w.o.zone(holder) == w.o.zone(node):
			s.place = near
		}
	}
	w.res.Attempts++
	took := time.Duration(float64(w.takes(l.Split, s.place)) / w.speed[node])
	w.events.push(event{at: w.now + roundTrip + took, kind: ends, slot: at, run: s.run})
}

// next lets the next event happen.
func (w *world) next() error {
	if len(w.events) == 0 {
		return errors.New("nothing happens any more")
	}
	e := w.events.pop()
	w.now = e.at
	switch e.kind {
	case ticks:
		w.step(coordinator.Ticked{Now: epoch.Add(w.now)})
		w.events.push(event{at: w.now + tick, kind: ticks})
		w.measure()
	case dies:
		for i := range int32(w.o.Slots) {
			w.slots[e.slot*int32(w.o.Slots)+i].run++
		}
	case missed:
		w.step(coordinator.Lost{Node: w.names[e.slot], Now: epoch.Add(w.now)})
	case beats:
		w.beat(e.slot)
	default:
		w.act(e)
	}
	return nil
}

// act lets a slot do something, unless it has done something else meanwhile, or is no more.
func (w *world) act(e event) {
	s := &w.slots[e.slot]
	if s.run != e.run || w.death[w.node(e.slot)] <= w.now {
		return
	}
	ticket := coordinator.Ticket(e.slot + 1)
	switch e.kind {
	case asks:
		s.waits = true
		w.events.push(event{at: w.now + keepAsking, kind: withdraws, slot: e.slot, run: e.run})
		w.step(coordinator.Asked{Ticket: ticket, Now: epoch.Add(w.now), Want: coordinator.Want{Sender: w.from(e.slot), Slot: int(e.slot) % w.o.Slots}})
	case withdraws:
		w.step(coordinator.Withdrawn{Ticket: ticket})
		s.run++
		w.events.push(event{at: w.now + roundTrip, kind: asks, slot: e.slot, run: s.run})
	case ends:
		w.commit(e.slot)
		s.run++
		w.events.push(event{at: w.now + roundTrip, kind: asks, slot: e.slot, run: s.run})
	}
}

// commit reports that a slot has done its attempt.
func (w *world) commit(at int32) {
	s := &w.slots[at]
	before := w.end
	w.end = -1
	w.step(coordinator.Reported{Ticket: 1, Commit: coordinator.Commit{
		Sender: w.from(at), Attempt: s.attempt, Result: coordinator.Result{Counters: job.Counters{Objects: int64(s.objects)}},
	}})
	if w.end < 0 {
		w.end = before // another was first
		return
	}
	switch s.place {
	case local:
		w.res.Local++
		w.res.LocalObjects += float64(s.objects)
	case near:
		w.res.Near++
	case far:
		w.res.Far++
	}
}

// beat says what a node works on.
func (w *world) beat(node int32) {
	if w.death[node] <= w.now {
		return
	}
	first := node * int32(w.o.Slots)
	b := coordinator.Beat{Sender: w.from(first)}
	for i := range int32(w.o.Slots) {
		if s := &w.slots[first+i]; s.attempt.Task != "" && !s.waits {
			b.Running = append(b.Running, coordinator.Running{Attempt: s.attempt})
		}
	}
	w.step(coordinator.Progressed{Beat: b})
	w.events.push(event{at: w.now + beatEvery, kind: beats, slot: node})
}

// cpu is the time that the process has had of all cores: that which others take from it does not count.
func cpu() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic(err) // there is one
	}
	return time.Duration(t.Nano())
}

// measure notes how much memory the process has.
func (w *world) measure() {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	w.res.Peak = max(w.res.Peak, s[0].Value.Uint64()-s[1].Value.Uint64())
}

// revoked has a slot stop what is not wanted any more.
func (w *world) revoked(r coordinator.Revoke) {
	first := w.number[r.Node] * int32(w.o.Slots)
	for at := first; at < first+int32(w.o.Slots); at++ {
		if s := &w.slots[at]; s.attempt == r.Attempt && !s.waits {
			s.run++
			w.events.push(event{at: w.now + roundTrip, kind: asks, slot: at, run: s.run})
		}
	}
}
