package agent

import (
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
	"github.com/millrace/millrace/shuffle/shuffletest"
)

// inOrder emits words as they are, and has them come out in order.
func inOrder() *job.Job {
	return job.MapGroup(func(obj *mapper.Object, emit func(string, string)) error {
		for _, w := range strings.Fields(string(obj.Data)) {
			emit(w, obj.Key)
		}
		return nil
	}, func(k string, from iter.Seq[string], emit func(string, string)) error {
		for v := range from {
			emit(k, v)
		}
		return nil
	})
}

// joined joins the words of objects with even and with odd names.
func joined() *job.Job {
	pair := reducer.Join[string](reducer.Inner, func(_ string, l, r *string) string { return *l + " " + *r })
	return job.MapGroup(func(obj *mapper.Object, emit func(string, reducer.Row[string, string])) error {
		odd := (obj.Key[len(obj.Key)-1]-'0')%2 == 1
		for _, w := range strings.Fields(string(obj.Data)) {
			if odd {
				emit(w, reducer.RightRow[string](obj.Key))
			} else {
				emit(w, reducer.LeftRow[string, string](obj.Key))
			}
		}
		return nil
	}, pair)
}

// Reducers on other nodes than the maps publish the same as on one node.
func TestReduceElsewhere(t *testing.T) {
	for name, j := range map[string]*job.Job{"words": words(), "sort": inOrder(), "join": joined()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects := lines(24, 300)
			want := alone(t, j, objects, 2, 3)
			s := newSite(t, j, objects, 2, 3)
			s.hello.Limits.Shuffle = 1 // so little that there are several runs of a map
			s.begin()
			a, b, c := s.node("a", nil), s.node("b", nil), s.node("c", nil)
			a.reduces, b.maps, c.maps = false, false, false
			for _, n := range []*resident{a, b, c} {
				n.run(1)
			}
			same(t, s.parts(), want)
			if a.keeps() != 12 || b.keeps()+c.keeps() > 0 {
				t.Errorf("a keeps %d runs of 12, others %d", a.keeps(), b.keeps()+c.keeps())
			}
			if failures, missing := s.said(); len(failures) > 0 || len(missing) > 0 {
				t.Errorf("failures %+v, missing %v", failures, missing)
			}
		})
	}
}

// All nodes map and reduce, over connections that break again and again.
func TestFetchOverBrokenLines(t *testing.T) {
	t.Parallel()
	objects := lines(30, 4000)
	want := alone(t, inOrder(), objects, 3, 4)
	s := newSite(t, inOrder(), objects, 3, 4)
	s.begin()
	var cuts atomic.Int64
	for _, name := range []string{"a", "b", "c"} {
		line := &shuffletest.Line{}
		passed := 0
		line.Spoil(func(chunk []byte, _ bool) [][]byte {
			if passed += len(chunk); passed > 20_000 && cuts.Add(1) <= 12 {
				passed = 0
				go line.Cut()
			}
			return [][]byte{chunk}
		})
		s.node(name, line).run(1)
	}
	same(t, s.parts(), want)
	if n := cuts.Load(); n < 3 {
		t.Errorf("%d connections broke, want some more", n)
	}
}

// A node whose data plane is gone, though its agent lives on, is done without.
func TestPeerIsOutOfReach(t *testing.T) {
	for name, breaks := range map[string]func(n *resident){
		"closed":  func(n *resident) { n.unplug() },
		"stalled": func(n *resident) { n.line.Hold() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects := lines(24, 500)
			want := alone(t, words(), objects, 2, 3)
			s := newSite(t, words(), objects, 2, 3)
			s.patience = 500 * time.Millisecond
			s.begin()
			line := &shuffletest.Line{}
			a, b, c := s.node("a", line), s.node("b", nil), s.node("c", nil)
			a.reduces = false
			broken := make(chan struct{})
			var begun atomic.Bool
			for _, n := range []*resident{b, c} {
				n.before = func(l *coordinator.Lease) {
					if l.Attempt.Task.IsReduce() && begun.CompareAndSwap(false, true) {
						breaks(a)
						close(broken)
					}
				}
			}
			for _, n := range []*resident{a, b, c} {
				n.run(1)
			}
			same(t, s.parts(), want)
			select {
			case <-broken:
			default:
				t.Fatal("nothing was broken")
			}
			if failures, missing := s.said(); len(missing) == 0 || len(failures) > 0 {
				t.Errorf("missing %v, failures %+v: want that some runs were missing, and no failures", missing, failures)
			}
			line.Release()
		})
	}
}

// What a disk has altered is found by whoever reduces it, and mapped again.
func TestAlteredRunIsMappedAgain(t *testing.T) {
	t.Parallel()
	objects := lines(24, 300)
	want := alone(t, inOrder(), objects, 2, 2)
	s := newSite(t, inOrder(), objects, 2, 2)
	s.begin()
	a, b := s.node("a", nil), s.node("b", nil)
	a.reduces, b.maps = false, false
	var flipped atomic.Bool
	b.before = func(l *coordinator.Lease) {
		if len(l.Runs) == 0 || !flipped.CompareAndSwap(false, true) {
			return
		}
		kept, err := a.agent.runs.get(l.Runs[0].Attempt, l.Runs[0].Vector)
		if err != nil {
			t.Error(err)
			return
		}
		sections := kept.partition(l.Partition)
		var one [1]byte
		at := sections[0].Offset + sections[0].Length/2
		_, err = kept.file.ReadAt(one[:], at)
		one[0] ^= 0x10
		if err == nil {
			_, err = kept.file.WriteAt(one[:], at)
		}
		if err != nil {
			t.Error(err)
		}
	}
	a.run(1)
	b.run(1)
	same(t, s.parts(), want)
	if failures, _ := s.said(); !flipped.Load() || len(failures) != 1 || failures[0].Fault != coordinator.FaultRun {
		t.Errorf("failures %+v, want one because of a run", failures)
	}
}

// A run that its node cannot read any more, or does not have, is mapped again, and the reduce goes on with what it has.
func TestRunIsGone(t *testing.T) {
	for name, spoil := range map[string]func(a *Agent, id job.AttemptID, r *run) error{
		"cut short":   func(_ *Agent, _ job.AttemptID, r *run) error { return r.file.Truncate(r.sections[0].Offset + 1) },
		"closed":      func(_ *Agent, _ job.AttemptID, r *run) error { return r.file.Close() },
		"not there":   func(a *Agent, id job.AttemptID, _ *run) error { a.runs.drop(id); return nil },
		"other table": func(_ *Agent, _ job.AttemptID, r *run) error { r.sections[0].Digest++; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects := lines(24, 300)
			want := alone(t, inOrder(), objects, 2, 1)
			s := newSite(t, inOrder(), objects, 2, 1)
			s.begin()
			a, b := s.node("a", nil), s.node("b", nil)
			a.reduces, b.maps = false, false
			var id job.AttemptID
			b.before = func(l *coordinator.Lease) {
				if id.Task != "" || len(l.Runs) == 0 {
					return
				}
				id = l.Runs[0].Attempt
				kept, err := a.agent.runs.get(id, l.Runs[0].Vector)
				if err == nil {
					err = spoil(a.agent, id, kept)
				}
				if err != nil {
					t.Error(err)
				}
			}
			a.run(1)
			b.run(1)
			same(t, s.parts(), want)
			failures, missing := s.said()
			if gone, ok := missing[id.String()]; !ok || !gone || len(failures) > 0 {
				t.Errorf("missing %v, failures %+v: want that %s was gone, and nothing failed", missing, failures, id)
			}
			if name == "closed" { // what the agent closes at last is not there to close
				a.agent.runs.drop(id)
			}
		})
	}
}

// An agent that is started again has nothing of what the one before kept: who asks for it is refused, and it is mapped again.
func TestPeerStartsAgain(t *testing.T) {
	t.Parallel()
	objects := lines(24, 300)
	want := alone(t, words(), objects, 2, 2)
	s := newSite(t, words(), objects, 2, 2)
	s.begin()
	a, b := s.node("a", nil), s.node("b", nil)
	a.reduces, b.maps = false, false
	var again *resident
	b.before = func(l *coordinator.Lease) {
		if again != nil {
			return
		}
		a.die()
		again = s.node("a", nil)
		again.run(1) // under the coordinator's eyes when it asks for work
	}
	a.run(1)
	b.run(1)
	same(t, s.parts(), want)
	if failures, _ := s.said(); again == nil || again.number != 2 || again.keeps() == 0 || len(failures) > 0 {
		t.Errorf("the second agent keeps nothing, or failures %+v", failures)
	}
}

// A node that dies while it reduces, with some of its runs fetched, is followed by another, which fetches them again.
func TestReducerDies(t *testing.T) {
	t.Parallel()
	objects := lines(24, 300)
	want := alone(t, inOrder(), objects, 2, 1)
	s := newSite(t, inOrder(), objects, 2, 1)
	s.begin()
	a, b, c := s.node("a", nil), s.node("b", nil), s.node("c", nil)
	a.reduces, b.maps, c.maps = false, false, false
	c.reduces = false // until b is dead
	some := make(chan bool)
	b.before = func(l *coordinator.Lease) {
		go func() {
			deadline := time.Now().Add(time.Minute)
			for b.agent.runs.taken() == 0 && time.Now().Before(deadline) {
				time.Sleep(time.Millisecond)
			}
			some <- b.agent.runs.taken() > 0
		}()
	}
	// One map is held back, so that the reduce waits with what it has.
	hold := make(chan struct{})
	a.before = func(l *coordinator.Lease) {
		if l.Attempt.Task == job.MapTask(len(s.splits)-1) {
			<-hold
		}
	}
	a.run(1)
	b.run(1)
	if !<-some {
		t.Error("nothing was fetched")
	}
	b.die()
	s.tell(coordinator.Lost{Node: "b", Now: time.Now()})
	c.reduces = true
	c.run(1)
	close(hold)
	same(t, s.parts(), want)
	if n := b.agent.runs.taken(); n != 0 {
		t.Errorf("%d bytes of the disk are still counted on the dead node", n)
	}
}

// taken returns how many bytes are counted.
func (rs *runs) taken() int64 {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.size
}

// What is fetched counts against the limit of the disk.
func TestFetchKeepsToTheSpillLimit(t *testing.T) {
	t.Parallel()
	s := newSite(t, inOrder(), lines(24, 3000), 2, 1)
	s.begin()
	a, b := s.node("a", nil), s.node("b", nil)
	a.reduces, b.maps = false, false
	a.run(1)
	s.hello.Limits.Spill = 100_000
	b.run(1)
	<-s.coord.Ended()
	_, err := s.coord.Outcome()
	if err == nil || !strings.Contains(err.Error(), "r-00000") || !strings.Contains(err.Error(), "spill limit") {
		t.Errorf("ended with %v, want that the limit is passed", err)
	}
}

// A node that is not known to be there at first is found when it is.
func TestPeerIsFoundLater(t *testing.T) {
	t.Parallel()
	objects := lines(24, 300)
	want := alone(t, words(), objects, 2, 1)
	s := newSite(t, words(), objects, 2, 1)
	s.begin()
	s.unknown = 3
	a, b := s.node("a", nil), s.node("b", nil)
	a.reduces, b.maps = false, false
	a.run(1)
	b.run(1)
	same(t, s.parts(), want)
	if failures, missing := s.said(); len(failures) > 0 || len(missing) > 0 {
		t.Errorf("failures %+v, missing %v", failures, missing)
	}
}
