package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/job"
)

// hostile returns the path of the misbehaving program, built for an engine.
func hostile(t *testing.T, engine job.Engine) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hostile")
	cmd := exec.Command("go", "build", "-o", path, "./testdata/hostile")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if engine == job.Wasm {
		cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// ended runs the command and returns its exit code and what it printed, having checked that no process of it is left.
func ended(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatalf("%v\n%s", err, bin)
	}
	// Whoever is orphaned becomes a child of the test.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	cmd := exec.CommandContext(t.Context(), bin, args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	for _, pid := range descendants(os.Getpid()) {
		deadline := time.Now().Add(20 * time.Second)
		for alive(pid) {
			if time.Now().After(deadline) {
				name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				t.Fatalf("process %d (%q) lives on", pid, name)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// alive reports whether a process runs. One that has ended and is our child is reaped.
func alive(pid int) bool {
	_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

// place writes a file.
func place(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// objects writes good objects, and among them one of each kind in bad and two of those that end by themselves, to a new
// directory, and the good ones alone to another. It returns how many there are.
func objects(t *testing.T, bad map[string]string) (mixed, alone string, good, failing int) {
	t.Helper()
	mixed, alone = t.TempDir(), t.TempDir()
	for good < 26 {
		verb := []string{"good", "leave", "good", "massacre", "setsid"}[good%5] // none of which may harm anybody
		name, text := fmt.Sprintf("%02d-%s", good, verb), fmt.Sprintf("%s words of %d\n", verb, good%7)
		place(t, alone, name, text)
		place(t, mixed, name, text)
		good++
	}
	for i, verb := range slices.Sorted(maps.Keys(bad)) {
		place(t, mixed, fmt.Sprintf("%02d-%s", i*2, verb), verb+" words of wrath\n")
		failing++
		if !strings.Contains(bad[verb], "wall") {
			place(t, mixed, fmt.Sprintf("%02d-%s", i*2+7, verb), verb+" words of woe\n")
			failing++
		}
	}
	return mixed, alone, good, failing
}

// published returns the manifest in dir and the bytes of all parts it names.
func published(t *testing.T, dir string) (m job.Manifest, parts string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "_manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Parts {
		text, err := os.ReadFile(filepath.Join(dir, p.Key))
		if err != nil {
			t.Fatal(err)
		}
		parts += p.Key + "\n" + string(text)
	}
	return m, parts
}

// failures returns the reason of each object in the lists that m names, by the object's name.
func failures(t *testing.T, dir string, m *job.Manifest) map[string]string {
	t.Helper()
	reasons := make(map[string]string)
	for _, p := range m.Failed {
		text, err := os.ReadFile(filepath.Join(dir, p.Key))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var f job.FailedObject
			if err := json.Unmarshal([]byte(line), &f); err != nil {
				t.Fatalf("%s: %v in %q", p.Key, err, line)
			}
			name := filepath.Base(f.URI)
			if _, twice := reasons[name]; twice {
				t.Errorf("%s is listed twice", name)
			}
			reasons[name] = f.Reason
		}
	}
	return reasons
}

// Objects with which a program misbehaves are listed, each with its own reason; all others are counted exactly.
func TestMisbehaviour(t *testing.T) {
	common := map[string]string{
		"error": "a bad object", "exit": "exited 7", "loop": "wall clock limit", "chatter": "wall clock limit", "flood": "output limit", "memory": "memory limit",
	}
	sdk := maps.Clone(common)
	maps.Copy(sdk, map[string]string{"panic": "ouch", "vanish": "ended", "garbage": "protocol"})
	script := maps.Clone(common)
	maps.Copy(script, map[string]string{
		"panic": "crashed", "asleep": "wall clock limit", "stop": "wall clock limit", "garbage": "line 2 of output", "forks": "Cannot fork", "disk": "exited 9",
	})
	for _, c := range []struct {
		name    string
		program func(t *testing.T) string
		reasons map[string]string // what the reason of each kind of object says
		flags   []string
	}{
		{"wasm", func(t *testing.T) string { return hostile(t, job.Wasm) }, sdk, nil},
		{"wasm split", func(t *testing.T) string { return hostile(t, job.Wasm) }, sdk, []string{"--isolation", "split"}},
		{"native", func(t *testing.T) string { return hostile(t, job.Native) }, sdk, nil},
		{"native split", func(t *testing.T) string { return hostile(t, job.Native) }, sdk, []string{"--isolation", "split"}},
		{"script", func(*testing.T) string { return "testdata/hostile.sh" }, script, []string{"--reducer", "sum"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mixed, alone, good, failing := objects(t, c.reasons)
			out, want := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "want")
			args := []string{"run", c.program(t), "-r", "3", "--tolerate", "50%", "--slots", "1",
				"--limit-wall", "2s", "--limit-memory", "64MiB", "--limit-output", "1MiB"}
			args = append(args, c.flags...)
			if code, _, stderr := ended(t, append(args, "-i", alone, "-o", want)...); code != 0 {
				t.Fatalf("good objects alone: exit code %d\n%s", code, stderr)
			}
			code, _, stderr := ended(t, append(args, "-i", mixed, "-o", out)...)
			if code != 3 {
				t.Fatalf("got exit code %d, want 3\n%s", code, stderr)
			}
			m, parts := published(t, out)
			if _, want := published(t, want); parts != want || !strings.Contains(parts, fmt.Sprintf("seen\t%d\n", good)) {
				t.Errorf("got %q, want %q and %d seen", parts, want, good)
			}
			got := failures(t, out, &m)
			if n := m.Counters; n.Failed != int64(failing) || n.Objects != int64(good+failing) || len(got) != failing {
				t.Errorf("%d failed of %d, %d listed, want %d of %d", n.Failed, n.Objects, len(got), failing, good+failing)
			}
			if m.Counters.Retries != 0 {
				t.Errorf("%d retries: a guest brought its runner down", m.Counters.Retries)
			}
			for name, reason := range got {
				_, verb, _ := strings.Cut(name, "-")
				if want, ok := c.reasons[verb]; !ok || !strings.Contains(reason, want) {
					t.Errorf("%s: %q, want %q", name, reason, want)
				}
			}
			first := slices.Sorted(maps.Keys(got))[0]
			for _, want := range []string{fmt.Sprintf("%d objects failed:\n", failing), first + ": " + got[first], m.Failed[0].Key} {
				if !strings.Contains(stderr, want) {
					t.Errorf("stderr %q does not say %q", stderr, want)
				}
			}
		})
	}
}

// A builtin cannot be stopped from within: its runner is killed, and the rest of the split mapped by another one.
func TestBuiltinOverItsLimit(t *testing.T) {
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	random := rand.New(rand.NewPCG(1, 2))
	var long strings.Builder // no automaton that fits into memory knows all that this may lead to
	for long.Len() < 4<<20 {
		long.WriteByte("abqrst"[random.IntN(6)])
		if long.Len()%2000 == 0 {
			long.WriteByte('\n')
		}
	}
	for i := range 12 {
		name, text := fmt.Sprintf("%02d-good", i), "one line\nabcdefghijklmnz\n"
		if i == 3 || i == 7 {
			name, text = fmt.Sprintf("%02d-long", i), long.String()
		}
		place(t, in, name, text)
	}
	code, _, stderr := ended(t, "run", "builtin:grep", "-p", "patterns=[a-q][^u-z]{13,40}[x-z]", "-i", in, "-o", out,
		"--limit-wall", "500ms", "--tolerate", "50%")
	if code != 3 {
		t.Fatalf("got exit code %d, want 3\n%s", code, stderr)
	}
	m, parts := published(t, out)
	if n := strings.Count(parts, "abcdefghijklmnz"); n != 10 || m.Counters.Objects != 12 || m.Counters.Retries != 2 {
		t.Errorf("got %d lines, want 10: %q; %+v", n, parts, m.Counters)
	}
	want := map[string]string{"03-long": "guest wall clock limit: 500ms", "07-long": "guest wall clock limit: 500ms"}
	if got := failures(t, out, &m); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A program that fails on everything is stopped early.
func TestNothingButFailures(t *testing.T) {
	native := hostile(t, job.Native)
	for _, c := range []struct{ program, verb string }{
		{native, "error"},
		{native, "exit"},
		{"testdata/hostile.sh", "panic"},
	} {
		in, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
		for i := range 600 {
			place(t, in, fmt.Sprintf("%03d", i), c.verb+"\n")
		}
		args := []string{"run", c.program, "-i", in, "-o", out}
		if c.program != native {
			args = append(args, "--reducer", "sum")
		}
		code, stdout, stderr := ended(t, args...)
		if code != 2 || stdout != "" {
			t.Errorf("%s: got exit code %d, stdout %q", c.verb, code, stdout)
		}
		if strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "objects all failed; ") {
			t.Errorf("%s: got %q", c.verb, stderr)
		}
		nothing(t, out, nil)
	}
}
