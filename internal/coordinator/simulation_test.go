package coordinator

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// TestSimulation runs jobs on nodes that die, restart and repeat themselves, in random order.
func TestSimulation(t *testing.T) {
	base := uint64(time.Now().UnixNano())
	for i := range uint64(2500) {
		if err := simulate(base + i); err != nil {
			t.Fatalf("seed %d: %v", base+i, err)
		}
	}
}

// A world is what lies around the machine.
type world struct {
	r       *rand.Rand
	m       *Machine
	now     time.Time
	ticket  Ticket
	held    map[string][]Lease // by node
	inc     map[string]uint64
	sent    []Commit // that may come again
	counts  map[job.TaskID]Result
	thrown  map[string]bool
	waiting map[Ticket]string
	tries   map[job.TaskID]int // the attempts that count
	beaten  map[job.AttemptID]bool
	end     Effect
	err     error
}

func simulate(seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 7))
	maps, reducers := r.IntN(6), r.IntN(4)
	w := &world{
		r: r, now: start, held: map[string][]Lease{}, inc: map[string]uint64{},
		counts: map[job.TaskID]Result{}, thrown: map[string]bool{}, waiting: map[Ticket]string{},
		tries: map[job.TaskID]int{}, beaten: map[job.AttemptID]bool{},
		m: New(Config{Job: "j", Epoch: 3, Reducers: reducers, Tolerates: func(int64, int64) bool { return true }, Patience: time.Second}),
	}
	nodes := []string{"a", "b", "c"}
	for _, n := range nodes {
		w.inc[n] = 1
	}
	planned, sealed := 0, false
	for step := 0; w.end == nil; step++ {
		if step > 5000 {
			return fmt.Errorf("no end after %d steps: %+v", step, w.m.Progress())
		}
		w.now = w.now.Add(time.Duration(r.IntN(400)) * time.Millisecond)
		node := nodes[r.IntN(len(nodes))]
		quiet := step > 500 // in the end nothing breaks any more
		switch k := r.IntN(20); {
		case planned < maps && k < 4:
			w.step(Planned{job.Split{Task: job.MapTask(planned), Objects: 5, Nodes: nodes[:r.IntN(2)]}})
			planned++
		case planned == maps && !sealed && k < 6:
			w.step(Sealed{"d"})
			sealed = true
		case k < 8:
			w.ticket++
			w.waiting[w.ticket] = node
			w.step(Asked{w.ticket, Want{Sender: w.sender(node)}, w.now})
		case k < 13 && len(w.held[node]) > 0:
			w.commit(node)
		case k == 13 && !quiet && len(w.held[node]) > 0:
			l := w.drop(node)
			f := Failure{Sender: w.sender(node), Attempt: l.Attempt, Object: r.IntN(3) - 1, Reason: "x"}
			if f.Fault = []Fault{FaultStore, FaultObject, FaultTask}[r.IntN(3)]; len(l.Runs) > 0 && r.IntN(2) == 0 {
				f.Fault, f.Run = FaultRun, l.Runs[r.IntN(len(l.Runs))].Attempt
			}
			w.step(Broken{1, f, w.now})
		case k == 14 && !quiet && len(w.sent) > 0:
			c := w.sent[r.IntN(len(w.sent))] // a duplicate, perhaps from before a restart
			w.report(c)
		case k == 15 && !quiet && r.IntN(4) == 0:
			w.step(Lost{node, w.now}) // its leases go on for a while: their commits come late
		case k == 16 && !quiet && r.IntN(4) == 0:
			w.inc[node]++
			w.held[node] = nil
		case k == 17:
			for tk := range w.waiting {
				w.step(Withdrawn{tk})
				delete(w.waiting, tk)
				break
			}
		case k == 18:
			w.step(Ticked{w.now})
		case quiet && k == 19: // nodes that forgot their leases are found lost
			for _, n := range nodes {
				if len(w.held[n]) == 0 {
					w.step(Lost{n, w.now})
				}
			}
		}
		if w.err != nil {
			return w.err
		}
	}
	return w.check(maps, reducers)
}

func (w *world) sender(node string) Sender { return Sender{"j", 3, node, w.inc[node]} }

func (w *world) drop(node string) Lease {
	h := w.held[node]
	i := w.r.IntN(len(h))
	l := h[i]
	w.held[node] = append(h[:i:i], h[i+1:]...)
	return l
}

func (w *world) commit(node string) {
	l := w.drop(node)
	n := int64(w.r.IntN(9))
	res := Result{Counters: job.Counters{
		Objects: n, Bytes: n << 1, Failed: n << 2, Emitted: n << 3, Output: n << 4, User: map[string]int64{"u": n},
		Queue: l.Queued, Run: time.Duration(n), CPU: time.Duration(n << 5), PeakMemory: n << 6,
		Reads: n << 7, ReadBytes: n << 8, Writes: n << 9, WriteBytes: n << 10, LogLines: n << 11, LogDropped: n << 12, Restored: n << 13,
	}, Shuffle: n, Vector: uint64(l.Attempt.Try)}
	res.Part = &store.Pending{Handle: store.Handle{ID: fmt.Sprint(l.Attempt, node, w.inc[node])}}
	c := Commit{w.sender(node), l.Attempt, res}
	w.sent = append(w.sent, c)
	w.report(c)
}

func (w *world) report(c Commit) { w.step(Reported{1, c}) }

func (w *world) step(e Event) {
	w.m.At(w.now)
	for _, f := range w.m.Step(e) {
		if w.end != nil {
			if _, ok := f.(Grant); !ok {
				w.err = fmt.Errorf("%T after the end", f)
			}
		}
		switch f := f.(type) {
		case Grant:
			node, ok := w.waiting[f.Ticket]
			if !ok {
				w.err = fmt.Errorf("lease %s for nobody", f.Lease.Attempt)
			}
			delete(w.waiting, f.Ticket)
			if f.Lease.Over {
				continue
			}
			for _, run := range f.Lease.Runs {
				got, ok := w.counts[run.Attempt.Task]
				if !ok || got.Vector != run.Vector || run.Node == "" {
					w.err = fmt.Errorf("%s is to fetch %+v, which is not committed", f.Lease.Attempt, run)
				}
			}
			if f.Lease.Queued < 0 || f.Lease.Queued > w.now.Sub(start) {
				w.err = fmt.Errorf("%s waited %v, and the job began %v ago", f.Lease.Attempt, f.Lease.Queued, w.now.Sub(start))
			}
			w.held[node] = append(w.held[node], f.Lease)
		case Append:
			if id := f.Record.Lost; id != "" {
				delete(w.counts, id)
				delete(w.tries, id)
			}
			if c := f.Record.Committed; c != nil {
				if _, ok := w.counts[c.Attempt.Task]; ok {
					w.err = fmt.Errorf("%s commits a second time", c.Attempt.Task)
				}
				w.counts[c.Attempt.Task] = c.Result
				w.tries[c.Attempt.Task] = c.Attempt.Try
			}
		case Judge:
			if e, ok := e.(Reported); ok && !f.Verdict.Accepted {
				a := e.Commit.Attempt
				if by, ok := w.tries[a.Task]; ok && by != a.Try {
					w.beaten[a] = true
				}
			}
		case Discard:
			for _, h := range f.Handles {
				w.thrown[h.ID] = true
			}
		case Finish, Fail:
			w.end = f
		}
	}
}

// add adds what an attempt reported to sum, field by field.
func add(sum, c *job.Counters) {
	s, v := reflect.ValueOf(sum).Elem(), reflect.ValueOf(c).Elem()
	for i := range s.NumField() {
		f := s.Field(i)
		switch s.Type().Field(i).Name {
		case "PeakMemory":
			f.SetInt(max(f.Int(), v.Field(i).Int()))
		case "User":
			for k, n := range c.User {
				sum.User[k] += n
			}
		default:
			f.SetInt(f.Int() + v.Field(i).Int())
		}
	}
}

func (w *world) check(maps, reducers int) error {
	if _, ok := w.end.(Finish); !ok {
		return nil // a task failed sixteen times
	}
	o := w.m.Outcome()
	if len(o.Parts) != maps+reducers || len(w.counts) != maps+reducers {
		return fmt.Errorf("%d parts and %d commits for %d tasks", len(o.Parts), len(w.counts), maps+reducers)
	}
	var objects int64
	sum := job.Counters{User: map[string]int64{}}
	for id, r := range o.Parts {
		want := w.counts[id]
		if want.Part != r.Part {
			return fmt.Errorf("%s has another part than the one accepted", id)
		}
		if w.thrown[r.Part.Handle.ID] {
			return fmt.Errorf("part of %s is published and was discarded", id)
		}
		objects += r.Counters.Objects
		add(&sum, &want.Counters)
	}
	sum.Attempts, sum.Retries, sum.Beaten = o.Counters.Attempts, o.Counters.Retries, int64(len(w.beaten))
	if !reflect.DeepEqual(o.Counters, sum) {
		return fmt.Errorf("counters are %+v, the sum of what committed attempts reported is %+v", o.Counters, sum)
	}
	if o.Counters.Objects != objects || o.Counters.User["u"] != objects {
		return fmt.Errorf("counters say %d and %d objects, the parts %d", o.Counters.Objects, o.Counters.User["u"], objects)
	}
	if p := w.m.Progress(); p.ShuffleBytes != objects || p.Maps != maps || p.Reduces != reducers {
		return fmt.Errorf("progress %+v for %d objects", p, objects)
	}
	for _, e := range []Event{
		Asked{1 << 40, Want{Sender: w.sender("a")}, w.now}, Lost{"a", w.now}, Ticked{w.now},
	} {
		for _, f := range w.m.Step(e) {
			if g, ok := f.(Grant); !ok || !g.Lease.Over {
				return fmt.Errorf("%T led to %+v after the end", e, f)
			}
		}
	}
	return nil
}
