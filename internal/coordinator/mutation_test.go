package coordinator

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A mutation is a bug that somebody might make: one fragment of a file, and what stands in its place.
type mutation struct {
	name     string
	file     string // from this directory
	old, new string
}

var mutations = []mutation{
	{
		"a stale incarnation is believed", "machine.go",
		"case s.Incarnation < seen:", "case false:",
	}, {
		"the epoch is not checked", "machine.go",
		"case s.Epoch != m.conf.Epoch:", "case false:",
	}, {
		"a coordinator answers for its successor", "machine.go",
		"return s.Job == m.conf.Job && s.Epoch > m.conf.Epoch", "return false",
	}, {
		"a later commit replaces the first", "report.go",
		`	case t.state == committed:
		return nil, fmt.Sprintf("beaten by %s", t.attempt())
	case t.state != leased || t.attempt() != a || t.node != node:`,
		"	case t.state == waiting:",
	}, {
		"a commit said twice is refused", "report.go",
		"if t != nil && t.state == committed && t.attempt() == c.Attempt {", "if false {",
	}, {
		"the maps of a lost node are not run again", "loss.go",
		"case t.state == committed && (t.id.IsReduce() || m.conf.Reducers == 0):", "case t.state == committed:",
	}, {
		"a lost map stays in the counters", "loss.go",
		"m.count(&t.result.Counters, -1)", "",
	}, {
		"a lost map may come out different", "report.go",
		"t.shown.Vector != c.Result.Vector", "false",
	}, {
		"a reduce begins while a map waits", "lease.go",
		"if m.sealed && m.queue.Len() == 0 && !ok && !m.over {", "if m.sealed && !ok && !m.over {",
	}, {
		"no reduce is given back", "lease.go",
		"for n := m.queue.Len() - m.free(); n > 0; n-- {", "for n := 0; n > 0; n-- {",
	}, {
		"a reduce is given back while a slot is free", "lease.go",
		"for n := m.queue.Len() - m.free(); n > 0; n-- {", "for n := m.queue.Len(); n > 0; n-- {",
	}, {
		"what was given back has failed", "lease.go",
		"effects = append(effects, m.again(youngest)...)", "youngest.failures++\n\t\teffects = append(effects, m.again(youngest)...)",
	}, {
		"a run that is lost is not replaced", "report.go",
		"m.runs = append(m.runs, Run{t.attempt(), t.node, t.result.Vector, c.Incarnation})", `if t.shown.Attempt.Try == 0 {
			m.runs = append(m.runs, Run{t.attempt(), t.node, t.result.Vector, c.Incarnation})
		}`,
	}, {
		"all is said while a map is under way", "follow.go",
		"a.All = m.mapped() && a.Next == len(m.runs)", "a.All = m.sealed && a.Next == len(m.runs)",
	}, {
		"a reduce counts that merged fewer runs", "report.go",
		"if t.id.IsReduce() && c.Result.Vector != m.merged() {", "if false {",
	}, {
		"a run that cannot be read stays", "report.go",
		"mt.state == committed && mt.attempt() == f.Run {", "false {",
	}, {
		"runs out of reach stay", "missing.go",
		"effects = append(effects, m.loseAll(mt.node)...)", "",
	}, {
		"nodes that are apart all get work", "missing.go",
		"return true", "return false",
	}, {
		"a want that was withdrawn is granted", "lease.go",
		"m.asked.remove(asked)", "",
	}, {
		"a lease that was never heard of stays", "lease.go",
		"t != nil && t.holds(s)", "false && t != nil",
	}, {
		"a split is planned twice", "machine.go",
		"everybody := m.queue.Push(t.place())", "everybody := m.queue.Push(t.place())\n\tm.queue.Push(t.place())",
	}, {
		"the job is decided before its last reduce", "machine.go",
		"m.redsDone < m.conf.Reducers {", "m.redsDone < m.conf.Reducers-1 {",
	}, {
		"the job is decided before its plan is complete", "machine.go",
		"return m.sealed && m.mapsDone == len(m.maps)", "return m.mapsDone == len(m.maps)",
	}, {
		"a claim is not looked at before the decision", "commit/decision.go",
		`	if err := c.check(ctx); err != nil {
		return err
	}
	c.out.step("decide: write")`,
		`	c.out.step("decide: write")`,
	}, {
		"what was decided is swept", "commit/claim.go",
		`	if err == nil && d == nil {
		c.out.step("release: sweep")`,
		`	if err == nil && (d == nil || true) {
		c.out.step("release: sweep")`,
	}, {
		"a claim that was lost is released like one that is held", "commit/claim.go",
		`	err := c.check(ctx)
	if c.Err() != nil {
		// What lies`,
		`	var err error
	if c.Err() != nil {
		// What lies`,
	},
}

// mutatedSchedules is how many of its schedules the simulation has to find a mutation.
const mutatedSchedules = 5000

// TestMutations builds this package's tests with one bug each, and has the simulation find it.
func TestMutations(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: each of the mutations is built and linked")
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		if failed, _, _ := trySchedules(1, mutatedSchedules); failed != nil {
			t.Errorf("seed %d fails without a mutation", failed.seed)
		}
	})
	for _, m := range mutations {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			n, out := m.find(t)
			if n == 0 {
				t.Fatalf("not found in %d schedules:\n%s", mutatedSchedules, out)
			}
			t.Logf("found by schedule %d: %s", n, out)
		})
	}
}

var foundAt = regexp.MustCompile(`(?s)schedule (\d+) fails.*\n *wrong: ([^\n]*)`)

// find returns the number of the schedule that finds m, 0 if none does, and what the simulation says of it.
func (m *mutation) find(t *testing.T) (int, string) {
	dir := t.TempDir()
	path, err := filepath.Abs(m.file)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(source, []byte(m.old)); n != 1 {
		t.Fatalf("%s has the fragment %d times, want once:\n%s", m.file, n, m.old)
	}
	mutated := filepath.Join(dir, "mutated.go")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{
		mutated: bytes.Replace(source, []byte(m.old), []byte(m.new), 1), filepath.Join(dir, "overlay.json"): overlay,
	} {
		if err := os.WriteFile(name, body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bin := filepath.Join(dir, "mutated.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s -w",
		"-overlay", filepath.Join(dir, "overlay.json"), "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), bin, "-test.run=^TestSimulation$", "-sim.first=1",
		"-sim.count="+strconv.Itoa(mutatedSchedules)).CombinedOutput()
	found := foundAt.FindSubmatch(out)
	if err == nil || found == nil {
		return 0, string(out)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n, string(found[2])
}
