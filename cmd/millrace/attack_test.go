package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox/sandboxtest"
	"github.com/millrace/millrace/sandbox/sandboxtest/asuser"
)

// Attacks of one of each kind, end to end, by root and by somebody else: the objects that make them are listed, each with its reason, all
// others are mapped, and nothing outside was reached.
func TestAttacks(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("becoming another user takes root")
	}
	attacks := map[string]string{ // what the reason of an object says; "": it is mapped
		"error": "a bad object", "loop": "wall clock limit", "flood": "output limit", "memory": "memory limit", "vanish": "ended", "garbage": "protocol",
		"negative": "protocol", "long": "protocol", "empties": "limit", "bytes": "", "tally": "", "tally again": "",
		"spy FILE CONFIG /etc/shadow tcp=127.0.0.1:PORT unix=SOCKET unix=NAME": "",
	}
	for _, c := range []struct {
		engine job.Engine
		uid    int
	}{{job.Wasm, 0}, {job.Wasm, asuser.Nobody}, {job.Native, 0}} {
		t.Run(fmt.Sprintf("%s as %d", c.engine, c.uid), func(t *testing.T) {
			t.Parallel()
			outside := sandboxtest.NewOutside(t)
			dir := openDir(t)
			program := filepath.Join(dir, "hostile")
			text, err := os.ReadFile(hostile(t, c.engine))
			if err == nil {
				err = os.WriteFile(program, text, 0o755)
			}
			if err != nil {
				t.Fatal(err)
			}
			good, mixed := filepath.Join(dir, "good"), filepath.Join(dir, "mixed")
			if err := errors.Join(os.Mkdir(good, 0o755), os.Mkdir(mixed, 0o755)); err != nil {
				t.Fatal(err)
			}
			failing, n := 0, 0
			for words, reason := range attacks {
				verb, _, _ := strings.Cut(words, " ")
				place(t, mixed, fmt.Sprintf("%02d-%s", n, verb), outside.Words(words)+"\n")
				if reason != "" {
					failing++
				}
				for range 2 { // the next objects of the slot
					n++
					for _, d := range []string{good, mixed} {
						place(t, d, fmt.Sprintf("%02d-good", n), "good words\n")
					}
				}
				n++
			}
			args := func(in, out string) []string {
				return []string{"run", program, "-r", "2", "--tolerate", "all", "--slots", "1", "-i", filepath.Join(dir, in), "-o", filepath.Join(dir, out),
					"--limit-wall", "3s", "--limit-memory", "64MiB", "--limit-output", "1MiB"}
			}
			calm := runAs(t, c.uid, args("good", "calm")...)
			if calm.code != 0 {
				t.Fatalf("good objects alone: %+v", calm)
			}
			checkRestored(t, filepath.Join(dir, "calm"), c.engine)
			outside.Begin()
			got := runAs(t, c.uid, args("mixed", "out")...)
			if got.code != 3 {
				t.Fatalf("%+v", got)
			}
			outside.Check(t)
			if grown := got.memory - calm.memory; grown > 64<<20 || got.memory == 0 {
				t.Errorf("the agent has %d MiB, %d more than in peace", got.memory>>20, grown>>20)
			}
			m, parts := published(t, filepath.Join(dir, "out"))
			for _, worked := range []string{"READ", "WROTE", "REACHED", "VARIABLE"} {
				if strings.Contains(parts, worked) {
					t.Errorf("an attack worked: %q", parts)
				}
			}
			for _, want := range []string{"a\x00b\xff\xfe\t1\n", "\nfirst\t2\n", fmt.Sprintf("\nseen\t%d\n", n-failing)} {
				if !strings.Contains(parts, want) {
					t.Errorf("%q is missing in %q", want, parts)
				}
			}
			reasons := failures(t, filepath.Join(dir, "out"), &m)
			if len(reasons) != failing {
				t.Errorf("%d objects failed, want %d: %v", len(reasons), failing, reasons)
			}
			for words, want := range attacks {
				verb, _, _ := strings.Cut(words, " ")
				for name, reason := range reasons {
					if strings.HasSuffix(name, "-"+verb) && (want == "" || !strings.Contains(reason, want)) {
						t.Errorf("%s: %q, want %q", name, reason, want)
					}
				}
			}
		})
	}
}

// Programs that are too large, or need what an ordinary user has not, are refused at once, and cost the command no memory.
func TestRefusedPrograms(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("becoming another user takes root")
	}
	dir := openDir(t)
	in := filepath.Join(dir, "in")
	if err := os.Mkdir(in, 0o755); err != nil {
		t.Fatal(err)
	}
	place(t, in, "a", "a\n")
	module, native := filepath.Join(dir, "large.wasm"), filepath.Join(dir, "true")
	text, err := os.ReadFile("/bin/true")
	if err == nil {
		err = errors.Join(os.WriteFile(module, emptyModule, 0o644), os.Truncate(module, 1<<30), os.WriteFile(native, text, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		program string
		uid     int
		want    string
	}{
		{module, 0, "over the limit"},
		{module, asuser.Nobody, "over the limit"},
		{native, asuser.Nobody, "sandbox layer uid missing"},
	} {
		out := filepath.Join(openDir(t), "out")
		got := runAs(t, c.uid, "run", c.program, "-i", in, "-o", out)
		if got.code != 2 || !strings.Contains(got.stderr, c.want) {
			t.Errorf("%s as %d: %+v; want %q", filepath.Base(c.program), c.uid, got, c.want)
		}
		if got.took > 10*time.Second || got.memory > 128<<20 {
			t.Errorf("%s as %d: %v, %d MiB", filepath.Base(c.program), c.uid, got.took, got.memory>>20)
		}
		nothing(t, out, nil)
	}
}

// An ordinary user has no native programs, and is told why; what wasm needs is there.
func TestDoctorSandboxOrdinary(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("becoming another user takes root; the script doctor is this test already")
	}
	got := runAs(t, asuser.Nobody, "doctor", "--sandbox")
	if got.code != 0 || got.stderr != "" {
		t.Errorf("%+v", got)
	}
	for _, want := range []string{"ok    userns ", "ok    seccomp ", "ok    landlock ", "no    cgroup ", "no    uid        uid: only root can", "ok    wasm ", "no    native     uid: only root can"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("%q is missing in\n%s", want, got.stdout)
		}
	}
	if !strings.Contains(got.stdout, "signal a process") || strings.Contains(got.stdout, "FAIL") {
		t.Errorf("%s", got.stdout)
	}
}

// An object may emit as many records as its job says, and not one more, by root and by an ordinary user.
func TestRecords(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("becoming another user takes root")
	}
	dir := openDir(t)
	program, in, spec := filepath.Join(dir, "hostile"), filepath.Join(dir, "in"), filepath.Join(dir, "job.yaml")
	text, err := os.ReadFile(hostile(t, job.Wasm))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(program, text, 0o755), os.Mkdir(in, 0o755),
		os.WriteFile(spec, fmt.Appendf(nil, "program: %q\nreducers: 1\nlimits: {records: 5}\ntolerate: all\n", program), 0o644)); err != nil {
		t.Fatal(err)
	}
	place(t, in, "a", "just as many\n") // and one for the object itself
	place(t, in, "b", "one more than just many\n")
	place(t, in, "c", "flood\n")
	place(t, in, "d", "empties\n")
	place(t, in, "e", "just again\n")
	for _, uid := range []int{0, asuser.Nobody} {
		out := filepath.Join(openDir(t), "out")
		got := runAs(t, uid, "run", spec, "-i", in, "-o", out, "--slots", "1")
		if got.code != 3 {
			t.Fatalf("as %d: %+v", uid, got)
		}
		m, parts := published(t, out)
		if !strings.HasSuffix(parts, "again\t1\nas\t1\njust\t2\nmany\t1\nseen\t2\n") {
			t.Errorf("as %d: got %q", uid, parts)
		}
		reasons := failures(t, out, &m)
		for _, name := range []string{"b", "c", "d"} {
			if !strings.HasSuffix(reasons[name], "records limit: 6 of 5") {
				t.Errorf("as %d: %s: %q", uid, name, reasons[name])
			}
		}
		if len(reasons) != 3 {
			t.Errorf("as %d: %v", uid, reasons)
		}
	}
}
