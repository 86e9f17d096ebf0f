package placement_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/placement"
)

var start = time.Unix(100, 0)

// on is a task that lies on some nodes.
func on(id job.TaskID, nodes ...string) placement.Task { return placement.Task{ID: id, Nodes: nodes} }

func TestTake(t *testing.T) {
	tests := []struct {
		name    string
		tasks   []placement.Task
		retried []placement.Task
		want    []job.TaskID // in the order that a is given them, at once
	}{
		{"empty", nil, nil, nil},
		{"anywhere in order", []placement.Task{on("1"), on("2")}, nil, []job.TaskID{"1", "2"}},
		{"near before first", []placement.Task{on("1", "b"), on("2", "c", "a")}, nil, []job.TaskID{"2"}},
		{"near before anywhere", []placement.Task{on("1"), on("2", "a")}, nil, []job.TaskID{"2", "1"}},
		{"anywhere before far", []placement.Task{on("1", "b"), on("2")}, nil, []job.TaskID{"2"}},
		{"far waits", []placement.Task{on("1", "b")}, nil, nil},
		{"said twice", []placement.Task{on("1", "a", "a")}, nil, []job.TaskID{"1"}},
		{"who is not there is not waited for", []placement.Task{on("1", "x", "y")}, nil, []job.TaskID{"1"}},
		{"retried first", []placement.Task{on("1", "a"), on("2")}, []placement.Task{on("3"), on("4", "a")}, []job.TaskID{"4", "3", "1", "2"}},
		{"retried elsewhere waits", nil, []placement.Task{on("1", "b")}, nil},
		{"what nobody else holds first", []placement.Task{on("1", "a", "b"), on("2", "a"), on("3", "a", "x")}, nil, []job.TaskID{"2", "3", "1"}},
		{"what the busiest hold first", []placement.Task{on("1", "c", "a"), on("2", "a", "b"), on("3", "b"), on("4", "b")}, nil, []job.TaskID{"2", "1"}},
		{"what the least busy hold last", []placement.Task{on("1", "a", "b", "c"), on("2", "a", "b"), on("3", "b"), on("4", "b")}, nil, []job.TaskID{"2", "1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := placement.New(time.Second)
			for _, n := range []string{"a", "b", "c"} {
				q.Present(n, "", 1)
			}
			for _, task := range tt.tasks {
				q.Push(task)
			}
			for _, task := range tt.retried {
				q.PushFront(task)
			}
			var got []job.TaskID
			for id, ok := q.Take("a", start); ok; id, ok = q.Take("a", start) {
				got = append(got, id)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("a is given %q, want %q", got, tt.want)
			}
			if left := len(tt.tasks) + len(tt.retried) - len(tt.want); q.Len() != left {
				t.Errorf("%d tasks are left, want %d", q.Len(), left)
			}
		})
	}
}

// A slot waits for something near, then for something in its zone. When it was given something near it waits anew.
func TestPatience(t *testing.T) {
	q := placement.New(3 * time.Second)
	q.Present("a", "north", 1)
	q.Present("b", "north", 1)
	q.Present("c", "south", 1)
	q.Push(on("1", "c"))
	q.Push(on("2", "b"))
	q.Push(on("3", "b"))
	take := func(after time.Duration, want job.TaskID) {
		t.Helper()
		if got, _ := q.Take("a", start.Add(after)); got != want {
			t.Errorf("after %v a is given %q, want %q", after, got, want)
		}
	}
	take(0, "")
	take(2999*time.Millisecond, "")
	take(3*time.Second, "2")
	take(3*time.Second, "3") // it has waited
	take(5999*time.Millisecond, "")
	q.Push(on("4", "a"))
	take(6*time.Second, "4")
	take(7*time.Second, "")
	take(12*time.Second, "")
	take(13*time.Second, "1")
	q.Push(on("5", "b"))
	take(13*time.Second, "5")
	take(14*time.Second, "") // nothing waits, nobody waits
	q.Push(on("6", "b"))
	take(20*time.Second, "")
	take(23*time.Second, "6")
}

// A clock that is set back makes nobody wait longer than from then on.
func TestPatienceOfClockSetBack(t *testing.T) {
	q := placement.New(3 * time.Second)
	q.Present("b", "", 1)
	q.Push(on("1", "b"))
	q.Take("a", start)
	q.Take("a", start.Add(-time.Hour))
	if got, _ := q.Take("a", start.Add(3*time.Second-time.Hour)); got != "1" {
		t.Errorf("a is given %q, want the task of b", got)
	}
}

// Who takes from afar takes a task of the node that will be longest at what it has: of two with as much, the slower.
func TestTakeFromTheBusiest(t *testing.T) {
	q := placement.New(0)
	for _, n := range []string{"fast", "slow", "idle"} {
		q.Present(n, "", 1)
	}
	for i := range 6 {
		q.Push(on(job.TaskID(fmt.Sprint("f", i)), "fast"))
	}
	for i := range 3 {
		q.Push(on(job.TaskID(fmt.Sprint("s", i)), "slow"))
	}
	for _, step := range []struct {
		node string
		want job.TaskID
	}{{"fast", "f0"}, {"slow", "s0"}, {"fast", "f1"}, {"fast", "f2"}, {"fast", "f3"}, {"idle", "s1"}, {"idle", "s2"}, {"idle", "f4"}, {"idle", "f5"}, {"idle", ""}} {
		if got, _ := q.Take(step.node, start); got != step.want {
			t.Errorf("%s is given %q, want %q", step.node, got, step.want)
		}
	}
}

func TestAbsent(t *testing.T) {
	q := placement.New(time.Hour)
	for _, n := range []string{"a", "b", "c"} {
		q.Present(n, "", 1)
	}
	q.Push(on("1", "b"))
	q.Push(on("2", "b", "c"))
	q.Push(on("3", "b", "c"))
	q.Absent("b")
	q.Absent("b")
	q.Absent("nobody")
	take := func(node string, want job.TaskID) {
		t.Helper()
		if got, _ := q.Take(node, start); got != want {
			t.Errorf("%s is given %q, want %q", node, got, want)
		}
	}
	take("a", "1") // waits for nobody
	take("a", "")
	q.Absent("c")
	take("a", "2")
	q.Present("c", "", 1)
	take("a", "") // waits for c again
	take("c", "3")
	q.PushFront(on("4", "b"))
	q.Push(on("5", "b"))
	take("a", "4")
	take("b", "5") // who asks is present
	if q.Len() != 0 {
		t.Errorf("%d tasks are left", q.Len())
	}
}

// A model of a Queue, which looks at everything each time.
type model struct {
	zones   map[string]string // of those present
	waiting map[job.TaskID]placement.Task
	retried map[job.TaskID]bool
	done    map[string]float64 // by node
}

// late reports whether the last task of a node that is present would wait there for longer than patience.
func (m *model) late(elapsed, patience time.Duration) bool {
	todo := map[string]float64{}
	for _, t := range m.waiting {
		nodes := slices.Compact(slices.Sorted(slices.Values(t.Nodes)))
		for _, n := range nodes {
			todo[n]++
		}
	}
	for n := range m.zones {
		if m.done[n] > 0 && todo[n]/(m.done[n]+1)*elapsed.Seconds() >= patience.Seconds() {
			return true
		}
	}
	return false
}

// near returns what a node may be given at once, and whether some of that was tried before.
func (m *model) near(node string) (ids []job.TaskID, retried bool) {
	for id, t := range m.waiting {
		here := slices.Contains(t.Nodes, node)
		some := slices.ContainsFunc(t.Nodes, func(n string) bool { _, ok := m.zones[n]; return ok })
		if here || !some {
			ids = append(ids, id)
			retried = retried || m.retried[id]
		}
	}
	return ids, retried
}

// inZone reports whether something waits for a node of that zone.
func (m *model) inZone(zone string) bool {
	for _, t := range m.waiting {
		if slices.ContainsFunc(t.Nodes, func(n string) bool { z, ok := m.zones[n]; return ok && z == zone }) {
			return true
		}
	}
	return false
}

// TestRandom pushes, takes, comes and goes by chance, and checks against the model what each node is given.
func TestRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for round := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, round))
		const patience = 10 * time.Second
		q := placement.New(patience)
		m := &model{map[string]string{}, map[job.TaskID]placement.Task{}, map[job.TaskID]bool{}, map[string]float64{}}
		name := func() string { return fmt.Sprint("n", r.IntN(8)) }
		zone := func() string { return fmt.Sprint("z", r.IntN(3)) }
		since := map[string]time.Time{}
		var began time.Time
		now, given := start, map[job.TaskID]bool{}
		for step := range 400 {
			now = now.Add(time.Duration(r.IntN(3000)) * time.Millisecond)
			switch what := r.IntN(20); {
			case what < 8:
				task := placement.Task{ID: job.MapTask(step)}
				for range r.IntN(4) {
					task.Nodes = append(task.Nodes, name())
				}
				m.waiting[task.ID] = task
				if m.retried[task.ID] = r.IntN(5) == 0; m.retried[task.ID] {
					q.PushFront(task)
				} else {
					q.Push(task)
				}
			case what == 8:
				n := name()
				delete(m.zones, n)
				q.Absent(n)
			case what < 11:
				n := name()
				m.zones[n] = zone()
				q.Present(n, m.zones[n], 1)
			default:
				n := name()
				if _, ok := m.zones[n]; !ok {
					m.zones[n] = "z0"
					q.Present(n, "z0", 1)
				}
				near, retried := m.near(n)
				if began.IsZero() && len(m.waiting) > 0 {
					began = now
				}
				id, ok := q.Take(n, now)
				if ok {
					if _, waits := m.waiting[id]; !waits || given[id] {
						t.Fatalf("seed %d/%d: %s is given %q, which does not wait", seed, round, n, id)
					}
					given[id] = true
				}
				late := m.late(now.Sub(began), patience)
				waited := now.Sub(since[n])
				if since[n].IsZero() {
					waited = 0
				}
				switch {
				case len(near) > 0 && !slices.Contains(near, id):
					t.Fatalf("seed %d/%d: %s is given %q, want one of %q", seed, round, n, id, near)
				case len(near) > 0 && retried && !m.retried[id]:
					t.Fatalf("seed %d/%d: %s is given %q before one that was tried", seed, round, n, id)
				case len(near) == 0 && ok && waited < patience && !late:
					t.Fatalf("seed %d/%d: %s is given %q, which is far, after %v", seed, round, n, id, waited)
				case len(near) == 0 && !ok && waited >= patience && m.inZone(m.zones[n]):
					t.Fatalf("seed %d/%d: %s is given nothing of its zone after %v", seed, round, n, waited)
				case len(near) == 0 && !ok && waited >= 2*patience && len(m.waiting) > 0:
					t.Fatalf("seed %d/%d: %s is given nothing after %v", seed, round, n, waited)
				}
				switch {
				case len(near) > 0 || len(m.waiting) == 0:
					since[n] = time.Time{}
				case since[n].IsZero():
					since[n] = now
				}
				if delete(m.waiting, id); ok {
					m.done[n]++
				}
			}
			if q.Len() != len(m.waiting) {
				t.Fatalf("seed %d/%d: %d tasks wait, want %d", seed, round, q.Len(), len(m.waiting))
			}
		}
		for end := now.Add(time.Hour); q.Len() > 0; end = end.Add(patience) {
			if id, ok := q.Take("n0", end); ok && given[id] {
				t.Fatalf("seed %d/%d: %q is given twice", seed, round, id)
			} else if end.Sub(now) > 2*time.Hour+400*patience {
				t.Fatalf("seed %d/%d: %d tasks are never given", seed, round, q.Len())
			}
		}
	}
}

// A node that is ahead of the others takes large tasks of one that is behind, even while it has smaller ones near.
func TestHelp(t *testing.T) {
	q := placement.New(3 * time.Second)
	for _, n := range []string{"slow", "fast"} {
		q.Present(n, "", 1)
	}
	for range 9 {
		q.Push(placement.Task{ID: "of slow", Nodes: []string{"slow"}, Weight: 30 << 20})
		q.Push(placement.Task{ID: "of fast", Nodes: []string{"fast"}, Weight: 20 << 20})
	}
	q.Take("slow", start)
	for i, want := range []job.TaskID{"of fast", "of fast", "of slow"} {
		if got, _ := q.Take("fast", start.Add(time.Duration(i)*20*time.Second)); got != want {
			t.Errorf("when it has taken %d tasks, fast is given one %q, want %q", i, got, want)
		}
	}
	if got, _ := q.Take("slow", start.Add(time.Minute)); got != "of slow" {
		t.Errorf("slow is given one %q", got)
	}
}

// Near the end, a slot is not given what it would still be at when all else is done.
func TestEnd(t *testing.T) {
	q := placement.New(time.Hour)
	for _, n := range []string{"slow", "fast"} {
		q.Present(n, "", 1)
	}
	for range 10 {
		q.Push(placement.Task{ID: "of fast", Nodes: []string{"fast"}, Weight: 20 << 20})
	}
	for _, id := range []job.TaskID{"large", "large", "small"} {
		q.Push(placement.Task{ID: id, Nodes: []string{"slow"}, Weight: map[job.TaskID]int64{"large": 30 << 20, "small": 3 << 20}[id]})
	}
	take := func(node string, want job.TaskID) {
		t.Helper()
		if got, _ := q.Take(node, start); got != want {
			t.Errorf("%s is given %q, want %q", node, got, want)
		}
	}
	take("slow", "large")
	for range 10 {
		take("fast", "of fast")
	}
	take("slow", "small")
	take("slow", "large") // there is nothing else
}

// Orphans are for everybody who has nothing larger to do.
func TestOrphans(t *testing.T) {
	q := placement.New(time.Hour)
	q.Present("a", "", 1)
	q.Present("b", "", 1)
	for _, task := range []placement.Task{{ID: "near", Nodes: []string{"a"}, Weight: 3 << 20}, {ID: "small", Nodes: []string{"gone"}, Weight: 1 << 20}, {ID: "large", Nodes: []string{"gone"}, Weight: 9 << 20}, {ID: "anywhere", Weight: 50 << 20}} {
		q.Push(task)
	}
	for i, want := range []job.TaskID{"near", "large", "small", "anywhere", ""} {
		if got, _ := q.Take("a", start.Add(time.Duration(i)*time.Second)); got != want {
			t.Errorf("a is given %q, want %q", got, want)
		}
	}
}

// heap returns how many bytes are in use.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkTake takes a million tasks, each of which lies on three of ten thousand nodes.
func BenchmarkTake(b *testing.B) {
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprint("node-", i)
	}
	r := rand.New(rand.NewPCG(1, 2))
	tasks := make([]placement.Task, 1_000_000)
	for i := range tasks {
		tasks[i] = on(job.MapTask(i), names[r.IntN(len(names))], names[r.IntN(len(names))], names[r.IntN(len(names))])
	}
	var held float64
	for b.Loop() {
		b.StopTimer()
		before := heap()
		b.StartTimer()
		q := placement.New(0)
		for _, n := range names {
			q.Present(n, "", 1)
		}
		for _, t := range tasks {
			q.Push(t)
		}
		b.StopTimer()
		held = heap() - before
		b.StartTimer()
		for i := 0; q.Len() > 0; i++ {
			q.Take(names[i%len(names)], start)
		}
	}
	b.ReportMetric(float64(len(tasks)*b.N)/b.Elapsed().Seconds(), "tasks/s")
	b.ReportMetric(held/float64(len(tasks)), "B/task")
}
