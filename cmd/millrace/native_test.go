package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/sandboxtest"
)

// TestNativeAttacks makes each attack of a native guest in a job, an object each, and looks after each whether the next object finds something of it. Attacks that
// need the same limits are one job.
func TestNativeAttacks(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("native programs need root")
	}
	outside := sandboxtest.NewOutside(t)
	program := filepath.Join(t.TempDir(), "probe")
	if err := os.WriteFile(program, sandboxtest.Probe(t, sandboxtest.Native), 0o755); err != nil {
		t.Fatal(err)
	}
	jobs := map[sandbox.Limits][]sandboxtest.NativeAttack{}
	var order []sandbox.Limits
	for _, a := range sandboxtest.NativeAttacks() {
		if a.Limits.Memory > 0 {
			a.Limits.Memory = 200 << 20 // of the guest: it decides how large the jail is
		}
		if a.Limits.Wall > 0 {
			a.Limits.Wall = 2 * time.Second // the next object has it as well, on a machine that does other things
		}
		if !slices.Contains(order, a.Limits) {
			order = append(order, a.Limits)
		}
		jobs[a.Limits] = append(jobs[a.Limits], a)
	}
	calm := attackJob(t, outside, program, sandbox.Limits{}, nil)
	for _, l := range order {
		got := attackJob(t, outside, program, l, jobs[l])
		if grown := got.memory - calm.memory; grown > 64<<20 || calm.memory == 0 {
			t.Errorf("%+v: the agent has %d MiB, %d more than in peace", l, got.memory>>20, grown>>20)
		}
	}
}

// attackJob runs a job of attacks, and checks all that it comes to.
func attackJob(t *testing.T, outside *sandboxtest.Outside, program string, l sandbox.Limits, attacks []sandboxtest.NativeAttack) outcome {
	t.Helper()
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	place(t, in, "00-first", "state\n")
	harmless, want := 0, map[string]string{}
	for i, a := range attacks {
		name := fmt.Sprintf("%02d-%s", i+1, strings.ReplaceAll(a.Name, "/", "-"))
		place(t, in, name, outside.Words(a.Args)+"\n"+a.Stdin)
		place(t, in, name+", the next", "state\n")
		if a.Is == nil {
			harmless++
		} else {
			want[name] = strings.TrimPrefix(a.Says, "guest ")
		}
	}
	args := []string{"run", program, "-i", in, "-o", out, "--tolerate", "all", "--slots", "1", "--limit-wall", "1m"}
	if l.Wall > 0 {
		args = append(args, "--limit-wall", l.Wall.String())
	}
	if l.CPU > 0 {
		args = append(args, "--limit-cpu", l.CPU.String())
	}
	if l.Memory > 0 {
		args = append(args, "--limit-memory", fmt.Sprint(l.Memory))
	}
	if l.Output > 0 {
		args = append(args, "--limit-output", fmt.Sprint(l.Output))
	}
	outside.Begin()
	begin := time.Now()
	got := runAs(t, 0, args...)
	outside.Check(t)
	if code := map[bool]int{true: 3}[len(want) > 0]; got.code != code {
		t.Fatalf("%+v: %+v", l, got)
	}
	t.Logf("%d attacks under %+v in %v", len(attacks), l, time.Since(begin))
	m, parts := published(t, out)
	for _, p := range m.Parts {
		parts = strings.Replace(parts, p.Key+"\n", "", 1)
	}
	lines := strings.Split(strings.TrimSuffix(parts, "\n"), "\n")
	slices.Sort(lines)
	expected := slices.Concat(slices.Repeat([]string{"1 false"}, 1+len(attacks)), slices.Repeat([]string{"done"}, harmless))
	if !slices.Equal(lines, expected) {
		t.Errorf("%+v: what worked: %.1000q; want %d attacks done and nothing left behind", l, slices.Compact(lines), harmless)
	}
	reasons := failures(t, out, &m)
	if len(reasons) != len(want) {
		t.Errorf("%d objects failed, want %d: %v", len(reasons), len(want), reasons)
	}
	for name, says := range want {
		says, _, _ = strings.Cut(says, ":")
		if !strings.Contains(reasons[name], says) {
			t.Errorf("%s: %q, want %q", name, reasons[name], says)
		}
	}
	return got
}
