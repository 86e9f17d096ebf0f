package coordinator

import (
	"github.com/millrace/millrace/job"
)

// A fetched is what a reduce has received.
type fetched struct {
	inbox   inbox
	tables  map[job.AttemptID][]expect // that runs have, by their own word
	pending int                        // pieces asked for
	rounds  int
	waits   int
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
			s.stream(sp.piece(l.Attempt.String(), p), func(b []byte) { to.ahead(epoch, p, b) })
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

// reduce receives what is missing, or ends the attempt.
func (n *node) reduce(i int) {
	s, sl := n.s, &n.slots[i]
	f, l := &sl.fetched, &sl.lease
	switch {
	case s.fault(20):
		n.die(i, -1)
	case f.tables == nil:
		f.tables = make(map[job.AttemptID][]expect)
		f.inbox = n.tentative[l.Partition]
		n.tentative[l.Partition] = inbox{}
		if f.inbox.in == nil {
			f.inbox = newInbox()
			n.fetch(i, true)
			return
		}
		n.fetch(i, false) // perhaps all is there
	case f.pending > 0 && !s.late():
		// It waits for what it asked for.
	case len(f.tables) < len(l.Runs):
		if f.waits++; f.waits > 4 {
			n.fails(i, FaultStore, -1, "out of reach")
			return
		}
		n.fetch(i, f.rounds > 0)
	default:
		n.merge(i)
	}
}

// fetch asks for the runs of which nothing is known, for their tables alone or with their sections.
func (n *node) fetch(i int, sections bool) {
	sl := &n.slots[i]
	f, l := &sl.fetched, &sl.lease
	if sections {
		f.rounds = max(f.rounds, 1)
	}
	f.pending = 0
	for _, r := range l.Runs {
		if f.tables[r.Attempt] == nil {
			f.pending++
			n.request(i, r, sections)
		}
	}
}

// request asks the keeper of a run for what it has of the slot's partition.
func (n *node) request(i int, r Run, sections bool) {
	s, sl := n.s, &n.slots[i]
	from, attempt, p, epoch := caller{n, n.incarnation, i, sl.seq}, sl.lease.Attempt, sl.lease.Partition, n.epoch
	keeper := s.byName(r.Node)
	s.send(keeper, func() {
		if !keeper.up || keeper.epoch != epoch {
			return
		}
		run := keeper.kept[r.Attempt]
		s.note("%v is asked for %s by %s: %t", keeper, r.Attempt, attempt, run != nil)
		if run == nil || vectorOf(run.table) != r.Vector {
			s.send(n, func() {
				if sl := n.fetching(from, attempt); sl != nil {
					n.fails(from.slot, FaultStore, -1, "run is not there")
				}
			})
			return
		}
		if sections {
			for _, sp := range run.spills {
				if sp.sections[p].Emitted == 0 {
					continue
				}
				s.stream(sp.piece(r.Attempt.String(), p), func(b []byte) {
					if sl := n.fetching(from, attempt); sl != nil {
						sl.fetched.pending--
						if err := sl.fetched.inbox.take(b); err != nil {
							s.note("%s: %v", attempt, err)
						}
					}
				})
			}
		}
		s.send(n, func() {
			sl := n.fetching(from, attempt)
			if sl == nil {
				return
			}
			f := &sl.fetched
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
	want := make(map[string]expect, len(l.Runs))
	for _, r := range l.Runs {
		want[r.Attempt.String()] = f.tables[r.Attempt][l.Partition]
	}
	text, records, err := f.inbox.reduce(want)
	if err != nil {
		s.note("%s: %v", l.Attempt, err)
		if f.rounds++; f.rounds > 5 {
			n.fails(i, FaultTask, -1, err.Error())
			return
		}
		// What is tentative and not as it should be is dropped, and fetched.
		f.inbox, f.waits = newInbox(), 0
		clear(f.tables)
		n.fetch(i, true)
		return
	}
	res := n.result(l)
	res.Counters.Output = records
	res.Part = n.upload(l, "part-"+string(l.Attempt.Task), text)
	n.commits(i, res)
}
