package coordinator

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/job"
)

// replayed reads a log as it would be written, with a coordinator's first entry before it.
func replayed(t *testing.T, log []Record, leads int) (*Replay, error) {
	t.Helper()
	var r Replay
	for range leads {
		if err := r.Take(true, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range log {
		b, err := json.Marshal(&log[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Take(false, b); err != nil {
			return nil, err
		}
	}
	return &r, nil
}

// takeOver goes on with the job of b where its log ends, in epoch 4.
func (b *bench) takeOver(maps int) *bench {
	b.t.Helper()
	r, err := replayed(b.t, b.log, 2)
	if err != nil {
		b.t.Fatal(err)
	}
	conf := b.m.conf
	conf.Epoch = 4
	var splits []job.Split
	if r.Plan != "" {
		for i := range maps {
			splits = append(splits, job.Split{Task: job.MapTask(i), Objects: 1000})
		}
	}
	m, err := Resume(conf, r, splits)
	if err != nil {
		b.t.Fatal(err)
	}
	return &bench{t: b.t, m: m, epoch: 4, log: slices.Clone(b.log)}
}

// What is committed is not run again; what was under way is, under a name that nobody has had.
func TestResume(t *testing.T) {
	b := newBench(t, 3, 2)
	b.mapOf("n", "m-00000.1", 7)
	b.mapOf("m", "m-00001.1", 8)
	b.take("n", "m-00002.1")
	c := b.takeOver(3)
	c.step(Started{})
	if got := fmt.Sprint(c.m.Away()); got != "[m n]" {
		t.Errorf("away: %s", got)
	}
	c.mapOf("n", "m-00002.1000001", 9)
	if p := c.m.Progress(); p.Maps != 3 || p.Objects != 30 {
		t.Errorf("progress %+v", p)
	}
	r := c.take("n", "r-00000.1000001")
	if len(r.Runs) != 2 || r.All {
		t.Errorf("leased with %+v while a node is away", r.Arrivals)
	}
	c.follow("n", r, r.Next)
	// The other node is there again, with what it has kept.
	got := c.tells(Asked{90, Want{c.from("m"), 9}, start})
	c.wantTold("back", got, true, "m-00001.1")
	if c.m.Away() != nil {
		t.Errorf("away: %v", c.m.Away())
	}
	if o := c.m.Outcome().Counters; o.Attempts != 5 || o.Retries != 0 {
		t.Errorf("%d attempts, %d retries", o.Attempts, o.Retries)
	}
}

// A node that does not come back is lost, with what it kept.
func TestResumeWithoutANode(t *testing.T) {
	b := newBench(t, 2, 1)
	b.mapOf("gone", "m-00000.1", 7)
	b.mapOf("n", "m-00001.1", 8)
	c := b.takeOver(2)
	c.step(Started{})
	c.step(Lost{Node: "gone", Now: start})
	c.mapOf("n", "m-00000.1000001", 9)
	r := c.take("n", "r-00000.1000001")
	if len(r.Runs) != 2 || !r.All {
		t.Errorf("leased with %+v", r.Arrivals)
	}
	// One that was started again has nothing of before.
	d := b.takeOver(2)
	again := d.from("n")
	again.Incarnation++
	d.step(Asked{91, Want{again, 0}, start})
	if got := fmt.Sprint(d.m.Away()); got != "[gone]" || d.m.mapsDone != 1 {
		t.Errorf("away: %s, %d maps done", got, d.m.mapsDone)
	}
}

// What a committed reduce has merged may not come out different, though the coordinator that knew is gone.
func TestResumeRemembersWhatWasReduced(t *testing.T) {
	for _, vector := range []uint64{7, 8} {
		b := newBench(t, 1, 2)
		b.mapOf("gone", "m-00000.1", 7)
		r := b.take("n", "r-00000.1")
		b.commit(b.from("n"), r.Attempt, reducedAll(r.Runs))
		c := b.takeOver(1)
		c.step(Started{})
		c.step(Lost{Node: "gone", Now: start})
		result := counted(10, 0)
		result.Vector = vector
		v := c.commit(c.from("n"), c.take("n", "m-00000.1000001").Attempt, result)
		if v.Accepted != (vector == 7) {
			t.Errorf("vector %d: got %+v", vector, v)
		}
		if vector != 7 {
			c.wantFail("not deterministic")
		}
	}
}

// A plan that was not sealed is begun again. Nothing of before counts, and its output is given up.
func TestResumeWithoutAPlan(t *testing.T) {
	b := newBenchOf(t, 2, 0, false)
	b.commit(b.from("n"), b.take("n", "m-00000.1").Attempt, withPart("old"))
	c := b.takeOver(0)
	c.step(Started{})
	if len(c.thrown) != 1 || c.thrown[0].ID != "old" {
		t.Errorf("discarded %v", c.thrown)
	}
	if last := c.log[len(c.log)-1]; last.Begun != 4 {
		t.Errorf("logged %+v", last)
	}
	// What an agent still says of it is refused.
	if v := c.commit(b.from("n"), job.AttemptID{Task: "m-00001", Try: 1}, withPart("late")); v.Accepted || len(c.thrown) != 2 {
		t.Errorf("got %+v, discarded %v", v, c.thrown)
	}
	c.step(Planned{job.Split{Task: "m-00000", Objects: 5}})
	c.commit(c.from("n"), c.take("n", "m-00000.1000001").Attempt, withPart("new"))
	c.step(Sealed{Digest: "other"})
	if _, ok := c.end.(Finish); !ok || c.m.Outcome().Parts["m-00000"].Part.ID != "new" {
		t.Errorf("ended with %v", c.end)
	}
	// And the next coordinator knows of the second plan alone.
	r, err := replayed(t, c.log, 3)
	if err != nil || r.Plan != "other" || r.Begun != 4 || len(r.counts) != 1 || !r.Decided || r.Term != 3 {
		t.Errorf("replayed %+v, %v", r, err)
	}
}

// A job of which all is committed needs nobody.
func TestResumeAtTheEnd(t *testing.T) {
	b := newBench(t, 1, 0)
	b.commit(b.from("n"), b.take("n", "m-00000.1").Attempt, withPart("p"))
	c := b.takeOver(1)
	c.step(Started{})
	if _, ok := c.end.(Finish); !ok || c.m.Outcome().Parts["m-00000"].Part.ID != "p" {
		t.Errorf("ended with %v", c.end)
	}
}

// An agent that did not hear whether its attempt counts asks whoever coordinates now, under the old epoch or the new.
func TestCommitAcrossATakeover(t *testing.T) {
	b := newBench(t, 2, 0)
	l, other := b.take("n", "m-00000.1"), b.take("n", "m-00001.1")
	b.commit(b.from("n"), l.Attempt, withPart("counts"))
	c := b.takeOver(2)
	c.step(Started{})
	for _, s := range []Sender{b.from("n"), c.from("n")} {
		if v := c.commit(s, l.Attempt, withPart("counts")); !v.Accepted {
			t.Errorf("epoch %d: %s", s.Epoch, v.Reason)
		}
		if v := c.commit(s, other.Attempt, withPart("does not")); v.Accepted {
			t.Errorf("epoch %d: what is not in the log counts", s.Epoch)
		}
	}
	for _, h := range c.thrown {
		if h.ID != "does not" {
			t.Errorf("discarded %v", h)
		}
	}
}

// A log that cannot be is refused, and not guessed at.
func TestCorruptLog(t *testing.T) {
	done := func(task job.TaskID, try int) Record {
		return Record{Committed: &Committed{Attempt: job.AttemptID{Task: task, Try: try}, Node: "n"}}
	}
	for want, log := range map[string][]Record{
		"m-00000 is lost and was not committed":           {{Lost: "m-00000"}},
		"m-00000.2 is committed after m-00000.1 was":      {done("m-00000", 1), done("m-00000", 2)},
		"1 tasks of 1 that are committed are none":        {{Begun: 1}, done("m-00007", 1), {Plan: "d"}},
		"r-00000.1 has merged other runs than those that": {{Begun: 1}, done("m-00000", 1), {Plan: "d"}, done("r-00000", 1)},
	} {
		r, err := replayed(t, log, 1)
		if err == nil {
			_, err = Resume(Config{Job: "j", Epoch: 4, Reducers: 1}, r, []job.Split{{Task: "m-00000"}})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	var r Replay
	if err := r.Take(false, []byte("{")); err == nil {
		t.Error("half a record was taken")
	}
	_, err := Resume(Config{}, &Replay{Plan: "d"}, []job.Split{{Task: "m-00001"}})
	if err == nil {
		t.Error("a plan with a hole was taken")
	}
}

// Objects that brought their guests down stay left out of a map that is run again after a takeover: its records must not change.
func TestResumeSkips(t *testing.T) {
	b := newBench(t, 1, 1)
	b.fail("gone", b.take("gone", "m-00000.1"), FaultObject, 3, "trap")
	b.mapOf("gone", "m-00000.2", 7)
	c := b.takeOver(1)
	c.step(Lost{Node: "gone", Now: start})
	if l := c.take("n", "m-00000.1000001"); l.Skip[3] != "trap" {
		t.Errorf("leased with %+v", l)
	}
}

// A backup begins when nothing else waits: for an attempt that is slow and not young, on another node, and only one. The first that commits counts.
func TestBackup(t *testing.T) {
	b := newBench(t, 3, 0)
	now := start
	tick := func(d time.Duration) map[Ticket]Lease {
		now = now.Add(d)
		ls, _ := b.step(Ticked{now})
		return ls
	}
	ask := func(node string) Ticket {
		b.ticket++
		b.step(Asked{b.ticket, Want{from(node), int(b.ticket)}, now})
		return b.ticket
	}
	tick(0)
	l0, slow, l2 := b.take("n", "m-00000.1"), b.take("slow", "m-00001.1"), b.take("n", "m-00002.1")
	tick(4 * time.Second)
	b.commit(from("n"), l0.Attempt, counted(1000, 0))
	b.commit(from("n"), l2.Attempt, counted(1000, 0))
	_, other := ask("slow"), ask("n")
	if ls := tick(time.Second); len(ls) > 0 {
		t.Fatalf("a backup after 5 s, others took 4 s: %v", ls)
	}
	// It gets on well: most is done.
	b.step(Progressed{Beat{from("slow"), []Running{{Attempt: slow.Attempt, Objects: 900}}}})
	if ls := tick(3 * time.Second); len(ls) > 0 {
		t.Fatalf("a backup of one that is nearly done: %v", ls)
	}
	b.step(Progressed{Beat{from("slow"), []Running{{Attempt: slow.Attempt, Objects: 300}}}})
	ls := tick(0)
	if l := ls[other]; l.Attempt.String() != "m-00001.2" || len(ls) != 1 {
		t.Fatalf("got %v, want a backup for %d", ls, other)
	}
	ask("m")
	if ls := tick(time.Minute); len(ls) > 0 {
		t.Fatalf("a third attempt: %v", ls)
	}
	b.revoked = nil
	if v := b.commit(from("n"), ls[other].Attempt, withPart("backup")); !v.Accepted {
		t.Fatal(v.Reason)
	}
	if len(b.revoked) != 1 || b.revoked[0].Attempt != slow.Attempt || b.revoked[0].Node != "slow" {
		t.Errorf("revoked %+v", b.revoked)
	}
	if v := b.commit(from("slow"), slow.Attempt, withPart("slow")); v.Accepted || len(b.thrown) != 1 || b.thrown[0].ID != "slow" {
		t.Errorf("the slow one: %+v, discarded %v", v, b.thrown)
	}
	o := b.m.Outcome()
	if c := o.Counters; c.Attempts != 4 || c.Backups != 1 || c.Retries != 0 || c.Beaten != 1 || o.Parts["m-00001"].Part.ID != "backup" {
		t.Errorf("got %+v", c)
	}
}

// If one of two attempts fails, the other goes on; the task waits when both have.
func TestBackupFails(t *testing.T) {
	b := newBench(t, 2, 0)
	b.step(Ticked{start})
	l0, l1 := b.take("n", "m-00000.1"), b.take("m", "m-00001.1")
	b.step(Ticked{start.Add(2 * time.Second)})
	b.commit(from("n"), l0.Attempt, counted(1000, 0))
	b.ticket++
	b.step(Asked{b.ticket, Want{from("n"), 0}, start})
	ls, _ := b.step(Ticked{start.Add(time.Minute)})
	l := ls[b.ticket]
	if l.Attempt.String() != "m-00001.2" {
		t.Fatalf("got %+v", ls)
	}
	b.fail("m", l1, FaultTask, -1, "died")
	if b.m.queue.Len() != 0 || b.m.spare != 0 {
		t.Errorf("%d tasks wait, %d backups", b.m.queue.Len(), b.m.spare)
	}
	b.fail("n", l, FaultTask, -1, "died")
	b.take("n", "m-00001.3")
	if c := b.m.Outcome().Counters; c.Attempts != 4 || c.Retries != 1 || c.Backups != 1 {
		t.Errorf("got %+v", c)
	}
}

// A node on which tasks fail that succeed elsewhere gets no work for a while, and costs no task an attempt. Objects are not its fault.
func TestQuarantine(t *testing.T) {
	for _, fault := range []Fault{FaultTask, FaultObject, FaultStore} {
		b := newBench(t, 60, 0)
		b.step(Ticked{start})
		b.lease("flaky") // there is another
		for i := 0; len(b.barred) == 0 && b.end == nil && i < 60; i++ {
			l, ok := b.lease("flaky")
			if !ok {
				break
			}
			if i%3 == 0 {
				b.fail("flaky", l, fault, i, "it broke")
				l, _ = b.lease("well")
				b.commit(from("well"), l.Attempt, counted(1000, 0))
			} else {
				b.commit(from("flaky"), l.Attempt, counted(1000, 0))
			}
			if l, ok = b.lease("well"); ok && !l.Over {
				b.commit(from("well"), l.Attempt, counted(1000, 0))
			}
		}
		if fault != FaultTask {
			if len(b.barred) > 0 {
				t.Errorf("%s: quarantined %v", fault, b.barred)
			}
			continue
		}
		if len(b.barred) != 1 || b.barred[0].Node != "flaky" || b.barred[0].For <= 0 {
			t.Fatalf("quarantined %+v", b.barred)
		}
		if l, ok := b.lease("flaky"); ok {
			t.Errorf("it got %v", l.Attempt)
		}
		h := b.m.hosts["flaky"]
		x := &task{hurt: &hurt{failures: map[*host]int{h: 9}}}
		for range maxRefusals {
			if !x.blame(&Failure{Fault: FaultAttempt, Object: -1}, h) || x.hurt.count() != 0 {
				t.Errorf("failures there count: %d", x.hurt.count())
			}
		}
		ls, _ := b.step(Ticked{start.Add(quarantine)})
		if l := ls[b.ticket]; l.Attempt.Task == "" {
			t.Error("it gets nothing after its time")
		}
	}
}

// The only node there is works on, however badly.
func TestNoQuarantineOfTheLastNode(t *testing.T) {
	b := newBench(t, 10, 0)
	for range leastSuspects {
		b.fail("flaky", b.mustLease("flaky"), FaultTask, -1, "it broke")
		b.commit(from("well"), b.mustLease("well").Attempt, counted(1, 0))
	}
	if len(b.barred) != 1 {
		t.Fatalf("quarantined %v", b.barred)
	}
	b.step(Lost{Node: "well", Now: start})
	b.mustLease("flaky")
}

func (b *bench) mustLease(node string) Lease {
	b.t.Helper()
	l, ok := b.lease(node)
	if !ok || l.Attempt.Task == "" {
		b.t.Fatalf("%s was given %+v", node, l)
	}
	return l
}
