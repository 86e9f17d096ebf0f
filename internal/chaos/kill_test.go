package chaos

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// A runner is killed a hundred times, at random moments, and nobody can tell from the output.
func TestKillRunners(t *testing.T) {
	const perJob = 4
	kills := 100
	if testing.Short() { // runners of a race-detecting binary take a second to start
		kills = 12
	}
	b := newBench(t, 3000)
	began := time.Now()
	if r := b.start(t, "time", 0).end(t); r.Error != "" {
		t.Fatal(r.Error)
	}
	whole := time.Since(began)
	done := 0
	for run := 0; done < kills; run++ {
		if run > kills {
			t.Fatalf("%d jobs ended before %d runners could be killed", run, kills)
		}
		out := fmt.Sprintf("run%d", run)
		p := b.start(t, out, 0)
		for range perJob {
			time.Sleep(time.Duration(b.rand.Int64N(int64(whole / (perJob - 1)))))
			if pids := p.children(); len(pids) > 0 {
				if syscall.Kill(pids[b.rand.IntN(len(pids))], syscall.SIGKILL) == nil {
					done++
				}
			}
		}
		if r := p.end(t); r.Error != "" {
			t.Fatalf("%s: %s", out, r.Error)
		}
		b.same(t, out)
	}
	t.Logf("%d runners killed; an undisturbed job takes %v", done, whole.Round(time.Millisecond))
}

// The whole of millrace is killed at random moments. Nothing is visible, or everything will be, and no process stays.
func TestKillMillrace(t *testing.T) {
	b := newBench(t, 1500)
	began := time.Now()
	if r := b.start(t, "time", 0).end(t); r.Error != "" {
		t.Fatal(r.Error)
	}
	whole := time.Since(began)
	runs := 30
	if testing.Short() {
		runs = 5
	}
	for run := range runs {
		out := fmt.Sprintf("run%d", run)
		p := b.start(t, out, 0)
		time.Sleep(time.Duration(b.rand.Int64N(int64(whole))))
		pids := p.children()
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.cmd.Wait()
		gone(t, pids)
		b.again(t, out)
	}
}

// Millrace kills itself at each step of claiming, deciding, publishing and cleaning up.
func TestKillAtEachStep(t *testing.T) {
	t.Run("file", func(t *testing.T) { killAtEachStep(t, newBench(t, 50)) })
	t.Run("s3", func(t *testing.T) { killAtEachStep(t, newS3Bench(t, 50)) })
}

func killAtEachStep(t *testing.T, b *bench) {
	whole := b.start(t, "steps", 0).end(t)
	if whole.Error != "" {
		t.Fatal(whole.Error)
	}
	if len(whole.Steps) < 8 {
		t.Fatalf("a job has the steps %q, want some more", whole.Steps)
	}
	for n, name := range whole.Steps {
		t.Run(fmt.Sprintf("%02d %s", n+1, name), func(t *testing.T) {
			out := fmt.Sprintf("step%d", n+1)
			p := b.start(t, out, n+1)
			if err := p.cmd.Wait(); err == nil {
				t.Fatalf("the job ended by itself: %s", p.out.String())
			}
			b.again(t, out)
		})
	}
}

// again checks what a killed job left, runs it once more, and checks what that makes.
func (b *bench) again(t *testing.T, out string) {
	t.Helper()
	decided := b.decided(out)
	if left := b.visible(t, out); len(left) > 0 && !decided && !b.manifest(out) {
		t.Errorf("%s: not decided, but %q is visible", out, left)
	}
	finished := b.manifest(out) && !decided
	r := b.start(t, out, 0).end(t)
	switch {
	case finished && r.Error == "":
		t.Errorf("%s: had ended, and was run over", out)
	case !finished && r.Error != "":
		t.Errorf("%s: run again: %s", out, r.Error)
	case decided && !r.Resumed:
		t.Errorf("%s: was decided, but not resumed", out)
	}
	b.same(t, out)
}
