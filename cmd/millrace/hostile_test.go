package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox/sandboxtest/asuser"
)

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
	mixed, alone = openDir(t), openDir(t)
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
		if !strings.Contains(bad[verb], "wall") && !strings.Contains(bad[verb], "CPU") {
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
	t.Parallel()
	common := map[string]string{
		"error": "a bad object", "exit": "exited 7", "loop": "CPU limit", "chatter": "CPU limit", "flood": "output limit", "memory": "memory limit",
	}
	sdk := maps.Clone(common)
	maps.Copy(sdk, map[string]string{"panic": "ouch", "vanish": "ended", "garbage": "protocol"})
	shared := maps.Clone(sdk)
	shared["loop"] = "wall clock limit" // as in TestAttacks where no instance is shared
	script := maps.Clone(common)
	maps.Copy(script, map[string]string{
		"panic": "crashed", "asleep": "wall clock limit", "stop": "wall clock limit", "garbage": "line 2 of output", "forks": "Cannot fork", "disk": "exited 9",
	})
	for _, c := range []struct {
		name    string
		uid     int
		engine  job.Engine        // of the program, "": a script
		reasons map[string]string // what the reason of each kind of object says
		flags   []string
	}{
		{"wasm", os.Geteuid(), job.Wasm, sdk, nil},
		{"wasm split", os.Geteuid(), job.Wasm, shared, []string{"--isolation", "split"}},
		{"wasm, ordinary user", asuser.Nobody, job.Wasm, sdk, nil},
		{"wasm split, ordinary user", asuser.Nobody, job.Wasm, shared, []string{"--isolation", "split"}},
		{"native", os.Geteuid(), job.Native, sdk, nil},
		{"native split", os.Geteuid(), job.Native, shared, []string{"--isolation", "split"}},
		{"script", os.Geteuid(), "", script, []string{"--reducer", "sum"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.uid != os.Geteuid() && os.Geteuid() != 0 {
				t.Skip("becoming another user takes root")
			}
			program := "testdata/hostile.sh"
			if c.engine != "" {
				program = hostile(t, c.engine)
			}
			m := misbehaving{uid: c.uid, args: []string{"run", program, "-r", "3", "--tolerate", "50%", "--slots", "1", "--limit-memory", "64MiB", "--limit-output", "1MiB"}}
			m.args = append(m.args, c.flags...)
			quick, slow := map[string]string{}, map[string]string{}
			for verb, reason := range c.reasons {
				if strings.Contains(reason, "wall") {
					slow[verb] = reason
				} else {
					quick[verb] = reason
				}
			}
			if retries := m.check(t, quick, "1m", "1s"); retries != 0 {
				t.Errorf("%d retries: a guest brought its runner down", retries)
			}
			if len(slow) == 0 {
				return
			}
			// On a busy machine the agent may be first to end what takes too long, with its runner.
			if retries := m.check(t, slow, "2s", "1m"); retries > int64(len(slow)) {
				t.Errorf("%d retries, %d objects over their time: a guest brought its runner down", retries, len(slow))
			}
		})
	}
}

// A misbehaving program is run by a user, with arguments beside input, output and limits of time.
type misbehaving struct {
	uid  int
	args []string
	want string // parts of a job of good objects alone; "": it has not run
}

// check runs the program on good objects and bad ones, whose reasons it checks, and returns how often attempts failed.
func (p *misbehaving) check(t *testing.T, bad map[string]string, wall, cpu string) (retries int64) {
	t.Helper()
	mixed, alone, good, failing := objects(t, bad)
	if p.want == "" {
		out := filepath.Join(openDir(t), "want")
		if calm := runAs(t, p.uid, append(p.args, "-i", alone, "-o", out)...); calm.code != 0 {
			t.Fatalf("good objects alone: %+v", calm)
		}
		_, p.want = published(t, out)
	}
	out := filepath.Join(openDir(t), "out")
	got := runAs(t, p.uid, append(p.args, "--limit-wall", wall, "--limit-cpu", cpu, "-i", mixed, "-o", out)...)
	if got.code != 3 {
		t.Fatalf("got %+v, want exit code 3", got)
	}
	m, parts := published(t, out)
	if parts != p.want || !strings.Contains(parts, fmt.Sprintf("seen\t%d\n", good)) {
		t.Errorf("got %q, want %q and %d seen", parts, p.want, good)
	}
	reasons := failures(t, out, &m)
	if n := m.Counters; n.Failed != int64(failing) || n.Objects != int64(good+failing) || len(reasons) != failing {
		t.Errorf("%d failed of %d, %d listed, want %d of %d", n.Failed, n.Objects, len(reasons), failing, good+failing)
	}
	for name, reason := range reasons {
		_, verb, _ := strings.Cut(name, "-")
		if want, ok := bad[verb]; !ok || !strings.Contains(reason, want) {
			t.Errorf("%s: %q, want %q", name, reason, want)
		}
	}
	first := slices.Sorted(maps.Keys(reasons))[0]
	objects := "objects"
	if failing == 1 {
		objects = "object"
	}
	for _, want := range []string{fmt.Sprintf("%d %s failed:\n", failing, objects), first + ": " + reasons[first], m.Failed[0].Key} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("stderr %q does not say %q", got.stderr, want)
		}
	}
	return m.Counters.Retries
}

// A builtin cannot be stopped from within: its runner is killed, and the rest of the split mapped by another one.
func TestBuiltinOverItsLimit(t *testing.T) {
	t.Parallel()
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
		"--limit-wall", "2s", "--tolerate", "50%")
	if code != 3 {
		t.Fatalf("got exit code %d, want 3\n%s", code, stderr)
	}
	m, parts := published(t, out)
	if n := strings.Count(parts, "abcdefghijklmnz"); n != 10 || m.Counters.Objects != 12 || m.Counters.Retries != 2 {
		t.Errorf("got %d lines, want 10: %q; %+v", n, parts, m.Counters)
	}
	want := map[string]string{"03-long": "guest wall clock limit: 2s", "07-long": "guest wall clock limit: 2s"}
	if got := failures(t, out, &m); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A program that fails on everything is stopped early.
func TestNothingButFailures(t *testing.T) {
	t.Parallel()
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
