package coordinator

import (
	"bytes"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
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
		"case h != nil && s.Incarnation < h.incarnation:",
		"case false:",
	}, {
		"the epoch is not checked", "machine.go",
		"case s.Epoch != m.conf.Epoch:",
		"case false:",
	}, {
		"a coordinator answers for its successor", "machine.go",
		"return s.Job == m.conf.Job && s.Epoch > m.conf.Epoch",
		"return false",
	}, {
		"a commit said twice is refused", "report.go",
		"if t != nil && t.state == committed && t.attempt() == c.Attempt && t.host.name == c.Node && m.conf.Job == c.Job {",
		"if false {",
	}, {
		"a commit to the coordinator before is refused", "report.go",
		"t.host.name == c.Node && m.conf.Job == c.Job {",
		"t.host.name == c.Node && why == \"\" {",
	}, {
		"the maps of a lost node are not run again", "loss.go",
		"if t.state == committed && t.host == h {",
		"if false {",
	}, {
		"a lost map stays in the counters", "loss.go",
		"m.count(&t.result.Counters, -1)",
		"",
	}, {
		"a lost map may come out different", "report.go",
		"t.shown.Vector != c.Result.Vector",
		"false",
	}, {
		"a reduce begins while a map waits", "lease.go",
		"if !ok && m.sealed && m.queue.Len() == 0 && !m.slow(s.host) {",
		"if !ok && m.sealed {",
	}, {
		"no reduce is given back", "lease.go",
		"max(0, m.queue.Len()-m.free())",
		"0",
	}, {
		"a reduce is given back while a slot is free", "lease.go",
		"max(0, m.queue.Len()-m.free())",
		"m.queue.Len()",
	}, {
		"what was given back has failed", "lease.go",
		`		a.seat.heard = m.now
		effects = append(effects, m.end(a)...)`,
		`		a.task.pain().failed(a.seat.host)
		effects = append(effects, m.end(a)...)`,
	}, {
		"a run that is lost is not replaced", "report.go",
		"		m.runs = append(m.runs, run{t, t.counts})",
		`		if t.shown == nil {
			m.runs = append(m.runs, run{t, t.counts})
		}`,
	}, {
		"all is said while a map is under way", "follow.go",
		"a.All = m.mapped() && a.Next == len(m.runs)",
		"a.All = m.sealed && a.Next == len(m.runs)",
	}, {
		"a reduce counts that merged fewer runs", "report.go",
		"if t.id.IsReduce() && c.Result.Vector != m.merged {",
		"if false {",
	}, {
		"a run that cannot be read stays", "report.go",
		"mt.state == committed && mt.attempt() == f.Run {",
		"false {",
	}, {
		"runs out of reach stay", "missing.go",
		"effects = append(effects, m.loseAll(on)...)",
		"",
	}, {
		"nodes that are apart all get work", "missing.go",
		"return true",
		"return false",
	}, {
		"a want that was withdrawn is granted", "lease.go",
		"if s := m.tickets[asked]; s != nil {",
		"if s := m.tickets[asked]; s != nil && false {",
	}, {
		"a lease that was never heard of stays", "lease.go",
		"	if s.busy() {",
		"	if false {",
	}, {
		"a split is planned twice", "machine.go",
		"everybody := m.queue.Push(t.wants())",
		`everybody := m.queue.Push(t.wants())
	m.queue.Push(t.wants())`,
	}, {
		"the job is decided before its last reduce", "machine.go",
		"m.redsDone < m.conf.Reducers {",
		"m.redsDone < m.conf.Reducers-1 {",
	}, {
		"the job is decided before its plan is complete", "machine.go",
		"if m.over || !m.sealed || m.mapsDone < len(m.maps)",
		"if m.over || m.mapsDone < len(m.maps)",
	}, {
		"attempts are numbered anew by the next coordinator", "machine.go",
		"max(conf.Term-1, 0) * maxTries",
		"0",
	}, {
		"what is committed runs again under the next coordinator", "replay.go",
		`		} else {
			m.queue.Push(t.wants())
		}`,
		`		}
		m.queue.Push(t.wants())`,
	}, {
		"what is lost counts for the next coordinator", "replay.go",
		"delete(r.counts, e.Lost)",
		"",
	}, {
		"runs of a node that was not heard of count", "report.go",
		"if t.host.heard {",
		"if true {",
	}, {
		"the runs of a node that comes back do not count", "replay.go",
		"m.runs = append(m.runs, run{t, t.counts})",
		"",
	}, {
		"runs that are lost with a node that does not come back are waited for", "loss.go",
		`		m.away--
`,
		"",
	}, {
		"what belongs to a plan that was given up counts", "replay.go",
		"Begun: epoch, nodes: r.nodes, void: r.void}",
		"Begun: epoch, nodes: r.nodes, void: r.void, counts: r.counts, last: r.last}",
	}, {
		"the beginning of a plan is not in the log", "replay.go",
		"effects = append(effects, Append{Record{Begun: m.conf.Epoch}})",
		"_ = 0",
	}, {
		"what reduces have merged is forgotten", "replay.go",
		"if run, ok := r.last[t.id]; ok && r.reduced {",
		"if run, ok := r.last[t.id]; ok && false {",
	}, {
		"a job of which all is committed does not end", "replay.go",
		"return append(effects, m.advance()...)",
		"return effects",
	}, {
		"what the job left is swept when it goes on", "commit/claim.go",
		`	if c.out.opts.Succeeds {
		return nil
	}
	return c.out.sweep`,
		"	return c.out.sweep",
	}, {
		"a beaten attempt stays under way", "report.go",
		"for _, b := range slices.Clone(t.live) {",
		"for _, b := range t.live[:0] {",
	}, {
		"a task waits though an attempt of it is under way", "lease.go",
		"if len(a.task.live) > 0 {",
		"if false {",
	}, {
		"a backup begins on the node that is slow", "backup.go",
		"if t.live[0].seat.host != s.host {",
		"if true {",
	}, {
		"an attempt is revoked that was not beaten", "report.go",
		"Revoke{b.seat.host.name, b.id(),",
		"Revoke{h.name, a.id(),",
	}, {
		"a node is quarantined for one failure", "health.go",
		"h.suspects >= leastSuspects && ",
		"",
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
	},
}

const (
	mutatedSchedules = 5000 // in which the simulation has to find a mutation
	someMutations    = 8    // that are tried unless all are
)

var simAll = flag.Bool("sim.all", false, "try all mutations, not some")

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
	tried := mutations
	if !*simAll {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d: %d mutations of %d; -sim.all tries all", seed, someMutations, len(mutations))
		tried = slices.Clone(tried)
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(tried), func(i, j int) { tried[i], tried[j] = tried[j], tried[i] })
		tried = tried[:someMutations]
	}
	for _, m := range tried {
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
