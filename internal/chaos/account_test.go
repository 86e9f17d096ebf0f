package chaos

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/job"
)

// Whatever is killed, the counters of the job are the sum of what the attempts report that count, and what does not depend on
// chance is what an undisturbed job counts.
func TestCountersAddUp(t *testing.T) {
	b := newBench(t, 3000)
	began := time.Now()
	if r := b.start(t, "time", 0).end(t); r.Error != "" {
		t.Fatal(r.Error)
	}
	whole := time.Since(began)
	want := b.counters(t, "want")
	retries := int64(0)
	for run := 0; run < 20 && retries < 3; run++ {
		out := "sum" + string(rune('a'+run))
		p := b.start(t, out, 0)
		for range 3 {
			time.Sleep(time.Duration(b.rand.Int64N(int64(whole / 3))))
			if pids := p.children(); len(pids) > 0 {
				_ = syscall.Kill(pids[b.rand.IntN(len(pids))], syscall.SIGKILL) // it may have ended
			}
		}
		r := p.end(t)
		if r.Error != "" {
			t.Fatal(r.Error)
		}
		got := b.counters(t, out)
		retries += got.Retries
		sum := job.Counters{Archived: got.Archived, Markers: got.Markers, Attempts: got.Attempts, Retries: got.Retries, Beaten: got.Beaten}
		seen := make(map[job.TaskID]bool)
		for _, a := range r.Committed {
			if seen[a.Attempt.Task] {
				t.Errorf("%s counts twice", a.Attempt.Task)
			}
			seen[a.Attempt.Task] = true
			if a.Counters.Run <= 0 || a.Counters.CPU <= 0 || a.Counters.PeakMemory <= 0 || a.Counters.Queue < 0 {
				t.Errorf("%s reports %+v", a.Attempt, a.Counters)
			}
			add(&sum, &a.Counters)
		}
		if !reflect.DeepEqual(got, sum) {
			t.Errorf("counters are %+v, the attempts add up to %+v", got, sum)
		}
		if got.Attempts != int64(len(seen))+got.Retries+got.Beaten {
			t.Errorf("%d attempts, but %d count, %d failed and %d were beaten", got.Attempts, len(seen), got.Retries, got.Beaten)
		}
		if got.Objects != want.Objects || got.Bytes != want.Bytes || got.Emitted != want.Emitted || got.Output != want.Output {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if retries == 0 {
		t.Error("no attempt failed in twenty jobs whose runners were killed")
	}
}

// counters returns those of the manifest of an output.
func (b *bench) counters(t *testing.T, out string) job.Counters {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.out, out, "_manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m job.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	if m.Took <= 0 {
		t.Errorf("the job took %v", m.Took)
	}
	return m.Counters
}

// add adds what an attempt reported to sum, field by field.
func add(sum, c *job.Counters) {
	s, v := reflect.ValueOf(sum).Elem(), reflect.ValueOf(c).Elem()
	for i := range s.NumField() {
		f := s.Field(i)
		switch name := s.Type().Field(i).Name; {
		case name == "PeakMemory":
			f.SetInt(max(f.Int(), v.Field(i).Int()))
		case name == "Input":
			sum.Input = sum.Input.Plus(c.Input, 1)
		case f.CanInt():
			f.SetInt(f.Int() + v.Field(i).Int())
		}
	}
}
