package runner

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
	"github.com/millrace/millrace/shuffle"
)

// largest merges values, listing does not.
func largest() *job.Job {
	return job.MapReduce(func(*mapper.Object, func(string, int64)) error { return nil }, reducer.Max[int64]())
}

func listing() *job.Job {
	return job.MapReduce(func(*mapper.Object, func(string, string)) error { return nil }, reducer.Concat(","))
}

// A oneRun is a file of one run with some keys, each with the same value.
type oneRun struct {
	file *os.File
	Runs
}

func newRun(t *testing.T, name string, value []byte, keys ...string) oneRun {
	t.Helper()
	f := runFile(t, true)[0]
	s := shuffle.NewSorter(nil)
	defer s.Close()
	s.Start(f, 0)
	for _, k := range keys {
		if err := s.Add([]byte(k), value); err != nil {
			t.Fatal(err)
		}
	}
	sections, err := s.Seal()
	if err != nil {
		t.Fatal(err)
	}
	return oneRun{f, Runs{Name: name, Sections: sections}}
}

// reduce begins a reduce attempt and returns the file that takes what is merged ahead.
func (a *agentEnd) reduce() *os.File {
	a.t.Helper()
	spill := runFile(a.t, true)[0]
	if err := a.conn.SendJSON(KindReduce, Reduce{Attempt: job.AttemptID{Task: "r-00000", Try: 1}}, spill); err != nil {
		a.t.Fatal(err)
	}
	return spill
}

func (a *agentEnd) send(runs ...oneRun) {
	a.t.Helper()
	for _, r := range runs {
		if err := a.conn.SendJSON(KindRuns, r.Runs, r.file); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *agentEnd) total(n int) {
	a.t.Helper()
	if err := a.conn.SendUints(KindTotal, uint32(n)); err != nil {
		a.t.Fatal(err)
	}
}

// merged waits until something was merged ahead.
func merged(t *testing.T, spill *os.File) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		info, err := spill.Stat()
		switch {
		case err != nil:
			t.Fatal(err)
		case info.Size() > 0:
			return
		case time.Now().After(end):
			t.Fatal("nothing was merged while there was time")
		}
	}
}

// However runs come, the result is the same; while the runner waits it merges what becomes smaller, and nothing else.
func TestRunsComeAsTheyDo(t *testing.T) {
	var numbers, texts []oneRun
	for i := range 9 {
		name := fmt.Sprintf("m-%05d.1", i)
		numbers = append(numbers, newRun(t, name, guest.AppendInt(nil, int64(i)), "a", "b", "z"))
		texts = append(texts, newRun(t, name, fmt.Append(nil, i), "k"))
	}
	for _, c := range []struct {
		name  string
		job   *job.Job
		runs  []oneRun
		early int // that come before it is known how many do
		ahead bool
		text  string
	}{
		{"known from the start", largest(), numbers, 0, false, "a\t8\nb\t8\nz\t8\n"},
		{"one by one", largest(), numbers, 9, true, "a\t8\nb\t8\nz\t8\n"},
		{"some", largest(), numbers, 5, true, "a\t8\nb\t8\nz\t8\n"},
		{"nothing to merge by", listing(), texts, 9, false, "k\t0,1,2,3,4,5,6,7,8\n"},
		{"none", largest(), nil, 0, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := serveTest(t, c.job, job.Limits{})
			for range 2 { // attempts of one runner do not see each other
				spill := a.reduce()
				a.send(c.runs[:c.early]...)
				if c.ahead {
					merged(t, spill)
				}
				a.total(len(c.runs))
				a.send(c.runs[c.early:]...)
				h := a.hear()
				if h.done == nil {
					t.Fatalf("failed: %s", h.abort)
				}
				if h.text != c.text {
					t.Errorf("got %q, want %q", h.text, c.text)
				}
				if info, err := spill.Stat(); err != nil || (info.Size() > 0) != c.ahead {
					t.Errorf("%d bytes were merged ahead, %v", info.Size(), err)
				}
			}
		})
	}
}

// What was given back, or has failed before all runs were there, leaves the runner as good as new.
func TestReduceGivenBack(t *testing.T) {
	one := guest.AppendInt(nil, 1)
	good := newRun(t, "m-00000.1", one, "a")
	var bad []oneRun
	for i := range 4 {
		r := newRun(t, fmt.Sprintf("m-%05d.1", i), one, "a", strings.Repeat("b", 40))
		if _, err := r.file.WriteAt(bytes.Repeat([]byte{0xff}, 8), r.Sections[0].Length/2); err != nil {
			t.Fatal(err)
		}
		bad = append(bad, r)
	}
	a := serveTest(t, largest(), job.Limits{})
	for range 2 {
		a.reduce()
		a.send(good)
		if err := a.conn.Send(KindGone, nil); err != nil {
			t.Fatal(err)
		}
		if h := a.hear(); h.abort != errGone.Error() {
			t.Errorf("given back: got %+v", h)
		}

		a.reduce()
		a.send(bad...) // it finds out while it waits
		if h := a.hear(); !strings.Contains(h.abort, "corrupt") || len(h.lost) != 1 || !strings.HasPrefix(h.lost[0], "m-0000") {
			t.Errorf("bad runs: got %+v", h)
		}
		a.total(8) // what the agent says before it has heard
		a.send(good)
		if err := a.conn.Send(KindGone, nil); err != nil {
			t.Fatal(err)
		}

		a.reduce()
		a.total(1)
		a.send(good)
		if h := a.hear(); h.done == nil || h.text != "a\t1\n" {
			t.Errorf("then: got %+v", h)
		}
	}
}
