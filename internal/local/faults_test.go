package local_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/internal/agent"
	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

// A disturbed is a job whose runners are behind a relay.
type disturbed struct {
	job   *job.Job
	spec  job.Spec // beside places
	dir   string   // of spills
	store *mem.Store
	out   store.Opener // nil: that of the store
	see   func(f frame, p *relayed)
	told  func(r job.AttemptReport)
	hangs bool // a runner does: a goroutine cannot be killed, and keeps its files
}

// newDisturbed returns a job of 600 mails in some ten splits, whose records do not fit into memory.
func newDisturbed(t *testing.T, j *job.Job) *disturbed {
	return &disturbed{
		job: j, dir: t.TempDir(), store: mails(t, 600), see: func(frame, *relayed) {},
		spec: job.Spec{Inputs: []string{"mem:in/mails/"}, Output: "mem:out", Reducers: 2, Slots: 1, Tolerate: "0", Split: 60, Limits: job.Limits{Shuffle: 1}},
	}
}

// run runs the job. What lies in its output is removed before.
func (d *disturbed) run(t *testing.T, ctx context.Context) (*job.Result, map[string]string, error) {
	t.Helper()
	t.Setenv("TMPDIR", d.dir)
	out := d.store.Bucket("out")
	for key := range visible(t, d.store) {
		if err := out.Delete(t.Context(), store.Key(key)); err != nil {
			t.Fatal(err)
		}
	}
	r := &relay{launch: agent.InProcess(d.job), see: d.see}
	pool := agent.NewPool(r.start)
	opener := d.out
	if opener == nil {
		opener = d.store.Opener()
	}
	res, err := local.Run(ctx, &d.spec, &local.Options{
		Schemes: store.Schemes{"mem": opener}, InProcess: d.job, Pool: pool, Committed: func(r job.AttemptReport) {
			if d.told != nil {
				d.told(r)
			}
		},
	})
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	got := visible(t, d.store)
	delete(got, "_manifest.json")
	d.leftNothing(t, err != nil)
	return res, got, err
}

// leftNothing looks for what a job must not leave, nothing at all being visible if it has failed.
func (d *disturbed) leftNothing(t *testing.T, failed bool) {
	t.Helper()
	for o, err := range d.store.Bucket("out").List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if failed || strings.Contains(string(o.Key), "_millrace/") {
			t.Errorf("%s is left", o.Key)
		}
	}
	if n := d.store.Bucket("out").Pending(); n > 0 {
		t.Errorf("%d uploads are left", n)
	}
	if names, err := os.ReadDir(d.dir); err != nil || len(names) > 0 {
		t.Errorf("%v are left, %v", names, err)
	}
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	if d.hangs {
		return
	}
	for _, link := range links {
		if name, err := os.Readlink(link); err == nil && strings.HasPrefix(name, d.dir+"/") {
			t.Errorf("%s is still open", name)
		}
	}
}

// steps runs the job undisturbed and returns what it publishes and the steps of its runners.
func (d *disturbed) steps(t *testing.T) (want map[string]string, names []string) {
	t.Helper()
	var mu sync.Mutex
	seen := make(map[string]bool)
	d.see = func(f frame, _ *relayed) {
		mu.Lock()
		defer mu.Unlock()
		seen[f.name()] = true
	}
	_, want, err := d.run(t, t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != d.spec.Reducers {
		t.Fatalf("%d parts, want %d", len(want), d.spec.Reducers)
	}
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, must := range []string{"start → H", "map → M", "map → B", "map ← D", "reduce → U", "reduce → V", "reduce ← T", "reduce ← D"} {
		if !seen[must] {
			t.Errorf("no step %q among %q", must, names)
		}
	}
	return want, names
}

// A runner is killed at each step of its conversation, before and after the frame has passed: when its run is written but not reported, when it is reported
// but not committed, in the middle of what a reducer is given, between its results and its report. There is one slot for everything.
func TestKillAtEachFrame(t *testing.T) {
	for name, j := range map[string]*job.Job{"combined": count(), "grouped": groups(), "ranges": groups()} {
		if testing.Short() && name != "ranges" { // which has all the steps
			continue
		}
		t.Run(name, func(t *testing.T) {
			d := newDisturbed(t, j)
			if name == "ranges" {
				d.spec.Partition = job.ByRange
			}
			want, names := d.steps(t)
			for _, at := range names {
				for _, after := range []bool{false, true} {
					var once sync.Once
					d.see = func(f frame, p *relayed) {
						if f.name() != at {
							return
						}
						once.Do(func() {
							if !after {
								p.Process.Kill()
								return
							}
							conn := p.toRunner
							if f.toAgent {
								conn = p.toAgent
							}
							_ = conn.Send(f.kind, f.payload) // descriptors that it should come with are part of what is lost
							p.Process.Kill()
							p.hang()
						})
					}
					res, got, err := d.run(t, t.Context())
					if err != nil {
						t.Errorf("%s, after %t: %v", at, after, err)
						continue
					}
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("%s, after %t: the output is another", at, after)
					}
					harmless := strings.HasPrefix(at, "start") || strings.HasPrefix(at, "sample") || after && strings.HasSuffix(at, "← D")
					if res.Counters.Retries == 0 && !harmless {
						t.Errorf("%s, after %t: nothing was tried again", at, after)
					}
				}
			}
		})
	}
}

// A job is cancelled at each step of its runners. Nothing of it is visible, unless it was decided by then, and nothing is left.
func TestCancelAtEachFrame(t *testing.T) {
	d := newDisturbed(t, groups())
	want, names := d.steps(t)
	for _, at := range names {
		ctx, cancel := context.WithCancel(t.Context())
		var once sync.Once
		d.see = func(f frame, _ *relayed) {
			if f.name() == at {
				once.Do(cancel)
			}
		}
		_, got, err := d.run(t, ctx)
		cancel()
		if err == nil && fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("cancelled at %s: ended all the same, with another output", at)
		}
	}
}
