package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace/millrace/job"
)

// hotValues is how many values the key of TestHotKey has.
var hotValues = flag.Int("hot", 1_000_000, "values of the key in TestHotKey")

// A key may have any number of values: they are sorted on disk and come to the program one after another, in a guest that could not hold them and in a
// runner that does not.
func TestHotKey(t *testing.T) {
	const each = 100_000 // values of an object
	if testing.Short() {
		*hotValues = min(*hotValues, each)
	}
	in := t.TempDir()
	for v := 0; v < *hotValues; v += each {
		place(t, in, fmt.Sprint(v), fmt.Sprint(v, min(each, *hotValues-v)))
	}
	const memory, held = 24 << 20, 4 << 20 // of the guest, and for sorting; the values are 32 MB, unless the test is to be short
	for _, engine := range []job.Engine{job.Wasm, job.Native} {
		if engine == job.Native && os.Geteuid() != 0 {
			t.Log("native programs need root: not tried")
			continue
		}
		dir := t.TempDir()
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "hotkey"), "./testdata/hotkey")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if engine == job.Wasm {
			cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		out := filepath.Join(dir, "out")
		place(t, dir, "job.yaml", fmt.Sprintf("inputs: [%s]\noutput: %s\nprogram: {path: ./hotkey}\nlimits: {memory: %d, shuffle: %d}\n", in, out, memory, held))
		began := time.Now()
		code, _, stderr := ended(t, "run", filepath.Join(dir, "job.yaml"))
		took := time.Since(began)
		if code != 0 {
			t.Fatalf("%s: exit code %d\n%s", engine, code, stderr)
		}
		m, parts := published(t, out)
		if want := fmt.Sprintf("part-r-00000\nhot\t%d\n", *hotValues); parts != want {
			t.Errorf("%s: got %q, want %q", engine, parts, want)
		}
		peak := m.Counters.PeakMemory
		t.Logf("%s: %d values in %v, %v of CPU, %d MB of memory in the largest runner", engine, *hotValues, took.Round(time.Millisecond), m.Counters.CPU.Round(time.Millisecond), peak/1e6)
		if peak > 160e6 { // runner and engine take some 100 MB
			t.Errorf("%s: a runner took %d MB of memory", engine, peak/1e6)
		}
	}
}
