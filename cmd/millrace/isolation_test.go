package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/mailgen"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
)

// A program that keeps no state has the same output whether objects share an instance or not.
func TestIsolationSameOutput(t *testing.T) {
	t.Parallel()
	in := t.TempDir()
	if _, err := mailgen.New(5, nil).Write(in, 150); err != nil {
		t.Fatal(err)
	}
	place(t, in, "large", strings.Repeat("From: a@b.example\n", 150_000)) // comes in pieces
	for _, name := range []string{"wordcount", "senders"} {
		for _, engine := range []job.Engine{job.Wasm, job.Native} {
			program := example(t, name, engine)
			var want string
			for _, isolation := range []job.Isolation{job.IsolateObject, job.IsolateSplit} {
				out := filepath.Join(t.TempDir(), "out")
				code, _, stderr := ended(t, "run", program, "-i", in, "-o", out, "-r", "2", "--isolation", string(isolation), "--tolerate", "0")
				if code != 0 {
					t.Fatalf("%s, %s, %s: exit code %d\n%s", name, engine, isolation, code, stderr)
				}
				m, parts := published(t, out)
				if want == "" {
					want = parts
				}
				if parts != want || m.Counters.Objects != 151 {
					t.Errorf("%s, %s: %d bytes of output in isolation %s, %d in the other", name, engine, len(parts), isolation, len(want))
				}
			}
		}
	}
}

// A native guest begins with its streams, and one of a split with the memory in which its objects lie. It has no other descriptor.
func TestIsolationDescriptors(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("native programs need root")
	}
	in, program := t.TempDir(), hostile(t, job.Native)
	for i := range 3 {
		place(t, in, fmt.Sprint(i), "descriptors\n")
	}
	streams := "INHERITED 0 pipe 0\t3\nINHERITED 1 pipe 0\t3\nINHERITED 2 pipe 0\t3\n"
	memory := fmt.Sprintf("INHERITED 3 file %d\t3\n", runner.SlabSize)
	open := "OPEN 0 pipe 0\t3\nOPEN 1 pipe 0\t3\nOPEN 2 pipe 0\t3\n" // the SDK maps the memory, and closes it
	words := "descriptors\t3\nseen\t3\n"
	for isolation, want := range map[job.Isolation]string{
		job.IsolateObject: streams + open + words,
		job.IsolateSplit:  streams + memory + open + words,
	} {
		code, stdout, stderr := ended(t, "run", program, "-i", in, "--isolation", string(isolation), "--tolerate", "0")
		if code != 0 || stdout != want {
			t.Errorf("%s: exit code %d, got %q, want %q\n%s", isolation, code, stdout, want, stderr)
		}
	}
}

// Instances are shared when the user says so, and else not.
func TestIsolationShares(t *testing.T) {
	t.Parallel()
	in := t.TempDir()
	for i := range 20 {
		place(t, in, fmt.Sprintf("%02d", i), "tally words\n")
	}
	spec := filepath.Join(t.TempDir(), "job.yaml")
	for _, engine := range []job.Engine{job.Wasm, job.Native} {
		program := hostile(t, engine)
		text := fmt.Sprintf("inputs: [%q]\nprogram: %q\nisolation: split\n", in, program)
		if err := os.WriteFile(spec, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			want string
			args []string
		}{
			{"first\t20\n", []string{"run", program, "-i", in}},
			{"first\t1\n", []string{"run", program, "-i", in, "--isolation", "split"}},
			{"first\t1\n", []string{"run", spec}},
		} {
			code, stdout, stderr := ended(t, c.args...)
			if code != 0 || !strings.Contains(stdout, c.want) || !strings.Contains(stdout, "seen\t20\n") {
				t.Errorf("%s, %v: exit code %d, got %q, want %q\n%s", engine, c.args[1:], code, stdout, c.want, stderr)
			}
		}
	}
}

// A program that answers for objects that it was not given fails its job, and a program without the SDK has no instances to share.
func TestIsolationRefusals(t *testing.T) {
	t.Parallel()
	in := t.TempDir()
	for i := range 10 {
		verb := "good"
		if i == 4 {
			verb = "many"
		}
		place(t, in, fmt.Sprint(i), verb+" words\n")
	}
	for _, c := range []struct{ program, want string }{
		{hostile(t, job.Native), "guest answered for an object that it was not given"},
		{hostile(t, job.Wasm), "guest answered for an object that it was not given"},
		{"testdata/hostile.sh", "only a program of the Go SDK knows where an object ends"},
		{"builtin:words", "builtin programs have no instances to share"},
	} {
		out := filepath.Join(t.TempDir(), "out")
		code, _, stderr := ended(t, "run", c.program, "-i", in, "-o", out, "--isolation", "split", "--tolerate", "all")
		if code != 2 || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d, got %q, want %q", c.program, code, stderr, c.want)
		}
		nothing(t, out, nil)
	}
}

// What passes the limit of a channel fails its object alone, with the limit and the figure.
func TestChannelLimits(t *testing.T) {
	t.Parallel()
	in := t.TempDir()
	place(t, in, "large", "good "+strings.Repeat("words ", 2000)+"\n")
	place(t, in, "small", "good words\n")
	for _, c := range []struct {
		limits, isolation string
		want              string
	}{
		{"read_bytes: 4KiB", "object", "guest stdin limit: more than 4 KiB"},
		{"read_bytes: 4KiB", "split", "guest stdin limit: 11 KiB of 4 KiB"},
		{"output: 4KiB", "object", "output limit: "},
		{"output: 4KiB", "split", "output limit: "},
		{"records: 100", "object", "records limit: 101 of 100"},
		{"records: 100", "split", "records limit: 101 of 100"},
	} {
		for _, engine := range []job.Engine{job.Wasm, job.Native} {
			spec := filepath.Join(t.TempDir(), "job.yaml")
			out := filepath.Join(t.TempDir(), "out")
			text := fmt.Sprintf("inputs: [%q]\noutput: %q\nprogram: %q\ntolerate: all\nisolation: %s\nlimits: {%s}\n",
				in, out, hostile(t, engine), c.isolation, c.limits)
			if err := os.WriteFile(spec, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			code, _, stderr := ended(t, "run", spec)
			if code != 3 {
				t.Fatalf("%s, %+v: exit code %d\n%s", engine, c, code, stderr)
			}
			m, _ := published(t, out)
			got := failures(t, out, &m)
			if len(got) != 1 || !strings.Contains(got["large"], c.want) || m.Counters.Output != 3 {
				t.Errorf("%s, %s in isolation %s: got %v and %d records, want %q and 3", engine, c.limits, c.isolation, got, m.Counters.Output, c.want)
			}
		}
	}
}
