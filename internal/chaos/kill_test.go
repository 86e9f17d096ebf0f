package chaos

import (
	"fmt"
	"testing"
)

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
