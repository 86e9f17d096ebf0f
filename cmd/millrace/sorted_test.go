package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/job"
)

// Values come sorted by their second key, and keys go to the partitions that the program says, as WebAssembly and native, whether objects share an
// instance or not.
func TestSortedAndPartitioned(t *testing.T) {
	in := t.TempDir()
	for i := range 10 {
		place(t, in, fmt.Sprint(i), fmt.Sprintf("%d ann p%d\n%d abe q%d\n%d bob r\n", 7*i%10-5, i, i, i, -i))
	}
	var ann, abe, bob []string
	for day := range 10 {
		ann = append(ann, fmt.Sprintf("%d p%d", day-5, 3*day%10)) // 7 * 3 = 1 modulo 10
		abe = append(abe, fmt.Sprintf("%d q%d", day, day))
		bob = append(bob, fmt.Sprintf("%d r", day-9))
	}
	want := fmt.Sprintf("part-r-00000\nbob\t%s\npart-r-00001\nabe\t%s\nann\t%s\n", strings.Join(bob, ", "), strings.Join(abe, ", "), strings.Join(ann, ", "))
	for _, engine := range []job.Engine{job.Wasm, job.Native} {
		if engine == job.Native && os.Geteuid() != 0 {
			t.Log("native programs need root: not tried")
			continue
		}
		program := filepath.Join(t.TempDir(), "visits")
		cmd := exec.Command("go", "build", "-o", program, "./testdata/visits")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if engine == job.Wasm {
			cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, isolation := range []job.Isolation{job.IsolateObject, job.IsolateSplit} {
			out := filepath.Join(t.TempDir(), "out")
			code, _, stderr := ended(t, "run", program, "-i", in, "-o", out, "-r", "2", "--isolation", string(isolation))
			if code != 0 {
				t.Fatalf("%s, %s: exit code %d\n%s", engine, isolation, code, stderr)
			}
			if _, parts := published(t, out); parts != want {
				t.Errorf("%s, %s: got %q, want %q", engine, isolation, parts, want)
			}
		}
	}
}
