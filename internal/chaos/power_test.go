package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/crashfs"
)

var (
	powerLosses = flag.Int("power.losses", 0, "losses of power under an output; 0: a few")
	powerSeed   = flag.Uint64("power.seed", 0, "seed of the first of them; 0: any")
)

// TestPowerLoss cuts the power of the disk that a job publishes to, at random moments. A job that had said that it was done is done; of any other nothing is
// visible unless it was decided, and it publishes the same when it is run again.
func TestPowerLoss(t *testing.T) {
	fs := crashfs.Mount(t, &crashfs.Options{Strict: true})
	first, count := *powerSeed, *powerLosses
	if first == 0 {
		first = rand.Uint64()
	}
	if count == 0 {
		count = 3
	}
	// The bucket itself is made by the jobs, and so are the directories above it.
	b := benchAt(t, 60, filepath.Join(fs.Dir, "deep/out"), "file://"+filepath.Join(fs.Dir, "deep/out"))
	began := time.Now()
	timed := b.start(t, "timed", 0).end(t)
	if timed.Error != "" {
		t.Fatal(timed.Error)
	}
	whole := time.Since(began)
	t.Logf("a job takes %v, its commit %d steps; first seed %d", whole.Round(time.Millisecond), len(timed.Steps), first)
	tally := make(map[string]int)
	var total crashfs.Loss
	for n := range count {
		seed := first + uint64(n)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			if r.IntN(3) == 0 { // a new one
				if err := os.RemoveAll(filepath.Dir(b.out)); err != nil {
					t.Fatal(err)
				}
			}
			out := fmt.Sprint("run", seed)
			for range 1 + r.IntN(3) { // also while what the last one left is taken over
				tally[b.losePower(t, fs, r, out, whole, len(timed.Steps), &total)]++
			}
			b.again(t, out)
		})
	}
	t.Logf("%d jobs: %v; %d writes and %d names lost", count, tally, total.Writes, total.Names)
}

// losePower runs a job until the power goes, at some time or at a step of its commit, and says what was left of it.
func (b *bench) losePower(t *testing.T, fs *crashfs.FS, r *rand.Rand, out string, whole time.Duration, steps int, total *crashfs.Loss) string {
	t.Helper()
	done := b.manifest(out) && !b.decided(out)
	var p *process
	var err error
	if r.IntN(2) == 0 {
		p = b.start(t, out, 1+r.IntN(steps))
		err = p.cmd.Wait()
		fs.Cut()
	} else {
		p = b.start(t, out, 0)
		time.Sleep(time.Duration(r.Int64N(int64(whole * 5 / 4))))
		fs.Cut()
		pids := p.children()
		_ = p.cmd.Process.Kill() // it may have ended
		err = p.cmd.Wait()
		gone(t, pids)
	}
	lost := fs.Crash(r.Uint64())
	total.Writes += lost.Writes
	total.Names += lost.Names
	if err == nil {
		rep := p.report(t)
		done = done || rep.Error == ""
	}
	switch {
	case done:
		if !b.manifest(out) {
			t.Errorf("%s: its job was done, and there is no manifest", out)
		}
		b.same(t, out)
		return "done"
	case b.decided(out):
		return "decided"
	case b.manifest(out):
		return "published"
	}
	if left := b.visible(t, out); len(left) > 0 {
		t.Errorf("%s: not decided, but %q is visible", out, left)
	}
	return "nothing"
}
