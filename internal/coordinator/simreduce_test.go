package coordinator

import (
	"errors"
	"maps"
	"slices"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
)

// A fetched is what a reduce knows and has received.
type fetched struct {
	runs    map[job.TaskID]Run // to be merged
	newer   map[job.TaskID]Run // of maps that were done again after their runs were read
	next    int                // of the last Arrivals
	all     bool
	asking  bool // for more
	inbox   inbox
	tables  map[job.AttemptID][]expect // that runs have, by their own word
	pending int                        // pieces asked for

	requests int                   // so far
	last     map[job.AttemptID]int // of each run
	rounds   int
	waits    int
	missing  []Missing // to be said with the next question
}

// sendAhead streams what an attempt has so far to somebody who may reduce it later.
func (n *node) sendAhead(l *Lease, run *keptRun) {
	s := n.s
	if l.Partitions == 0 || len(run.spills) == 0 {
		return
	}
	p, sp := s.r.IntN(l.Partitions), run.spills[0]
	if sp.sections[p].Emitted == 0 {
		return
	}
	to, epoch := s.nodes[s.r.IntN(len(s.nodes))], n.epoch
	s.note("%v streams some of %s for partition %d to %v", n, l.Attempt, p, to)
	s.stream(sp.piece(l.Attempt.String(), p), func(b []byte) { to.ahead(epoch, p, b) })
}

// endAhead streams all of a partition.
func (n *node) endAhead(l *Lease, run *keptRun, p int) {
	s := n.s
	to, epoch := s.nodes[s.r.IntN(len(s.nodes))], n.epoch
	s.note("%v streams %s for partition %d to %v", n, l.Attempt, p, to)
	for _, sp := range run.spills {
		if sp.sections[p].Emitted > 0 {
			s.stream(run.piece(sp, l.Attempt, p), func(b []byte) { to.ahead(epoch, p, b) })
		}
	}
}

// ahead takes what a mapper streams before anybody reduces it here.
func (n *node) ahead(epoch uint64, partition int, b []byte) {
	if !n.up || n.epoch != epoch {
		return
	}
	in := &n.tentative[partition]
	if in.in == nil {
		*in = newInbox()
	}
	if err := in.take(b); err != nil {
		n.s.note("%v: %v", n, err)
	}
}

// reduce follows the mappers, receives what is missing, or ends the attempt.
func (n *node) reduce(i int) {
	s, sl := n.s, &n.slots[i]
	f := &sl.fetched
	switch {
	case s.fault(20), f.runs == nil && n.flaky && s.others(n) && s.r.IntN(3) == 0:
		n.die(i, -1)
	case f.runs == nil:
		n.begin(i)
	case !f.all && s.fault(40):
		s.note("%s does not wait for all runs", sl.lease.Attempt)
		f.all = true
	case !f.all && !f.asking, f.asking && s.late(), len(f.missing) > 0 && !f.asking:
		n.follow(i)
	case f.pending > 0 && !s.late():
		// It waits for what it asked for.
	case len(f.tables) < len(f.runs):
		if f.waits++; f.waits > 4 && s.fault(4) {
			n.fails(i, FaultStore, -1, "out of reach")
			return
		} else if f.waits > 4 {
			n.misses(f)
			return
		}
		n.fetch(i, f.rounds > 0)
	case f.all:
		n.merge(i)
	}
}

// misses says which runs are out of reach.
func (n *node) misses(f *fetched) {
	f.waits = 0
	for _, t := range slices.Sorted(maps.Keys(f.runs)) {
		if r := f.runs[t]; f.tables[r.Attempt] == nil {
			f.missing = append(f.missing, Missing{Run: r.Attempt, Gone: r.Node == n.name})
		}
	}
}

// begin takes the runs of the lease.
func (n *node) begin(i int) {
	sl := &n.slots[i]
	f, l := &sl.fetched, &sl.lease
	f.runs, f.newer = make(map[job.TaskID]Run), make(map[job.TaskID]Run)
	f.tables, f.last = make(map[job.AttemptID][]expect), make(map[job.AttemptID]int)
	f.inbox = n.tentative[l.Partition]
	n.tentative[l.Partition] = inbox{}
	n.learn(sl, l.Arrivals)
	if f.inbox.in == nil {
		f.inbox = newInbox()
		n.fetch(i, true)
		return
	}
	n.fetch(i, false) // perhaps all is there
}

// follow asks for runs that the reduce was not told of.
func (n *node) follow(i int) {
	sl := &n.slots[i]
	sl.fetched.asking = true
	from := n.caller(i)
	q := Follow{Sender: n.sender(), Attempt: sl.lease.Attempt, Next: sl.fetched.next, Missing: sl.fetched.missing}
	n.s.note("%v follows with %s, from %d, without %v", from, q.Attempt, q.Next, q.Missing)
	n.call(func(h *head) { h.follow(from, q) })
}

// arrived takes the answer.
func (n *node) arrived(c caller, a Arrivals) {
	sl := n.answered(c, reducing)
	switch {
	case sl == nil:
	case a.Gone:
		n.s.note("%v gives %s back", c, sl.lease.Attempt)
		*sl = simSlot{state: idle, seq: sl.seq}
	default:
		sl.fetched.asking, sl.fetched.missing = false, nil
		n.learn(sl, a)
	}
}

// learn takes runs in place of those that are lost, unless they were read.
func (n *node) learn(sl *simSlot, a Arrivals) {
	f := &sl.fetched
	for _, r := range a.Runs {
		old, ok := f.runs[r.Attempt.Task]
		switch {
		case !ok || f.tables[old.Attempt] == nil:
			f.runs[r.Attempt.Task] = r
		case old.Vector != r.Vector:
			n.s.wrong("%s has read %v and is told of %v", sl.lease.Attempt, old, r)
		default:
			f.newer[r.Attempt.Task] = r
		}
	}
	if len(a.Runs) > 0 {
		f.waits = 0
	}
	f.next, f.all = a.Next, a.All
	if f.all && len(f.runs) != n.s.maps {
		n.s.wrong("%s was told all, and knows %d runs of %d", sl.lease.Attempt, len(f.runs), n.s.maps)
	}
}

// fetch asks for the runs of which nothing is known, for their tables alone or with their sections.
func (n *node) fetch(i int, sections bool) {
	f := &n.slots[i].fetched
	if sections {
		f.rounds = max(f.rounds, 1)
	}
	f.pending = 0
	for m := range n.s.maps {
		if r, ok := f.runs[job.MapTask(m)]; ok && f.tables[r.Attempt] == nil {
			f.pending++
			n.request(i, r, sections)
		}
	}
}

// request asks the keeper of a run for what it has of the slot's partition. What an earlier request of it brings is not wanted any more.
func (n *node) request(i int, r Run, sections bool) {
	s, sl := n.s, &n.slots[i]
	f := &sl.fetched
	f.requests++
	id := f.requests
	f.last[r.Attempt] = id
	if sections {
		delete(f.inbox.in, r.Attempt.String())
	}
	from, attempt, p, epoch := caller{n, n.incarnation, i, sl.seq}, sl.lease.Attempt, sl.lease.Partition, n.epoch
	wanted := func() *fetched {
		sl := n.fetching(from, attempt)
		if sl == nil || sl.fetched.last[r.Attempt] != id || sl.fetched.runs[r.Attempt.Task] != r {
			return nil
		}
		return &sl.fetched
	}
	keeper := s.byName(r.Node)
	s.send(keeper, func() {
		if !keeper.up || keeper.epoch != epoch || !s.reach(n, keeper) {
			return
		}
		run := keeper.kept[r.Attempt]
		s.note("%v is asked for %s by %s: %t", keeper, r.Attempt, attempt, run != nil)
		if run == nil || vectorOf(run.table) != r.Vector {
			s.send(n, func() {
				switch f := wanted(); {
				case f == nil:
				case f.all && s.r.IntN(2) == 0:
					f.pending--
					if !f.asking {
						f.missing = append(f.missing, Missing{Run: r.Attempt, Gone: true, Reason: "run is not there"})
					}
				case f.all:
					n.fails(from.slot, FaultStore, -1, "run is not there")
				default: // there may be another soon
					f.pending--
				}
			})
			return
		}
		if sections {
			for _, sp := range run.spills {
				if sp.sections[p].Emitted == 0 {
					continue
				}
				s.stream(run.piece(sp, r.Attempt, p), func(b []byte) {
					if f := wanted(); f != nil {
						f.pending--
						if err := f.inbox.take(b); err != nil {
							s.note("%s: %v", attempt, err)
						}
					}
				})
			}
		}
		s.send(n, func() {
			f := wanted()
			if f == nil {
				return
			}
			f.pending--
			if sections && f.tables[r.Attempt] == nil {
				for _, sp := range run.spills {
					if sp.sections[p].Emitted > 0 {
						f.pending++
					}
				}
			}
			if vectorOf(run.table) == r.Vector {
				f.tables[r.Attempt] = run.table
			}
		})
	})
}

// fetching returns the slot of a reduce that waits for data.
func (n *node) fetching(c caller, a job.AttemptID) *simSlot {
	sl := &n.slots[c.slot]
	if !n.up || n.incarnation != c.incarnation || sl.state != reducing || sl.lease.Attempt != a {
		return nil
	}
	return sl
}

// merge reduces what was received, if it is what the runs say.
func (n *node) merge(i int) {
	s, sl := n.s, &n.slots[i]
	f, l := &sl.fetched, &sl.lease
	want, vectors := make(map[string]expect, len(f.runs)), make(map[job.TaskID]uint64, len(f.runs))
	for t, r := range f.runs {
		want[r.Attempt.String()] = f.tables[r.Attempt][l.Partition]
		vectors[t] = r.Vector
	}
	text, records, err := f.inbox.reduce(want)
	if err != nil {
		s.note("%s: %v", l.Attempt, err)
		if f.rounds++; f.rounds > 3 {
			n.blames(i, err)
			return
		}
		// What is tentative and not as it should be is dropped, and fetched.
		f.inbox, f.waits = newInbox(), 0
		clear(f.tables)
		maps.Copy(f.runs, f.newer)
		clear(f.newer)
		n.fetch(i, true)
		return
	}
	res := n.result(l)
	res.Counters.Output = records
	res.Vector = Merged(vectors)
	res.Part = n.upload(l, "part-"+string(l.Attempt.Task), text)
	n.commits(i, res)
}

// blames fails a reduce because of a run.
func (n *node) blames(i int, err error) {
	f := Failure{Fault: FaultTask, Object: -1, Reason: err.Error()}
	var bad *shuffle.RunError
	if errors.As(err, &bad) {
		for _, r := range n.slots[i].fetched.runs {
			if r.Attempt.String() == bad.Run {
				f.Fault, f.Run = FaultRun, r.Attempt
			}
		}
	}
	n.failed(i, f)
}
