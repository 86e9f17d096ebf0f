package coordinator

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/job"
)

// mapOf commits the next map on a node, with a vector.
func (b *bench) mapOf(node, want string, vector uint64) {
	b.t.Helper()
	r := counted(10, 0)
	r.Vector = vector
	if v := b.commit(b.from(node), b.take(node, want).Attempt, r); !v.Accepted {
		b.t.Fatal(v.Reason)
	}
}

// follow asks for what came after a place, and returns what is said at once.
func (b *bench) follow(node string, l Lease, next int) []Arrivals {
	b.t.Helper()
	b.ticket++
	return b.tells(Followed{b.ticket, Follow{Sender: b.from(node), Attempt: l.Attempt, Next: next}, start})
}

// tells returns what reduces are told because of e.
func (b *bench) tells(e Event) []Arrivals {
	b.t.Helper()
	b.told = nil
	b.step(e)
	return b.told
}

// wantTold checks one answer, by its runs.
func (b *bench) wantTold(what string, got []Arrivals, all bool, runs ...string) {
	b.t.Helper()
	if len(got) != 1 || got[0].Gone || got[0].All != all || len(got[0].Runs) != len(runs) {
		b.t.Fatalf("%s: told %+v, want %v, all: %t", what, got, runs, all)
	}
	for i, r := range got[0].Runs {
		if r.Attempt.String() != runs[i] {
			b.t.Errorf("%s: told %+v, want %v", what, got, runs)
		}
	}
}

func (b *bench) wantGone(what string, got []Arrivals) {
	b.t.Helper()
	if len(got) != 1 || !got[0].Gone {
		b.t.Errorf("%s: told %+v, want that it is over", what, got)
	}
}

// A reduce begins when no map waits, and is told of runs as maps end: the last at once, others with the next tick.
func TestReduceFollowsMaps(t *testing.T) {
	b := newBench(t, 4, 1)
	b.mapOf("n", "m-00000.1", 7)
	l1, l2 := b.take("n", "m-00001.1"), b.take("m", "m-00002.1")
	l3 := b.take("n", "m-00003.1")
	r := b.take("m", "r-00000.1")
	if len(r.Runs) != 1 || r.All || r.Next != 1 {
		t.Errorf("leased with %+v", r.Arrivals)
	}
	if got := b.follow("m", r, r.Next); len(got) > 0 {
		t.Errorf("told %+v while nothing is new", got)
	}
	if got := b.tells(Reported{1, Commit{from("m"), l2.Attempt, counted(10, 0)}}); len(got) > 0 {
		t.Errorf("told %+v before the next tick", got)
	}
	b.wantTold("tick", b.tells(Ticked{start}), false, "m-00002.1")
	b.commit(from("n"), l1.Attempt, counted(10, 0))
	b.wantTold("asked late", b.follow("m", r, 2), false, "m-00001.1")
	if v := b.commit(from("m"), r.Attempt, reducedAll(r.Runs)); v.Accepted {
		t.Error("a reduce counts that has merged one run of four")
	}
	if got := b.follow("m", r, 3); len(got) > 0 {
		t.Errorf("told %+v", got)
	}
	b.wantTold("end", b.tells(Reported{1, Commit{from("n"), l3.Attempt, counted(10, 0)}}), true, "m-00003.1")
	b.wantTold("asked again", b.follow("m", r, 3), true, "m-00003.1")
	b.wantTold("from the start", b.follow("m", r, 0), true, "m-00000.1", "m-00002.1", "m-00001.1", "m-00003.1")
	if v := b.commit(from("m"), r.Attempt, reducedAll(b.told[0].Runs)); !v.Accepted {
		t.Error(v.Reason)
	}
	if _, ok := b.end.(Finish); !ok {
		t.Errorf("ended with %v", b.end)
	}
}

// A run that is lost is replaced; who was told of both has the same records.
func TestLostRunIsReplaced(t *testing.T) {
	b := newBench(t, 2, 1)
	b.mapOf("gone", "m-00000.1", 7)
	l := b.take("n", "m-00001.1")
	r := b.take("n", "r-00000.1")
	if len(r.Runs) != 1 {
		t.Fatalf("leased with %+v", r.Arrivals)
	}
	b.lease("m") // there is a slot for the lost map
	b.step(Lost{Node: "gone", Now: start})
	if got := b.follow("n", r, 0); len(got) > 0 {
		t.Errorf("told %+v, which is lost", got)
	}
	if got := b.tells(Reported{1, Commit{from("n"), l.Attempt, counted(10, 0)}}); len(got) > 0 {
		t.Errorf("told %+v while a map runs again", got)
	}
	again := counted(10, 0)
	again.Vector = 7
	got := b.tells(Reported{1, Commit{from("m"), job.AttemptID{Task: "m-00000", Try: 2}, again}})
	b.wantTold("replaced", got, true, "m-00001.1", "m-00000.2")
}

// Whoever asks and is not who was given the attempt is told that it is over.
func TestStaleFollow(t *testing.T) {
	b := newBench(t, 1, 1)
	b.take("n", "m-00000.1")
	r := b.take("n", "r-00000.1")
	for name, f := range map[string]Follow{
		"job":         {Sender: Sender{"other", 3, "n", 1}, Attempt: r.Attempt, Next: 0},
		"epoch":       {Sender: Sender{"j", 2, "n", 1}, Attempt: r.Attempt, Next: 0},
		"incarnation": {Sender: Sender{"j", 3, "n", 0}, Attempt: r.Attempt, Next: 0},
		"node":        {Sender: from("elsewhere"), Attempt: r.Attempt, Next: 0},
		"try":         {Sender: from("n"), Attempt: job.AttemptID{Task: "r-00000", Try: 2}, Next: 0},
		"task":        {Sender: from("n"), Attempt: job.AttemptID{Task: "r-00009", Try: 1}, Next: 0},
		"map":         {Sender: from("n"), Attempt: job.AttemptID{Task: "m-00000", Try: 1}, Next: 0},
		"before":      {Sender: from("n"), Attempt: r.Attempt, Next: -1},
		"beyond":      {Sender: from("n"), Attempt: r.Attempt, Next: 1},
	} {
		b.wantGone(name, b.tells(Followed{9, f, start}))
	}
	if got := b.follow("n", r, 0); len(got) > 0 {
		t.Errorf("told %+v", got)
	}
	// Of two questions the later counts.
	b.wantTold("the earlier", b.follow("n", r, 0), false)
	b.wantGone("stopped", b.tells(Stopped{fmt.Errorf("enough")}))
	b.wantGone("after the end", b.follow("n", r, 0))
}

// A map that waits gets a slot: that of the youngest reduce that waits for maps, if none is free, and of no more than are needed.
func TestRecall(t *testing.T) {
	b := newBench(t, 4, 3)
	b.mapOf("gone", "m-00000.1", 7)
	for i, node := range []string{"gone", "gone", "n"} {
		b.take(node, fmt.Sprintf("m-0000%d.1", i+1))
	}
	var rs []Lease
	for i := range 3 {
		r := b.take("n", fmt.Sprintf("r-0000%d.1", i))
		rs = append(rs, r)
		b.follow("n", r, r.Next)
	}
	if _, ok := b.lease("m"); ok {
		t.Fatal("a lease with nothing to do")
	}
	// Three maps are lost, and one slot is free: two reduces are given back.
	b.told = nil
	ls, _ := b.step(Lost{Node: "gone", Now: start})
	if l := ls[b.ticket]; l.Attempt.Task.IsReduce() || l.Attempt.Try != 2 {
		t.Errorf("the free slot was given %+v", l)
	}
	if len(b.told) != 2 || !b.told[0].Gone || !b.told[1].Gone {
		t.Fatalf("told %+v, want two that are given back", b.told)
	}
	b.wantGone("the youngest", b.follow("n", rs[2], 0))
	if got := b.follow("n", rs[0], rs[0].Next); len(got) != 1 || got[0].Gone {
		t.Errorf("the oldest was told %+v", got)
	}
	for range 2 {
		if l, ok := b.lease("n"); !ok || l.Attempt.Task.IsReduce() || l.Attempt.Try != 2 {
			t.Errorf("a slot that was given back has %+v, %t", l, ok)
		}
	}
	if l, ok := b.lease("n"); !ok || l.Attempt.String() != "r-00001.2" {
		t.Errorf("then %+v, %t", l, ok)
	}
	if o := b.m.Outcome().Counters; o.Retries != 3+2 {
		t.Errorf("%d retries, want those of three maps and two reduces", o.Retries)
	}
}

// A slot whose attempt has just ended is free: nothing is given back for it, unless it does not come.
func TestRecallWaitsForTheSlotThatIsFree(t *testing.T) {
	b := newBench(t, 1, 1)
	now := start
	step := func(d time.Duration, e Event) []Arrivals {
		now = now.Add(d)
		b.m.At(now)
		return b.tells(e)
	}
	step(0, Ticked{now})
	m := b.take("n", "m-00000.1")
	r := b.take("n", "r-00000.1")
	b.follow("n", r, r.Next)
	got := step(0, Broken{1, Failure{Sender: from("n"), Attempt: m.Attempt, Fault: FaultTask, Object: -1, Reason: "died"}, now})
	if got = append(got, step(absence/2, Ticked{now})...); len(got) > 0 {
		t.Errorf("told %+v while a slot is free", got)
	}
	b.wantGone("the slot does not come", step(absence, Ticked{now}))
	// The only slot that is there takes the map, however often that fails, and then the reduce.
	for try := 2; try <= 5; try++ {
		m = b.take("n", fmt.Sprintf("m-00000.%d", try))
		b.fail("n", m, FaultTask, -1, "died again")
	}
	b.commit(from("n"), b.take("n", "m-00000.6").Attempt, counted(10, 0))
	if r := b.take("n", "r-00000.2"); !r.All || len(r.Runs) != 1 {
		t.Errorf("leased with %+v", r.Arrivals)
	}
}

// More runs than fit into a message come one message after the other.
func TestManyRuns(t *testing.T) {
	b := newBench(t, maxRuns+2, 1)
	for i := range maxRuns + 2 {
		b.mapOf("n", string(job.MapTask(i))+".1", 1)
	}
	r := b.take("n", "r-00000.1")
	if len(r.Runs) != maxRuns || r.All {
		t.Errorf("leased with %d runs, all: %t", len(r.Runs), r.All)
	}
	got := b.follow("n", r, r.Next)
	if len(got) != 1 || len(got[0].Runs) != 2 || !got[0].All {
		t.Errorf("told %+v", got)
	}
}
