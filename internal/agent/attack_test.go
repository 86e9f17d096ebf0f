package agent

import (
	"errors"
	"os"
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

// attacked maps objects with the module, and returns why each failed, or that it did not: "". took is the time of them all.
func (m *jailedModule) attacked(t *testing.T, objects int, limits sandbox.Limits) (reasons []string, took time.Duration) {
	t.Helper()
	l := newLab(t, objects, func(int) string { return "an object\n" })
	l.launch = Jailed(sandbox.Config{}, job.Wasm)
	l.code = m.code
	l.hello = runner.Hello{Engine: job.Wasm, Limits: job.Limits{Wall: limits.Wall, Memory: limits.Memory}}
	l.start(t, 0)
	if _, err := l.agent.MapOnly(); err != nil {
		t.Fatal(err)
	}
	l.lease(1, "m-00000", 0)
	began := time.Now()
	l.work(t)
	took = time.Since(began)
	for _, f := range l.failures {
		if f.Fault != coordinator.FaultObject || f.Object != 0 {
			t.Errorf("blamed: %+v", f)
		}
		reasons = append(reasons, f.Reason)
	}
	for _, c := range l.commits {
		for _, o := range c.Result.Names {
			reasons = append(reasons, o.Reason)
		}
		for range c.Result.Counters.Objects - c.Result.Counters.Failed {
			reasons = append(reasons, "")
		}
	}
	return reasons, took
}

// TestWasmAttacks makes each attack of a module in the runner of a job: its object fails with the reason, in time, and nothing outside is touched; the agent, which
// is this process, does not grow, and the node's next program works.
func TestWasmAttacks(t *testing.T) {
	if sandboxtest.Raced {
		t.Skip("the race detector takes memory and time that the limits of this test do not leave")
	}
	o := sandboxtest.NewOutside(t)
	pool := NewPool(Jailed(sandbox.Config{}, job.Wasm))
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	healthy, err := compileJailed(t, pool, sandboxtest.Healthy())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range sandboxtest.WasmAttacks() {
		t.Run(a.Name, func(t *testing.T) {
			o.Begin()
			defer o.Check(t)
			began := time.Now()
			m, err := compileJailed(t, pool, a.Code)
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
			reasons, took := m.attacked(t, 1, limits)
			if len(reasons) != 1 || !strings.Contains(reasons[0], says) || (reasons[0] == "") != (a.Is == nil) {
				t.Errorf("got %q, want one reason with %q", reasons, says)
			}
			if slow {
				t.Logf("ended %v after its limit of %v", took-limits.Wall, limits.Wall)
			}
			if took > limits.Wall+sandboxtest.Patience {
				t.Errorf("ended after %v; limit %v", took, limits.Wall)
			}
		})
	}
	if reasons, _ := healthy.attacked(t, 2, sandbox.Limits{}); len(reasons) != 2 || reasons[0]+reasons[1] != "" {
		t.Errorf("the next program: %q", reasons)
	}
}

// TestOrdinaryUser makes the attacks once more, as a user without any privilege.
func TestOrdinaryUser(t *testing.T) {
	if sandboxtest.Raced {
		t.Skip("TestWasmAttacks skips")
	}
	asuser.Run(t, []string{"TestWasmAttacks"})
}
