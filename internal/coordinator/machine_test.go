package coordinator

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

var start = time.Unix(1000, 0)

// A bench drives one Machine and takes its effects apart.
type bench struct {
	t      *testing.T
	m      *Machine
	ticket Ticket
	end    Effect // Finish or Fail, once it came
	thrown []store.Handle
	log    []Record
	told   []Arrivals
	epoch  uint64 // 0: 3

	revoked []Revoke
	barred  []Quarantine
}

func newBench(t *testing.T, maps, reducers int) *bench { return newBenchOf(t, maps, reducers, true) }

func newBenchOf(t *testing.T, maps, reducers int, sealed bool) *bench {
	b := &bench{t: t, m: New(Config{
		Job: "j", Epoch: 3, Reducers: reducers,
		Tolerates: func(failed, total int64) bool { return failed*100 <= total },
	})}
	for i := range maps {
		b.step(Planned{job.Split{Task: job.MapTask(i), Objects: 1000}})
	}
	if sealed {
		b.step(Sealed{Digest: "digest"})
	}
	return b
}

// step returns the answers among the effects of e.
func (b *bench) step(e Event) (leases map[Ticket]Lease, v *Verdict) {
	b.t.Helper()
	leases = make(map[Ticket]Lease)
	for _, f := range b.m.Step(e) {
		switch f := f.(type) {
		case Grant:
			leases[f.Ticket] = f.Lease
		case Judge:
			v = &f.Verdict
		case Tell:
			b.told = append(b.told, f.Arrivals)
		case Discard:
			b.thrown = append(b.thrown, f.Handles...)
		case Revoke:
			b.revoked = append(b.revoked, f)
		case Quarantine:
			b.barred = append(b.barred, f)
		case Append:
			b.log = append(b.log, f.Record)
		case Finish, Fail:
			if b.end != nil {
				b.t.Errorf("a second end %v after %v", f, b.end)
			}
			b.end = f
		}
	}
	return leases, v
}

// from is a node of the job of b.
func (b *bench) from(node string) Sender {
	s := from(node)
	if b.epoch != 0 {
		s.Epoch = b.epoch
	}
	return s
}

func from(node string) Sender { return Sender{Job: "j", Epoch: 3, Node: node, Incarnation: 1} }

// lease asks for work, for a slot of its own, and returns the answer, if there is one at once.
func (b *bench) lease(node string) (Lease, bool) {
	b.t.Helper()
	b.ticket++
	ls, _ := b.step(Asked{b.ticket, Want{b.from(node), int(b.ticket)}, start})
	l, ok := ls[b.ticket]
	return l, ok
}

func (b *bench) take(node string, want string) Lease {
	b.t.Helper()
	l, ok := b.lease(node)
	if !ok || l.Attempt.String() != want {
		b.t.Fatalf("%s was given %s (%v), want %s", node, l.Attempt, ok, want)
	}
	return l
}

func (b *bench) commit(s Sender, a job.AttemptID, r Result) Verdict {
	b.t.Helper()
	_, v := b.step(Reported{1, Commit{s, a, r}})
	if v == nil {
		b.t.Fatalf("commit of %s was not judged", a)
	}
	return *v
}

func (b *bench) fail(node string, l Lease, f Fault, object int, reason string) Verdict {
	b.t.Helper()
	_, v := b.step(Broken{1, Failure{Sender: b.from(node), Attempt: l.Attempt, Fault: f, Object: object, Reason: reason}, start})
	if v == nil {
		b.t.Fatalf("failure of %s was not judged", l.Attempt)
	}
	return *v
}

func (b *bench) wantFail(text string) {
	b.t.Helper()
	f, ok := b.end.(Fail)
	if !ok || !strings.Contains(f.Err.Error(), text) {
		b.t.Fatalf("ended with %#v, want the error %q", b.end, text)
	}
}

func counted(objects, failed int64) Result {
	return Result{Counters: job.Counters{Objects: objects, Failed: failed, User: map[string]int64{"seen": objects}}}
}

// reducedAll is the result of a reduce of runs.
func reducedAll(runs []Run) Result {
	vectors := make(map[job.TaskID]uint64)
	for _, r := range runs {
		vectors[r.Attempt.Task] = r.Vector
	}
	return Result{Vector: Merged(vectors)}
}

func withPart(handle string) Result {
	r := counted(10, 0)
	r.Part = &store.Pending{Handle: store.Handle{ID: handle}}
	return r
}

func TestMapReduceToTheEnd(t *testing.T) {
	b := newBench(t, 2, 1)
	m0, m1 := b.take("n", "m-00000.1"), b.take("n", "m-00001.1")
	for _, l := range []Lease{m0, m1} {
		if v := b.commit(from("n"), l.Attempt, counted(10, 0)); !v.Accepted {
			t.Fatal(v.Reason)
		}
	}
	r := b.take("n", "r-00000.1")
	if len(r.Runs) != 2 || r.Runs[1].Attempt != m1.Attempt || r.Runs[1].Node != "n" {
		t.Errorf("got runs %v", r.Runs)
	}
	b.commit(from("n"), r.Attempt, reducedAll(r.Runs))
	if _, ok := b.end.(Finish); !ok {
		t.Fatalf("ended with %v", b.end)
	}
	if o := b.m.Outcome(); o.Counters.Objects != 20 || o.Counters.User["seen"] != 20 || o.Digest != "digest" || len(o.Parts) != 3 {
		t.Errorf("got %+v", o)
	}
	if l, ok := b.lease("n"); !ok || !l.Over {
		t.Errorf("got lease %+v after the end", l)
	}
}

func TestRefusedCommits(t *testing.T) {
	for name, c := range map[string]struct {
		sender Sender
		try    int
		task   job.TaskID
	}{
		"job":         {Sender{"other", 3, "n", 1}, 1, "m-00000"},
		"epoch":       {Sender{"j", 2, "n", 1}, 1, "m-00000"},
		"incarnation": {Sender{"j", 3, "n", 0}, 1, "m-00000"},
		"node":        {from("elsewhere"), 1, "m-00000"},
		"try":         {from("n"), 2, "m-00000"},
		"task":        {from("n"), 1, "m-00009"},
		"unleased":    {from("n"), 1, "m-00001"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 2, 0)
			b.take("n", "m-00000.1")
			v := b.commit(c.sender, job.AttemptID{Task: c.task, Try: c.try}, withPart("mine"))
			if v.Accepted || v.Reason == "" {
				t.Errorf("got %+v", v)
			}
			if len(b.thrown) != 1 || b.thrown[0].ID != "mine" {
				t.Errorf("discarded %v", b.thrown)
			}
			if n := b.m.Outcome().Counters.Objects; n != 0 {
				t.Errorf("counted %d objects", n)
			}
		})
	}
}

// A commit whose answer was lost on its way is sent again: it still counts, and its output must not be given up.
func TestCommitTwice(t *testing.T) {
	b := newBench(t, 2, 0)
	l := b.take("n", "m-00000.1")
	for range 2 {
		if v := b.commit(from("n"), l.Attempt, withPart("mine")); !v.Accepted {
			t.Errorf("refused: %s", v.Reason)
		}
	}
	if len(b.thrown) > 0 {
		t.Errorf("discarded %v, which counts", b.thrown)
	}
	if n := b.m.Outcome().Counters.Objects; n != 10 {
		t.Errorf("counted %d objects, want 10", n)
	}
	if n := len(b.log); n != 2 {
		t.Errorf("%d records in the log, want 2", n)
	}
}

func TestFaults(t *testing.T) {
	b := newBench(t, 1, 0)
	for range 40 { // a busy store consumes no attempt
		l, _ := b.lease("n")
		b.fail("n", l, FaultStore, -1, "slow down")
	}
	l, _ := b.lease("n")
	b.fail("n", l, FaultObject, 7, "trap")
	if l, _ = b.lease("n"); l.Skip[7] != "trap" || b.end != nil {
		t.Fatalf("got %+v, end %v", l, b.end)
	}
	for i := range 4 {
		if l.Skip[8] != "" {
			t.Errorf("object skipped after %d deaths", i)
		}
		b.fail("n", l, FaultTask, 8, "runner died")
		l, _ = b.lease("n")
	}
	if !strings.HasSuffix(l.Skip[8], "the last time: runner died") {
		t.Errorf("got %q", l.Skip[8])
	}
	b.fail("n", l, FaultJob, -1, "no such program")
	b.wantFail("no such program")
	var e *job.Error
	if !errors.As(b.end.(Fail).Err, &e) {
		t.Errorf("got %T", b.end.(Fail).Err)
	}
}

func TestTooManyFailures(t *testing.T) {
	b := newBench(t, 1, 0)
	for i := range maxFailures {
		if b.end != nil {
			t.Fatalf("ended after %d failures", i)
		}
		b.fail("n", b.take("n", fmt.Sprintf("m-00000.%d", i+1)), FaultTask, -1, "disk on fire")
	}
	b.wantFail("map m-00000.16 on n: disk on fire")
}

func TestLostNode(t *testing.T) {
	for _, reducers := range []int{0, 1} {
		b := newBench(t, 3, reducers)
		for i := range 2 {
			l := b.take("gone", fmt.Sprintf("m-0000%d.1", i))
			b.commit(from("gone"), l.Attempt, counted(10, 0))
		}
		late := b.take("gone", "m-00002.1")
		b.step(Lost{Node: "gone", Now: start})
		want := int64(20)
		if reducers > 0 {
			want = 0 // its runs are gone with it
		}
		if o := b.m.Outcome(); o.Counters.Objects != want || o.Counters.User["seen"] != want {
			t.Errorf("%d reducers: got %+v, want %d objects", reducers, o.Counters, want)
		}
		if v := b.commit(from("gone"), late.Attempt, withPart("late")); v.Accepted || len(b.thrown) != 1 {
			t.Errorf("%d reducers: late commit: %+v, discarded %v", reducers, v, b.thrown)
		}
		for {
			l, ok := b.lease("n")
			if !ok {
				b.t.Fatal("work is missing")
			}
			if l.Over {
				break
			}
			r := counted(10, 0)
			r.Vector = reducedAll(l.Runs).Vector
			b.commit(from("n"), l.Attempt, r)
			if b.end != nil {
				break
			}
		}
		if n := b.m.Outcome().Counters.Objects; n != 30+10*int64(reducers) {
			t.Errorf("%d reducers: got %d objects", reducers, n)
		}
	}
}

// What a reducer could not read is mapped again, which costs the reducer nothing; but not for ever.
func TestUnreadableRunIsMappedAgain(t *testing.T) {
	b := newBench(t, 2, 1)
	for i := range 2 {
		b.commit(from("n"), b.take("n", fmt.Sprintf("m-0000%d.1", i)).Attempt, counted(10, 0))
	}
	for try := 1; try <= maxFailures; try++ {
		r := b.take("n", fmt.Sprintf("r-00000.%d", try))
		bad := r.Runs[1].Attempt
		if want := fmt.Sprintf("m-00001.%d", try); bad.String() != want {
			t.Fatalf("%s is leased with run %s, want %s", r.Attempt, bad, want)
		}
		f := Failure{Sender: from("n"), Attempt: r.Attempt, Fault: FaultRun, Object: -1, Run: bad, Reason: "run " + bad.String() + ": corrupt"}
		b.step(Broken{7, f, start})
		if try == maxFailures {
			break
		}
		again := b.take("n", fmt.Sprintf("m-00001.%d", try+1))
		if n := b.m.Outcome().Counters.Objects; n != 10 {
			t.Errorf("%d objects count while one map of two is lost, want 10", n)
		}
		b.commit(from("n"), again.Attempt, counted(10, 0))
	}
	b.wantFail("run m-00001.16: corrupt")
}

// A reducer may name a run that was replaced already: nothing is mapped again.
func TestUnreadableRunOfBefore(t *testing.T) {
	b := newBench(t, 1, 2)
	b.commit(from("n"), b.take("n", "m-00000.1").Attempt, counted(10, 0))
	r0, r1 := b.take("n", "r-00000.1"), b.take("n", "r-00001.1")
	broken := func(r Lease) {
		b.step(Broken{7, Failure{Sender: from("n"), Attempt: r.Attempt, Fault: FaultRun, Object: -1, Run: r.Runs[0].Attempt, Reason: "corrupt"}, start})
	}
	broken(r0)
	b.commit(from("n"), b.take("n", "m-00000.2").Attempt, counted(10, 0))
	broken(r1)
	for i := range 2 {
		r := b.take("n", fmt.Sprintf("r-0000%d.2", 1-i))
		b.commit(from("n"), r.Attempt, reducedAll(r.Runs))
	}
	if _, ok := b.end.(Finish); !ok {
		t.Errorf("ended with %#v", b.end)
	}
}

// The list of failed objects of a lost map would be published beside that of its second run.
func TestLostMapGivesUpItsList(t *testing.T) {
	b := newBench(t, 1, 1)
	r := counted(1000, 1)
	r.Failed = &store.Pending{Handle: store.Handle{ID: "list"}}
	b.commit(from("gone"), b.take("gone", "m-00000.1").Attempt, r)
	b.step(Lost{Node: "gone", Now: start})
	if len(b.thrown) != 1 || b.thrown[0].ID != "list" {
		t.Errorf("discarded %v", b.thrown)
	}
}

// A slot that asks again has lost its lease, or the answer to its report: nobody else would ever give the task back.
func TestSlotAsksAgain(t *testing.T) {
	b := newBench(t, 1, 0)
	ask := func(ticket Ticket, slot int) map[Ticket]Lease {
		ls, _ := b.step(Asked{ticket, Want{from("n"), slot}, start})
		return ls
	}
	first := ask(1, 0)[1]
	if ls := ask(2, 1); len(ls) > 0 {
		t.Fatalf("another slot was given %v", ls)
	}
	// The other one is first in line.
	if l, ok := ask(3, 0)[2]; !ok || l.Attempt.String() != "m-00000.2" {
		t.Fatalf("got %+v", l)
	}
	if v := b.commit(from("n"), first.Attempt, withPart("first")); v.Accepted || len(b.thrown) != 1 {
		t.Errorf("what was given up commits: %+v", v)
	}
	// Of two questions of one slot the later counts.
	if l, ok := ask(4, 0)[3]; !ok || !l.Idle {
		t.Errorf("the earlier question got %+v, %t", l, ok)
	}
	if l, ok := ask(5, 1)[4]; !ok || l.Attempt.String() != "m-00000.3" {
		t.Errorf("got %+v", l)
	}
	if o := b.m.Outcome().Counters; o.Attempts != 3 || o.Retries != 2 {
		t.Errorf("%d attempts, %d retries", o.Attempts, o.Retries)
	}
}

// Who hears of a later coordinator stops. What it would refuse may be what the other one counts, so that it refuses nothing.
func TestLaterEpoch(t *testing.T) {
	later := from("n")
	later.Epoch++
	a := job.AttemptID{Task: "m-00000", Try: 1}
	for name, e := range map[string]Event{
		"asked":    Asked{1, Want{Sender: later}, start},
		"reported": Reported{1, Commit{later, a, withPart("theirs")}},
		"broken":   Broken{1, Failure{Sender: later, Attempt: a, Fault: FaultTask, Object: -1}, start},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1, 0)
			b.take("n", "m-00000.1")
			for range 2 {
				if ls, v := b.step(e); len(ls) > 0 || v != nil || len(b.thrown) > 0 {
					t.Errorf("answered %v, %v; discarded %v", ls, v, b.thrown)
				}
			}
			b.wantFail("coordinator of epoch 3: that of epoch 4 took over")
		})
	}
}

// A lost map whose second run differs from what reducers may have merged already is not mixed with it.
func TestNotDeterministic(t *testing.T) {
	for _, c := range []struct {
		vector  uint64
		reduced bool // a reducer was told of the first run
		fails   bool
	}{{7, true, false}, {8, true, true}, {8, false, false}} {
		b := newBench(t, 1, 2)
		r := counted(10, 0)
		r.Vector = 7
		b.commit(from("gone"), b.take("gone", "m-00000.1").Attempt, r)
		if c.reduced {
			b.take("n", "r-00000.1")
		}
		b.step(Lost{Node: "gone", Now: start})
		r.Vector = c.vector
		v := b.commit(from("n"), b.take("n", "m-00000.2").Attempt, r)
		if v.Accepted == c.fails || c.fails != (b.end != nil) {
			t.Errorf("%+v: got %+v, ended with %v", c, v, b.end)
		}
		if c.fails {
			b.wantFail("the program is not deterministic: m-00000.2 on n emitted other records than m-00000.1 on gone, " +
				"which was lost and may have been reduced")
		}
	}
}

func TestNewIncarnationLosesTheOld(t *testing.T) {
	b := newBench(t, 1, 1)
	l := b.take("n", "m-00000.1")
	b.ticket++
	ls, _ := b.step(Asked{b.ticket, Want{Sender: Sender{"j", 3, "n", 2}}, start})
	if got := ls[b.ticket].Attempt.String(); got != "m-00000.2" {
		t.Fatalf("got %s", got)
	}
	if v := b.commit(from("n"), l.Attempt, counted(1, 0)); v.Accepted {
		t.Error("the old incarnation committed")
	}
	if l, ok := b.lease("n"); !ok || !l.Over {
		t.Errorf("the old incarnation was given %+v", l)
	}
}

func TestTolerance(t *testing.T) {
	for failed, ok := range map[int64]bool{0: true, 10: true, 11: false} {
		b := newBench(t, 1, 0)
		r := counted(1000, failed)
		r.Names = []job.FailedObject{{URI: "mem:in/x", Reason: "bad"}}
		b.commit(from("n"), b.take("n", "m-00000.1").Attempt, r)
		if _, finished := b.end.(Finish); finished != ok {
			t.Errorf("%d failed: ended with %v", failed, b.end)
		}
		if !ok {
			b.wantFail("11 of 1000 objects failed, more than the job tolerates; mem:in/x: bad")
		}
	}
}

func TestFirstObjectsAllFail(t *testing.T) {
	for _, c := range []struct {
		objects, failed int64
		stops           bool
	}{{99, 99, false}, {101, 100, false}, {100, 100, true}} {
		b := newBench(t, 2, 0)
		l := b.take("n", "m-00000.1")
		b.step(Progressed{Beat{from("n"), []Running{{Attempt: l.Attempt, Objects: c.objects, Failed: c.failed}}}})
		if stopped := b.end != nil; stopped != c.stops {
			t.Errorf("%+v: ended with %v", c, b.end)
		}
	}
}

func TestStopped(t *testing.T) {
	b := newBench(t, 1, 0)
	l := b.take("n", "m-00000.1")
	if _, ok := b.lease("n"); ok {
		t.Fatal("two leases of one task")
	}
	ls, _ := b.step(Stopped{errors.New("enough")})
	if !ls[b.ticket].Over {
		t.Error("who waits was not dismissed")
	}
	b.wantFail("enough")
	if v := b.commit(from("n"), l.Attempt, withPart("p")); v.Accepted || len(b.thrown) != 1 {
		t.Errorf("committed after the end: %+v", v)
	}
	n := len(b.log)
	for _, e := range []Event{Stopped{errors.New("again")}, Lost{Node: "n", Now: start}, Sealed{Digest: "other"}, Ticked{start}, Planned{job.Split{Task: "m-00001"}}} {
		b.step(e)
	}
	if len(b.log) != n {
		t.Errorf("the log grew after the end: %+v", b.log[n:])
	}
}

func TestEmptyPlanFinishes(t *testing.T) {
	if b := newBench(t, 0, 0); b.end != (Finish{}) {
		t.Errorf("ended with %v", b.end)
	}
}

// What stands in the log has no keys; what the job makes of it has.
func TestHotKeyIsNotLogged(t *testing.T) {
	b := newBench(t, 1, 1)
	b.mapOf("n", "m-00000.1", 7)
	l := b.take("n", "r-00000.1")
	r := reducedAll(l.Runs)
	r.Partition = &job.Partition{Records: 9, HotKey: "secret", HotRecords: 8}
	for _, e := range b.m.Step(Reported{9, Commit{from("n"), l.Attempt, r}}) {
		if a, ok := e.(Append); ok && a.Record.Committed != nil {
			if p := a.Record.Committed.Result.Partition; p.HotKey != "" || p.HotRecords != 8 {
				t.Errorf("logged %+v", p)
			}
		}
	}
	if p := b.m.Outcome().Parts["r-00000"].Partition; p.HotKey != "secret" {
		t.Errorf("the outcome has %+v", p)
	}
}
