package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/shuffle"
)

func TestMain(m *testing.M) {
	Child()
	goleak.VerifyTestMain(m)
}

// An agentEnd drives a runner as its agent would.
type agentEnd struct {
	t    *testing.T
	conn *Conn
	mem  *Memory
	done chan error
}

// A heard is what a runner said until the end of an attempt.
type heard struct {
	text   string
	failed map[uint32]string
	done   *Done
	abort  string
	lost   []string
}

func serveTest(t *testing.T, j *job.Job, limits job.Limits) *agentEnd {
	t.Helper()
	mem, f, err := NewMemory()
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	ours, theirs := pair(t)
	a := &agentEnd{t, ours, mem, make(chan error, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := Serve(context.Background(), theirs, mem, j)
		theirs.Hang()
		a.done <- err
	}()
	t.Cleanup(func() { ours.Hang(); <-ended })
	h := Hello{Version: Version, Format: job.Text, Limits: limits, Inputs: []Input{{Root: "mem:in/"}}}
	if err := ours.SendJSON(KindHello, h); err != nil {
		t.Fatal(err)
	}
	if k, p, _, err := ours.Recv(); err != nil || k != KindReady {
		t.Fatalf("got %c %s, %v", k, p, err)
	}
	return a
}

func (a *agentEnd) begin() {
	if err := a.conn.SendJSON(KindMap, Map{Attempt: job.AttemptID{Task: "m-00000", Try: 1}}); err != nil {
		a.t.Fatal(err)
	}
}

// batch hands over pieces with their data in slab i.
func (a *agentEnd) batch(i uint32, data string, ps ...Piece) {
	n := 0
	for _, p := range ps {
		copy(p.Put(a.mem.Slab(int(i))[n:], len(data)), data)
		n += p.HeadSize() + len(data)
	}
	if err := a.conn.SendUints(KindBatch, i, uint32(n)); err != nil {
		a.t.Fatal(err)
	}
}

func (a *agentEnd) hear() (h heard) {
	h.failed = make(map[uint32]string)
	for {
		k, p, _, err := a.conn.Recv()
		if err != nil {
			a.t.Fatalf("runner ended: %v, %v", err, <-a.done)
		}
		switch k {
		case KindText, KindMore:
			h.text += string(p)
		case KindFailed:
			var i uint32
			reason, _ := Uints(p, &i)
			h.failed[i] = string(reason)
		case KindDone:
			h.done = new(Done)
			if err := json.Unmarshal(p, h.done); err != nil {
				a.t.Fatal(err)
			}
			return h
		case KindLost:
			h.lost = append(h.lost, string(p))
		case KindAbort:
			h.abort = string(p)
			return h
		}
	}
}

func (a *agentEnd) end() heard {
	if err := a.conn.Send(KindEnd, nil); err != nil {
		a.t.Fatal(err)
	}
	return a.hear()
}

// echo emits key and length; what it does with a body its key says.
func echo() *job.Job {
	return job.MapOnly(func(obj *mapper.Object, emit func(string)) error {
		n := int64(0)
		switch {
		case strings.HasPrefix(obj.Key, "part"):
			k, err := io.ReadFull(obj, make([]byte, 3))
			if err != nil {
				return err
			}
			n = int64(k)
		case strings.HasPrefix(obj.Key, "bad"):
			emit("never seen")
			return errors.New("bad object")
		case strings.HasPrefix(obj.Key, "panic"):
			panic("ouch")
		case strings.HasPrefix(obj.Key, "long"):
			emit(strings.Repeat("x", 300_000))
		default:
			var err error
			if n, err = io.Copy(io.Discard, obj); err != nil {
				return err
			}
		}
		emit(fmt.Sprint(obj.Key, " ", n))
		return nil
	})
}

func piece(i uint32, key string, size int64, first, last bool) Piece {
	return Piece{Index: i, Key: key, Size: size, First: first, Last: last}
}

func TestServe(t *testing.T) {
	a := serveTest(t, echo(), job.Limits{})
	for range 2 { // attempts of one runner do not see each other
		a.begin()
		a.batch(0, "data", piece(0, "a", 4, true, true), piece(1, "bad", 4, true, true), piece(2, "panic", 4, true, true))
		a.batch(1, "data", piece(3, "large", 12, true, false), piece(3, "large", 12, false, false))
		a.batch(2, "data", piece(3, "large", 12, false, true), piece(4, "part", 8, true, false))
		a.batch(3, "data", piece(4, "part", 8, false, true), piece(5, "z", 4, true, true))
		h := a.end()
		if want := "a 4\nlarge 12\npart 3\nz 4\n"; h.text != want {
			t.Errorf("got %q, want %q", h.text, want)
		}
		if len(h.failed) != 2 || h.failed[1] != "bad object" || !strings.Contains(h.failed[2], "ouch") {
			t.Errorf("failed: %v", h.failed)
		}
		if h.done == nil || h.done.Objects != 6 || h.done.Bytes != 32+4 || h.done.Output != 4 {
			t.Errorf("got %+v", h.done)
		}
	}
	a.begin()
	a.batch(0, "x", piece(0, "long", 1, true, true))
	if h := a.end(); len(h.text) != 300_001+len("long 0\n") {
		t.Errorf("got %d bytes of text", len(h.text))
	}
	a.conn.Hang()
	if err := <-a.done; err != nil {
		t.Errorf("got %v", err)
	}
}

// An object that could not be read to its end is forgotten.
func TestServeUnread(t *testing.T) {
	for _, key := range []string{"whole", "part"} {
		a := serveTest(t, echo(), job.Limits{})
		a.begin()
		gone := piece(0, key, 8, false, true)
		gone.Unread = true
		a.batch(0, "data", piece(0, key, 8, true, false), gone, piece(1, "next", 4, true, true))
		if h := a.end(); h.text != "next 4\n" || len(h.failed) != 0 || h.done == nil || h.done.Objects != 1 {
			t.Errorf("%s: got %q, failed %v, %+v", key, h.text, h.failed, h.done)
		}
	}
}

func TestServeLimits(t *testing.T) {
	for want, l := range map[string]job.Limits{"output": {Output: 1000}, "records": {Records: 1}} {
		a := serveTest(t, echo(), l)
		a.begin()
		a.batch(0, "x", piece(0, "long", 1, true, true), piece(1, "next", 1, true, true))
		if h := a.end(); !strings.HasPrefix(h.failed[0], want) || h.text != "next 1\n" {
			t.Errorf("%s: got %v and %d bytes", want, h.failed, len(h.text))
		}
	}
}

func TestRecordsLimit(t *testing.T) {
	s := stage{limits: job.Limits{Output: 100, Records: 2}}
	for i := range 3 {
		if err := s.Record([]byte("k"), []byte("v")); (err != nil) != (i == 2) || err != nil && !errors.Is(err, sandbox.ErrLimit) {
			t.Errorf("record %d: got %v", i, err)
		}
	}
}

func TestServeProtocol(t *testing.T) {
	for name, f := range map[string]func(a *agentEnd) error{
		"frame":        func(a *agentEnd) error { return a.conn.Send('?', nil) },
		"hello again":  func(a *agentEnd) error { return a.conn.SendJSON(KindHello, Hello{}) },
		"not JSON":     func(a *agentEnd) error { return a.conn.Send(KindMap, []byte("{")) },
		"slab":         func(a *agentEnd) error { a.begin(); return a.conn.SendUints(KindBatch, Slabs, 1) },
		"length":       func(a *agentEnd) error { a.begin(); return a.conn.SendUints(KindBatch, 0, SlabSize+1) },
		"short batch":  func(a *agentEnd) error { a.begin(); return a.conn.SendUints(KindBatch, 0) },
		"map in a map": func(a *agentEnd) error { a.begin(); a.begin(); return nil },
		"broken piece": func(a *agentEnd) error { a.begin(); return a.conn.SendUints(KindBatch, 0, 7) },
		"middle":       func(a *agentEnd) error { a.begin(); a.batch(0, "x", piece(0, "k", 1, false, true)); return nil },
		"no spill":     func(a *agentEnd) error { return a.conn.SendJSON(KindReduce, Reduce{}) },
		"too many runs": func(a *agentEnd) error {
			a.reduce()
			a.total(1)
			return a.conn.SendJSON(KindRuns, Runs{Name: "m", Sections: make([]shuffle.Section, 2)}, runFile(a.t, true)...)
		},
		"fewer after more": func(a *agentEnd) error {
			a.reduce()
			a.send(newRun(a.t, "m", nil, "k"))
			return a.conn.SendUints(KindTotal, 0)
		},
		"two totals": func(a *agentEnd) error { a.reduce(); a.total(1); return a.conn.SendUints(KindTotal, 1) },
		"runs without a file": func(a *agentEnd) error {
			a.reduce()
			return a.conn.SendJSON(KindRuns, Runs{Name: "m", Sections: make([]shuffle.Section, 1)})
		},
		"no runs": func(a *agentEnd) error {
			a.reduce()
			return a.conn.SendJSON(KindRuns, Runs{Name: "m"}, runFile(a.t, true)...)
		},
		"map in a reduce": func(a *agentEnd) error { a.reduce(); a.begin(); return nil },
		"hung up":         func(a *agentEnd) error { a.begin(); a.conn.Hang(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			a := serveTest(t, echo(), job.Limits{})
			if err := f(a); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-a.done:
				if err == nil {
					t.Error("the runner ended as if all were well")
				}
			case <-time.After(30 * time.Second):
				t.Error("the runner goes on")
			}
		})
	}
}
