package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace/millrace/job"
)

// numbered writes n objects "00", "01", …
func numbered(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i := range n {
		place(t, dir, fmt.Sprintf("%02d", i), fmt.Sprintf("object %02d of few\n", i))
	}
	return dir
}

// script writes a shell script.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script.sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// A program that does the same each time passes the check, and the manifest says how many objects were in it; no program
// of WebAssembly can do otherwise.
func TestCheckPasses(t *testing.T) {
	t.Parallel()
	in := numbered(t, 20)
	for _, c := range []struct {
		name string
		args []string
	}{
		{"builtin", []string{"builtin:words", "-r", "2"}},
		{"wasm", []string{build(t, "./testdata/chance", job.Wasm)}},
		{"command", []string{script(t, `tr ' ' '\n'`), "--reducer", "count"}},
		{"map-only", []string{script(t, `tr ' ' '\n'`)}},
		{"native", []string{"../../examples/wordcount", "--engine", "native"}},
		{"shared native", []string{"../../examples/wordcount", "--engine", "native", "--isolation", "split"}},
		{"shared wasm", []string{"../../examples/wordcount", "--isolation", "split"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			code, _, stderr := ended(t, append([]string{"run", "-i", in, "-o", out, "--deterministic=check"}, c.args...)...)
			if code != 0 || !strings.Contains(stderr, "16 objects mapped again to check the program: no difference\n") {
				t.Fatalf("exit code %d\n%s", code, stderr)
			}
			if m, _ := published(t, out); m.Counters.Checked != 16 || m.Counters.Unchecked != 0 || m.Counters.Objects != 20 {
				t.Errorf("got %+v", m.Counters)
			}
		})
	}
}

// Objects of which a native program says something else each time are found, and nothing is published.
func TestCheckFinds(t *testing.T) {
	t.Parallel()
	const ok = "read -r all\n"
	const one = "1 of 12 objects came out otherwise when they were mapped again: file://.*/07"
	for _, c := range []struct{ name, script, want string }{
		{"text", `case $all in *07*) head -c 6 /dev/urandom | od -An -tx1 ;; *) echo "$all" ;; esac`, one + `: 19 bytes of output, then as many others, in another process`},
		{"failure", `exit $(( $(od -An -N1 -tu1 /dev/urandom) % 250 + 1 ))`, `\d+ of 12 objects .*/\d\d: exited \d+, then \d+, in another process.*`},
		{"records", `case $all in *07*) date +%N ;; *) echo "$all" ;; esac`, one + `: 1 records, then as many others or in another order, in another process`},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, out := numbered(t, 12), filepath.Join(t.TempDir(), "out")
			args := []string{"run", script(t, ok+c.script), "-i", in, "-o", out, "--deterministic=check", "--tolerate=all"}
			if c.name == "records" {
				args = append(args, "--reducer", "count")
			}
			code, stdout, stderr := ended(t, args...)
			want := regexp.MustCompile(`^millrace: the program is not deterministic: ` + c.want + "\n$")
			if code != 2 || stdout != "" || !want.MatchString(stderr) {
				t.Errorf("exit code %d, stdout %q, stderr %q, want %s", code, stdout, stderr, want)
			}
			nothing(t, out, nil)
		})
	}
}

// An object that reaches its time limit says nothing of the program.
func TestCheckOfSlowObjects(t *testing.T) {
	t.Parallel()
	in, out := numbered(t, 5), filepath.Join(t.TempDir(), "out")
	code, _, stderr := ended(t, "run", script(t, `read -r all; case $all in *03*) sleep 60 ;; esac`), "-i", in, "-o", out,
		"--deterministic=check", "--tolerate=all", "--limit-wall=2s")
	m, _ := published(t, out)
	if code != 3 || m.Counters.Checked != 4 || m.Counters.Unchecked != 1 || !strings.Contains(stderr, "1 object not compared") {
		t.Errorf("exit code %d, %+v\n%s", code, m.Counters, stderr)
	}
}

// What a guest of WebAssembly learns of its surroundings depends on the program, the parameters and the object, and on nothing else.
func TestSameChance(t *testing.T) {
	t.Parallel()
	in, program := numbered(t, 6), build(t, "./testdata/chance", job.Wasm)
	run := func(args ...string) string {
		return millrace(t, append([]string{"run", program, "--progress=none", "-i"}, args...)...)
	}
	want := run(in, "--slots=1")
	lots := regexp.MustCompile(`[0-9a-f]{16} at 946684800000000000`)
	if n := len(lots.FindAllString(want, -1)); n != 6+12 {
		t.Fatalf("%d lots in %s", n, want)
	}
	if got := run(in, "--slots=2"); got != want {
		t.Errorf("got\n%s\nfirst\n%s", got, want)
	}
	other := run(in, "--slots=1", "-p", "x=1")
	if got := run(in, "--slots=1", "-p", "x=2"); got == other {
		t.Error("two values of a parameter, the same chance")
	}
	seen := make(map[string]bool)
	for _, text := range []string{want, other} {
		for _, lot := range lots.FindAllString(text, -1) {
			seen[lot] = true
		}
	}
	// Each object has a lot of its own, and so has each of the 12 keys of the reducer; with other parameters they are others.
	if len(seen) != 2*(6+12) {
		t.Errorf("%d lots, want %d:\n%s%s", len(seen), 2*(6+12), want, other)
	}
	if len(run(in, "--slots=1", "-r", "3")) != len(want) {
		t.Errorf("three partitions: other lengths")
	}
}
