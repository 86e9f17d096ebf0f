package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

var (
	siteRuns = flag.Int("site.runs", -1, "jobs that TestCluster runs on a cluster under faults, after some without; -1: it is skipped")
	siteSeed = flag.Uint64("site.seed", 0, "seed of the first faults; 0: any")
)

// roundTime is how long a round of jobs may be disturbed; then they may end in peace.
const roundTime = 90 * time.Second

// TestCluster runs five jobs at a time on a cluster of real processes on hosts of their own, first in peace, then under faults of all kinds: what
// a job publishes is what it publishes in one process.
func TestCluster(t *testing.T) {
	if *siteRuns < 0 {
		t.Skip("only with -site.runs: it takes a minute and more (make test-cluster)")
	}
	s := newSite(t, len(jobsOf()))
	tasks := s.tasks(t)
	began := time.Now()
	r := s.round(t, tasks, "peace", nil)
	for _, x := range r {
		if x.state != "succeeded" {
			t.Errorf("in peace, %s %s", x.name, x.state)
		}
	}
	if t.Failed() {
		s.keepLogs(t, "peace")
		return
	}
	t.Logf("five jobs in peace take %v", time.Since(began).Round(time.Millisecond))
	first := *siteSeed
	if first == 0 {
		first = rand.Uint64()
	}
	t.Logf("first seed %d", first)
	tally, runs, bad := map[string]int{}, 0, 0
	for seed := first; runs < *siteRuns && bad < 5; seed++ {
		ok := t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			began := time.Now()
			r := s.round(t, tasks, fmt.Sprint("run", seed), rand.New(rand.NewPCG(seed, 5)))
			for _, x := range r {
				runs++
				tally[x.state]++
			}
			t.Logf("%v; so far %d jobs: %v", time.Since(began).Round(time.Millisecond), runs, tally)
			if t.Failed() {
				s.keepLogs(t, fmt.Sprint(seed))
			}
		})
		if !ok {
			bad++
		}
	}
	t.Logf("%d jobs under faults: %v", runs, tally)
	if runs > 0 && tally["succeeded"] < runs*9/10 {
		t.Errorf("%d of %d jobs succeeded", tally["succeeded"], runs)
	}
}

// A result is what became of one job.
type result struct {
	name, state string
	err         error
}

// round runs all tasks at once, under faults of r unless that is nil.
func (s *site) round(t *testing.T, tasks []*task, out string, r *rand.Rand) (results []result) {
	t.Helper()
	taken, ended := make(chan string, len(tasks)), make(chan result, len(tasks))
	var wg sync.WaitGroup
	for i, k := range tasks {
		wg.Go(func() {
			x := result{name: k.name}
			x.state, x.err = s.run(s.clients[i], k, out+"-"+k.name, func(job string) { taken <- k.name + " " + job })
			ended <- x
		})
	}
	done := make(chan bool)
	go func() {
		wg.Wait()
		close(done)
	}()
	for range tasks { // faults begin when all are there
		select {
		case <-taken:
		case <-done:
		}
	}
	var now []*disturbance
	heal := func(d *disturbance) {
		if err := d.heal(); err != nil {
			t.Fatalf("heal %s: %v", d.name, err)
		}
	}
	for began, next := time.Now(), time.Now(); ; {
		select {
		case <-done:
			for _, d := range now {
				heal(d)
			}
			close(ended)
			for x := range ended {
				if x.err != nil {
					t.Errorf("%s %s: %v", x.name, x.state, x.err)
				}
				if err := os.RemoveAll(filepath.Join(s.out, out+"-"+x.name)); err != nil {
					t.Fatal(err)
				}
				results = append(results, x)
			}
			return results
		case <-time.After(50 * time.Millisecond):
		}
		now = slices.DeleteFunc(now, func(d *disturbance) bool {
			over := time.Now().After(d.till)
			if over {
				heal(d)
			}
			return over
		})
		s.revive(t, now)
		if r == nil || time.Now().Before(next) || time.Since(began) > roundTime || len(now) > 1 {
			continue
		}
		if d := s.disturb(r, now); d != nil {
			t.Logf("%8v %s", time.Since(began).Round(time.Millisecond), d.name)
			now = append(now, d)
		}
		next = time.Now().Add(time.Duration(r.IntN(4000)) * time.Millisecond)
	}
}

// revive starts machines that ended by themselves, as an operator would, and says why they did.
func (s *site) revive(t *testing.T, now []*disturbance) {
	t.Helper()
	for _, m := range append(slices.Clone(s.servers), s.agents...) {
		hurt := slices.ContainsFunc(now, func(d *disturbance) bool { return slices.Contains(d.of, m) })
		if hurt || m.lives() {
			continue
		}
		tail := m.tail()
		t.Logf("%s ended by itself: %s", m.Name, tail[max(0, len(tail)-300):])
		m.kill()
		if err := m.start(); err != nil {
			t.Fatal(err)
		}
	}
}

// keepLogs keeps what all machines have logged.
func (s *site) keepLogs(t *testing.T, name string) {
	t.Helper()
	to, err := os.MkdirTemp("", "millrace-chaos-"+name+"-")
	if err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(s.dir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, filepath.Base(log)), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("logs are in %s", to)
}
