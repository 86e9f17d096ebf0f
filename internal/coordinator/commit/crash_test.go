package commit

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestJob(t *testing.T) {
	w := newWorld()
	if err := runJob(t.Context(), w.bucket, "4f1c", w.options(1)); err != nil {
		t.Fatal(err)
	}
	if got, want := w.visible(t), outputOf("4f1c"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := w.hidden(t); got != "" || w.bucket.Pending() != 0 {
		t.Errorf("left behind: %s, %d pending", got, w.bucket.Pending())
	}
}

// oldOutput is an output with one part more than runJob publishes.
func (w *world) oldOutput(t testing.TB) {
	m := job.Manifest{Version: 1, Job: "old"}
	for n := range 3 {
		key := fmt.Sprintf("part-%05d", n)
		if _, err := w.bucket.Put(t.Context(), store.Key("out/"+key), []byte("old")); err != nil {
			t.Fatal(err)
		}
		m.Parts = append(m.Parts, job.Part{Key: key, ETag: "e"})
	}
	o, err := newOutput(w.bucket, "out/", w.options(99))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.write(t.Context(), "out/_manifest.json", &m); err != nil {
		t.Fatal(err)
	}
}

// settle checks the world after the death of a job: nothing changed, or a decision lies there.
func (w *world) settle(t *testing.T, before string) {
	t.Helper()
	if now := w.visible(t); now != before && !strings.Contains(w.hidden(t), "out/_millrace/"+decisionName) &&
		!strings.HasPrefix(now, outputOf("job1")) && !strings.HasPrefix(now, outputOf("job2")) {
		t.Fatalf("no decision, and visible is\n%s\nbefore it was\n%s", now, before)
	}
}

// TestCrashAtEveryChange stops a job before and after every change that it makes to the store, then a second job
// that comes after it, likewise; a third one must find everything in order.
func TestCrashAtEveryChange(t *testing.T) {
	for _, overwrite := range []bool{false, true} {
		crashes := 0
		for first := 1; ; first++ {
			ended := false
			for second := 1; !ended; second += 3 { // 3: before and after by turns
				w := newWorld()
				if overwrite {
					w.oldOutput(t)
				}
				before := w.visible(t)
				lost := 0
				last := ""
				for n, dieAt := range []int{first, second, 0} {
					m := &mortal{Bucket: w.bucket, dieAt: (dieAt + 1) / 2, after: dieAt%2 == 0}
					o := w.options(n + 1)
					o.Overwrite = overwrite
					last = fmt.Sprintf("job%d", n+1)
					err := runJob(t.Context(), m, last, o)
					if m.dead {
						w.bury(n + 1)
						w.settle(t, before)
						crashes++
					} else if err != nil && !strings.Contains(err.Error(), ErrExists.Error()) {
						t.Fatalf("overwrite %t, crash at %d, %d: job %d: %v", overwrite, first, second, n+1, err)
					}
					if n == 1 {
						ended = !m.dead
					}
					lost += m.unrecorded()
				}
				got := w.visible(t)
				ok := got == outputOf("job1") || got == outputOf("job2") || got == outputOf("job3")
				if overwrite {
					ok = got == outputOf(last)
				}
				if !ok {
					t.Fatalf("overwrite %t, crash at %d, %d: got\n%s", overwrite, first, second, got)
				}
				if left := w.hidden(t); left != "" || w.bucket.Pending() > lost {
					t.Fatalf("overwrite %t, crash at %d, %d: left behind: %s, %d pending", overwrite, first, second, left, w.bucket.Pending())
				}
				if first > 2000 {
					t.Fatal("a job makes no end of changes")
				}
			}
			// A job that outlives its crash has made fewer changes.
			w := newWorld()
			m := &mortal{Bucket: w.bucket, dieAt: (first + 1) / 2}
			runJob(t.Context(), m, "job1", w.options(1))
			if !m.dead {
				break
			}
		}
		if crashes < 500 {
			t.Errorf("overwrite %t: only %d crashes", overwrite, crashes)
		}
	}
}

// TestCrashAtEveryStep does so by the names of steps, which other tests use to kill whole processes.
func TestCrashAtEveryStep(t *testing.T) {
	var names []string
	for at := 0; ; at++ {
		w := newWorld()
		w.oldOutput(t)
		before := w.visible(t)
		m := &mortal{Bucket: w.bucket}
		o := w.options(1)
		o.Overwrite = true
		n := 0
		o.Step = func(name string) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if n == at {
				m.dead = true
				names = append(names, name)
			}
			n++
		}
		runJob(t.Context(), m, "job1", o)
		if !m.dead {
			break
		}
		w.bury(1)
		w.settle(t, before)
		decided := strings.Contains(w.hidden(t), decisionName)
		manifest, err := Clean(t.Context(), w.bucket, "out/", w.options(2))
		if err != nil {
			t.Fatalf("after step %q: %v", names[len(names)-1], err)
		}
		want := before
		if decided || slices.Contains([]string{"finish: done", "release: sweep", "claim: remove"}, names[len(names)-1]) {
			want = outputOf("job1")
		}
		if got := w.visible(t); got != want || decided != (manifest != nil) {
			t.Errorf("after step %q: got manifest %v and\n%s\nwant\n%s", names[len(names)-1], manifest, got, want)
		}
		if left := w.hidden(t); left != "" || w.bucket.Pending() > m.unrecorded() {
			t.Errorf("after step %q: left behind: %s, %d pending", names[len(names)-1], left, w.bucket.Pending())
		}
	}
}

// The steps of a job that replaces an output, by name.
func TestSteps(t *testing.T) {
	w := newWorld()
	w.oldOutput(t)
	o := w.options(1)
	o.Overwrite = true
	var mu sync.Mutex
	var names []string
	o.Step = func(name string) {
		mu.Lock()
		defer mu.Unlock()
		names = append(names, name)
	}
	if err := runJob(t.Context(), w.bucket, "job1", o); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	got := strings.Join(slices.Compact(names), ", ")
	want := "claim: hold, claim: look for others, claim: remove, claim: write, decide: write, decide: written, " +
		"finish: delete an old part, finish: delete the decision, finish: delete the old manifest, finish: done, " +
		"finish: publish a part, finish: write the manifest, release: sweep, sweep: delete, sweep: discard an upload"
	if got != want {
		t.Errorf("got steps  %s\nwant steps %s", got, want)
	}
}
