package placement_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/placement"
)

func TestSpread(t *testing.T) {
	s := placement.NewSpread(3 * time.Second)
	for _, n := range []string{"a", "b", "c"} {
		s.Present(n)
	}
	for i := range 7 {
		s.Push(job.ReduceTask(i))
	}
	take := func(node string, after time.Duration, want job.TaskID) {
		t.Helper()
		if got, _ := s.Take(node, start.Add(after)); got != want {
			t.Errorf("after %v %s is given %q, want %q", after, node, got, want)
		}
	}
	take("a", 0, "r-00000")
	take("a", 0, "r-00001")
	take("a", 0, "r-00002")
	take("a", 0, "") // its share of seven is three
	take("b", 0, "r-00003")
	s.Done("a")
	s.PushFront("r-00000")
	take("a", 0, "r-00000")
	take("a", 2*time.Second, "") // the earlier wait is over
	take("a", 4*time.Second, "")
	take("a", 5*time.Second, "r-00004") // the others have no slot, it seems
	take("a", 5*time.Second, "r-00005")
	take("c", 5*time.Second, "r-00006")
	take("c", 5*time.Second, "")
	if s.Len() != 0 {
		t.Errorf("%d tasks are left", s.Len())
	}
}

func TestSpreadWithoutTheAbsent(t *testing.T) {
	s := placement.NewSpread(time.Hour)
	for i := range 4 {
		s.Present(fmt.Sprint("n", i))
		s.Push(job.ReduceTask(i))
	}
	if _, ok := s.Take("n0", start); !ok {
		t.Error("n0 is not given its share")
	}
	if id, ok := s.Take("n0", start); ok {
		t.Errorf("n0 is given %s beyond its share", id)
	}
	s.Absent("n1")
	s.Absent("n2")
	s.Absent("n2")
	if _, ok := s.Take("n0", start); !ok {
		t.Error("n0 is not given its share of what two nodes are to do")
	}
	if id, ok := s.Take("n0", start); ok {
		t.Errorf("n0 is given %s beyond its share", id)
	}
}
