package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/sandbox"
)

func TestDiffers(t *testing.T) {
	base := Sum{Object: 3, End: EndWell, Records: 2, Digest: "a", Text: 5, TextHash: "b", Counters: "c"}
	for _, c := range []struct {
		change func(*Sum)
		want   string
	}{
		{func(s *Sum) { s.Object = 0 }, ""}, // it is another split
		{func(s *Sum) { s.End = EndTrap }, "ended with success, then with a crash"},
		{func(s *Sum) { s.Exit = 1 }, "exited 0, then 1"},
		{func(s *Sum) { s.Records = 3 }, "2 records, then 3"},
		{func(s *Sum) { s.Digest = "x" }, "2 records, then as many others or in another order"},
		{func(s *Sum) { s.Text = 6 }, "5 bytes of output, then 6"},
		{func(s *Sum) { s.TextHash = "x" }, "5 bytes of output, then as many others"},
		{func(s *Sum) { s.Counters = "x" }, "other counters"},
	} {
		other := base
		c.change(&other)
		if got := base.Differs(&other); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	failed := Sum{End: EndError, Records: 2}
	if got := failed.Differs(&Sum{End: EndError, Records: 1}); got != "" {
		t.Errorf("what a failed object emitted counts: %s", got)
	}
}

func TestEnds(t *testing.T) {
	for _, c := range []struct {
		err  error
		want End
		open bool
	}{
		{nil, EndWell, false},
		{errors.New("bad mail"), EndError, false},
		{fmt.Errorf("guest wall clock %w", sandbox.ErrTime), EndTime, true},
		{fmt.Errorf("guest memory %w", sandbox.ErrLimit), EndLimit, false},
		{fmt.Errorf("%w: %w", sandbox.ErrTrap, sandbox.ErrStack), EndStack, true},
		{fmt.Errorf("%w: unreachable", sandbox.ErrTrap), EndTrap, false},
		{&sandbox.ExitError{Code: 3}, EndExit, false},
	} {
		s := Sum{End: endOf(c.err)}
		if s.End != c.want || s.Open() != c.open {
			t.Errorf("%v: got %s, open %t", c.err, s.End, s.Open())
		}
	}
}

// A check says what became of the marked objects, and lets nothing else out.
func TestServeCheck(t *testing.T) {
	j := job.MapOnly(func(obj *mapper.Object, emit func(string)) error {
		if strings.HasPrefix(obj.Key, "bad") {
			return errors.New("bad object")
		}
		emit("text of " + obj.Key)
		obj.Count("seen", 1)
		return nil
	})
	sums := make(map[bool]map[uint32]Sum)
	for _, check := range []bool{false, true} {
		a := serveTest(t, j, job.Limits{})
		if err := a.conn.SendJSON(KindMap, Map{Attempt: job.AttemptID{Task: "m-00000", Try: 1}, Check: check}); err != nil {
			t.Fatal(err)
		}
		pieces := []Piece{piece(0, "a", 1, true, true), piece(1, "bad", 1, true, true), piece(2, "c", 1, true, true)}
		pieces[0].Sum, pieces[1].Sum = true, true
		a.batch(0, "x", pieces...)
		if err := a.conn.Send(KindEnd, nil); err != nil {
			t.Fatal(err)
		}
		sums[check] = make(map[uint32]Sum)
		others := ""
		for k := Kind(0); k != KindDone; {
			var p []byte
			var err error
			if k, p, _, err = a.conn.Recv(); err != nil {
				t.Fatal(err)
			}
			if k != KindSum {
				others += string(k)
				continue
			}
			var s Sum
			if err := json.Unmarshal(p, &s); err != nil {
				t.Fatal(err)
			}
			sums[check][s.Object] = s
		}
		if want := map[bool]string{false: "OFTD", true: "FD"}[check]; sorted(others) != sorted(want) {
			t.Errorf("check %t: frames %s, want %s", check, others, want)
		}
	}
	for i, end := range []End{EndWell, EndError} {
		first, again := sums[false][uint32(i)], sums[true][uint32(i)]
		if first != again || first.End != end || first.Text == 0 && i == 0 {
			t.Errorf("object %d: got %+v, then %+v", i, first, again)
		}
	}
	if len(sums[false]) != 2 || len(sums[true]) != 2 {
		t.Errorf("got %v", sums)
	}
}

func sorted(s string) string {
	b := []byte(s)
	slices.Sort(b)
	return string(b)
}
