package coordinator

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/job"
)

// misses has a reduce say that it cannot have a run, and returns what it is told at once.
func (b *bench) misses(node string, l Lease, run job.AttemptID, gone bool) []Arrivals {
	b.t.Helper()
	b.ticket++
	return b.tells(Followed{b.ticket, Follow{Sender: from(node), Attempt: l.Attempt, Next: len(b.m.runs), Missing: []Missing{{run, gone, "no such file"}}}, start})
}

// nothing checks that a node gets no work.
func (b *bench) nothing(node string) {
	b.t.Helper()
	if l, ok := b.lease(node); ok {
		b.t.Errorf("%s was given %s, want nothing", node, l.Attempt)
	}
}

func attemptOf(s string) job.AttemptID {
	task, _, _ := strings.Cut(s, ".")
	return job.AttemptID{Task: job.TaskID(task), Try: int(s[len(s)-1] - '0')}
}

// A run that its node has not got is made again, while the reduce waits; in the end that fails the job.
func TestRunIsGone(t *testing.T) {
	b := newBench(t, 1, 1)
	b.mapOf("a", "m-00000.1", 7)
	r := b.take("b", "r-00000.1")
	for try := 1; ; try++ {
		run := job.AttemptID{Task: "m-00000", Try: try}
		got := b.misses("b", r, run, true)
		if try == maxFailures {
			b.wantGone("the last time", got)
			break
		}
		if len(got) > 0 {
			t.Fatalf("told %+v of what is being made again", got)
		}
		if got := b.misses("b", r, run, true); len(got) != 1 || got[0].Gone { // its earlier question is answered
			t.Fatalf("the same again: told %+v", got)
		}
		b.told = nil
		run.Try++
		b.mapOf("a", run.String(), 7)
		b.wantTold("made again", b.told, true, run.String())
	}
	b.wantFail("map m-00000.16 on a: no such file")
}

// Of two nodes that cannot reach each other, the one that asked gets no more work; what it keeps and nobody can have is made again.
func TestTwoNodesApart(t *testing.T) {
	b := newBench(t, 2, 2)
	b.mapOf("a", "m-00000.1", 7)
	b.mapOf("b", "m-00001.1", 8)
	b.take("b", "r-00000.1")
	r := b.take("a", "r-00001.1")
	b.wantGone("a is apart from b", b.misses("a", r, attemptOf("m-00001.1"), false))
	b.nothing("a")
	r = b.take("b", "r-00001.2")
	if got := b.misses("b", r, attemptOf("m-00000.1"), false); len(got) > 0 {
		t.Fatalf("told %+v of what is being made again", got)
	}
	b.nothing("a")
	b.mapOf("b", "m-00000.2", 7)
	b.wantTold("made again", b.told, true, "m-00000.2")
	if got := b.misses("b", r, attemptOf("m-00000.1"), false); len(got) != 1 || !got[0].All {
		t.Errorf("of a run that was replaced: told %+v", got)
	}
	// When the other is gone, there is nobody left to be apart from.
	ls, _ := b.step(Lost{Node: "b", Now: start})
	given := make(map[string]bool)
	for _, l := range ls {
		given[l.Attempt.String()] = true
	}
	if !given["m-00000.3"] || !given["m-00001.2"] {
		t.Errorf("the slots of a, which wait, were given %v, want both maps", given)
	}
}

// A node that several others cannot reach is to blame, and not the first of them that said so.
func TestOneNodeApart(t *testing.T) {
	b := newBench(t, 2, 3)
	b.mapOf("bad", "m-00000.1", 7)
	b.mapOf("a", "m-00001.1", 8)
	r0, r1 := b.take("a", "r-00000.1"), b.take("b", "r-00001.1")
	b.take("c", "r-00002.1")
	b.wantGone("nobody knows which", b.misses("a", r0, attemptOf("m-00000.1"), false))
	b.nothing("a")
	if got := b.misses("b", r1, attemptOf("m-00000.1"), false); len(got) > 0 {
		t.Fatalf("told %+v, want to wait for what is made again", got)
	}
	b.nothing("bad")
	if l, ok := b.lease("a"); !ok || l.Attempt.String() != "r-00000.2" {
		t.Errorf("a was given %+v, %t", l, ok)
	}
	if m := b.m.task("m-00000"); m.state != leased || m.live[0].seat.host.name != "a" {
		t.Errorf("the lost map is %v, want it leased to a, which had asked", m.state)
	}
	if m := b.m.task("m-00001"); m.state != committed {
		t.Error("a map was lost that everybody can have")
	}
	// When it starts again, it is like any other.
	again := from("bad")
	again.Incarnation++
	b.step(Asked{99, Want{again, 0}, start})
	if b.m.shuns(b.m.host("bad")) {
		t.Error("a node that has started again gets no work")
	}
}

// A node that cannot reach several others is to blame, whatever it says.
func TestNodeApartFromAll(t *testing.T) {
	b := newBench(t, 3, 2)
	b.mapOf("a", "m-00000.1", 7)
	b.mapOf("b", "m-00001.1", 8)
	b.mapOf("bad", "m-00002.1", 9)
	r0, r1 := b.take("bad", "r-00000.1"), b.take("bad", "r-00001.1")
	b.lease("a") // there are others
	b.wantGone("the first", b.misses("bad", r0, attemptOf("m-00000.1"), false))
	b.wantGone("the second", b.misses("bad", r1, attemptOf("m-00001.1"), false))
	for _, run := range []string{"m-00000.1", "m-00001.1"} {
		if a := attemptOf(run); b.m.task(a.Task).state != committed {
			t.Errorf("%s was lost", a)
		}
	}
	b.nothing("bad")
}
