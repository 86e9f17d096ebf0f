package agent

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/sandboxtest"
	"github.com/millrace/millrace/sandbox/sandboxtest/asuser"
)

// moduleFile returns a file in memory that holds a module. It is closed with the test.
func moduleFile(t *testing.T, code []byte) *os.File {
	t.Helper()
	f, err := newSpill(t.TempDir())
	if err == nil {
		t.Cleanup(func() { _ = f.Close() })
		_, err = f.Write(code)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A jailedModule is a module on a node, whose runners are jailed as those of jobs are.
type jailedModule struct {
	pool *Pool
	code *os.File // compiled
}

// compileJailed has a module compiled in a jail.
func compileJailed(t *testing.T, pool *Pool, code []byte) (*jailedModule, error) {
	t.Helper()
	compiled, err := pool.Compile(t.Context(), moduleFile(t, code))
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = compiled.Close() })
	return &jailedModule{pool, compiled}, nil
}

// A jailedRun is what became of a job of one module.
type jailedRun struct {
	failed   map[int]string // objects that failed, with the reason
	mapped   int64          // objects that did not
	restored int64          // objects that a restored guest mapped
	text     string         // what was written
	took     time.Duration
}

// run maps objects, whose text body returns, with the module. The error says that no runner could load it.
func (m *jailedModule) run(t *testing.T, objects int, body func(i int) string, limits sandbox.Limits, seed uint64) (*jailedRun, error) {
	t.Helper()
	l := newLab(t, objects, body)
	l.launch = Jailed(sandbox.Config{}, job.Wasm)
	l.code = m.code
	l.hello = runner.Hello{Engine: job.Wasm, Limits: job.Limits{Wall: limits.Wall, Memory: limits.Memory}, Seed: seed}
	l.start(t, 0)
	if _, err := l.agent.MapOnly(); err != nil {
		return nil, err
	}
	for _, s := range l.splits {
		l.lease(1, s.Task, 0)
	}
	began := time.Now()
	l.work(t)
	r := &jailedRun{failed: map[int]string{}, took: time.Since(began)}
	for _, f := range l.failures {
		if f.Fault != coordinator.FaultObject || f.Object < 0 || f.Object >= objects {
			t.Errorf("blamed: %+v", f)
		}
		r.failed[f.Object] = f.Reason
	}
	for _, c := range l.commits {
		n := c.Result.Counters
		r.mapped += n.Objects - n.Failed
		r.restored += n.Restored
		r.text += l.text(t, c.Result.Part)
		for _, o := range c.Result.Names {
			for i := range objects {
				if strings.HasSuffix(o.URI, string(objectKey(i))) {
					r.failed[i] = o.Reason
				}
			}
		}
	}
	if n := r.mapped + int64(len(r.failed)); n != int64(objects) {
		t.Errorf("%d objects are accounted for, of %d: %v", n, objects, r.failed)
	}
	return r, nil
}

// alike are the objects of most attacks.
func alike(int) string { return "an object\n" }

// A jailedNode is a node in this process, whose runners are jailed, and the piece of the world that they must not touch.
type jailedNode struct {
	*sandboxtest.Outside
	pool    *Pool
	healthy *jailedModule
}

// newJailedNode returns a node that ends with the test. It skips where the race detector is in the way.
func newJailedNode(t *testing.T) *jailedNode {
	t.Helper()
	if sandboxtest.Raced {
		t.Skip("the race detector takes memory and time that the limits of this test do not leave")
	}
	n := &jailedNode{Outside: sandboxtest.NewOutside(t), pool: NewPool(Jailed(sandbox.Config{}, job.Wasm))}
	t.Cleanup(func() {
		if err := n.pool.Close(); err != nil {
			t.Error(err)
		}
	})
	var err error
	if n.healthy, err = compileJailed(t, n.pool, sandboxtest.Healthy()); err != nil {
		t.Fatal(err)
	}
	return n
}

// next checks that the node's next program works.
func (n *jailedNode) next(t *testing.T) {
	t.Helper()
	if r, err := n.healthy.run(t, 2, alike, sandbox.Limits{}, 0); err != nil || r.mapped != 2 {
		t.Errorf("the next program: %+v, %v", r, err)
	}
}

// TestWasmAttacks makes each attack of a module in the runner of a job: its object fails with the reason, in time, and nothing outside is touched; the agent, which
// is this process, does not grow, and the node's next program works.
func TestWasmAttacks(t *testing.T) {
	n := newJailedNode(t)
	for _, a := range sandboxtest.WasmAttacks() {
		t.Run(a.Name, func(t *testing.T) {
			n.Begin()
			defer n.Check(t)
			began := time.Now()
			m, err := compileJailed(t, n.pool, a.Code)
			if a.Refused {
				if !errors.As(err, new(runner.Refusal)) || !strings.Contains(err.Error(), a.Says) {
					t.Errorf("error %v; want a refusal with %q", err, a.Says)
				}
				if took := time.Since(began); took > sandboxtest.Patience {
					t.Errorf("refused after %v", took)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			limits := a.Limits
			if limits.Wall == 0 {
				limits = sandbox.Limits{Wall: 100 * time.Millisecond, Memory: 64 << 20}
			}
			says, slow := a.Says, strings.Contains(a.Says, "wall clock")
			if slow { // the runner says so, or the agent, which has killed it
				says = "guest wall"
			}
			r, err := m.run(t, 1, alike, limits, 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.failed[0]; !strings.Contains(got, says) || (got == "") != (a.Is == nil) {
				t.Errorf("got %q, want %q", got, says)
			}
			if slow {
				t.Logf("ended %v after its limit of %v", r.took-limits.Wall, limits.Wall)
			}
			if r.took > limits.Wall+sandboxtest.Patience {
				t.Errorf("ended after %v; limit %v", r.took, limits.Wall)
			}
		})
	}
	n.next(t)
}

// TestWasmHostCalls calls each host function with pointers and lengths at and beyond the end of memory, in the runner of a job: an object for each.
func TestWasmHostCalls(t *testing.T) {
	n := newJailedNode(t)
	n.Begin()
	code, calls := sandboxtest.HostCalls()
	m, err := compileJailed(t, n.pool, code)
	if err != nil {
		t.Fatal(err)
	}
	limits := sandbox.Limits{Wall: time.Minute, Memory: 16 << 20}
	r, err := m.run(t, len(calls), func(i int) string { return calls[i].Input }, limits, 0)
	if err != nil {
		t.Fatal(err)
	}
	n.Check(t)
	for i, c := range calls {
		got := r.failed[i]
		if (got == "") != (c.Is == nil) || c.Is != nil && !strings.Contains(got, c.Is.Error()) {
			t.Errorf("%s: %q, want %v", c.Function, got, c.Is)
		}
	}
	n.next(t)
}

// TestWasmCanaries maps objects with guests that leave things behind and look for them: one that begins afresh for each object, and one that is restored.
func TestWasmCanaries(t *testing.T) {
	const objects = 100
	n := newJailedNode(t)
	for name, code := range map[string][]byte{"fresh": sandboxtest.Healthy(), "restored": sandboxtest.Restored()} {
		t.Run(name, func(t *testing.T) {
			n.Begin()
			defer n.Check(t)
			m, err := compileJailed(t, n.pool, code)
			if err != nil {
				t.Fatal(err)
			}
			r, err := m.run(t, objects, sandboxtest.Canary, sandbox.Limits{}, 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.failed) > 0 {
				t.Errorf("%v", r.failed)
			}
			if (r.restored >= objects/2) != (name == "restored") {
				t.Errorf("%d objects of %d were mapped by a restored guest", r.restored, objects)
			}
		})
	}
}

// TestWasmClock checks that time and chance in a job are those that it declares: the same time for each object, and what the job's seed and the object's name decide.
func TestWasmClock(t *testing.T) {
	const objects = 10
	n := newJailedNode(t)
	m, err := compileJailed(t, n.pool, sandboxtest.Telling())
	if err != nil {
		t.Fatal(err)
	}
	told := func(seed uint64) []sandboxtest.Told {
		t.Helper()
		r, err := m.run(t, objects, alike, sandbox.Limits{}, seed)
		if err != nil {
			t.Fatal(err)
		}
		all := sandboxtest.ParseTold([]byte(r.text))
		if len(all) != objects || r.restored < objects-2 {
			t.Fatalf("%d objects of %d told, %d restored: %v", len(all), objects, r.restored, r.failed)
		}
		return all
	}
	n.Begin()
	first, again, other := told(1), told(1), told(2)
	n.Check(t)
	if !slices.Equal(first, again) {
		t.Errorf("once  %v\nagain %v", first, again)
	}
	seen := map[[16]byte]bool{}
	for i, x := range slices.Concat(first, other) {
		if x.Wall != time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) || x.Steady < 0 || x.Steady > 10*time.Microsecond {
			t.Errorf("object %d: it is %v, %v after the start", i, x.Wall, x.Steady)
		}
		if seen[x.Random] || x.Random == [16]byte{} {
			t.Errorf("object %d draws %x once more", i, x.Random)
		}
		seen[x.Random] = true
	}
}

var soak = flag.Bool("soak", false, "run the whole of what is sampled otherwise: minutes")

// TestWasmMutants has modules that are cut short or have some bits flipped go the way of a job's program: they are compiled in one jail and run in another.
func TestWasmMutants(t *testing.T) {
	modules, seed := 20, uint64(time.Now().UnixNano())
	if *soak {
		modules = 10_000
	}
	t.Logf("%d modules, seed %d", modules, seed)
	n := newJailedNode(t)
	n.Begin()
	ran, said := 0, map[string]int{}
	for code := range sandboxtest.Mutants(seed, modules) {
		t.Run("", func(t *testing.T) { // so that its files are closed
			limits := sandbox.Limits{Wall: 100 * time.Millisecond, Memory: 16 << 20}
			var r *jailedRun
			m, err := compileJailed(t, n.pool, code)
			if err == nil {
				r, err = m.run(t, 1, alike, limits, 0)
			}
			switch {
			case errors.As(err, new(runner.Refusal)):
				said["refused"]++
			case err != nil:
				t.Errorf("module %x: %v", code, err)
			case r.took > limits.Wall+sandboxtest.Patience:
				t.Errorf("module %x: %v after %v", code, r.failed, r.took)
			default:
				ran++
				what, _, _ := strings.Cut(r.failed[0], ":")
				said[what]++
			}
		})
	}
	n.Check(t)
	n.next(t)
	t.Logf("%d ran; how it ended: %v", ran, said)
}

// TestOrdinaryUser makes the attacks once more, as a user without any privilege.
func TestOrdinaryUser(t *testing.T) {
	if sandboxtest.Raced {
		t.Skip("the processes that do the work are built without the race detector; the attacks are made without it")
	}
	asuser.Run(t, []string{"TestWasmAttacks", "TestWasmHostCalls", "TestWasmCanaries", "TestWasmClock", "TestWasmMutants"}, fmt.Sprintf("-soak=%t", *soak))
}
