package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
		place(t, dir, "job.yaml", fmt.Sprintf("inputs: [%s]\nprogram: {path: ./hotkey}\nlimits: {memory: %d, shuffle: %d}\n", in, memory, held))
		began := time.Now()
		code, stdout, stderr := ended(t, "run", "--progress", "json", filepath.Join(dir, "job.yaml"))
		took := time.Since(began)
		if want := fmt.Sprintf("hot\t%d\n", *hotValues); code != 0 || stdout != want {
			t.Fatalf("%s: exit code %d, got %q, want %q\n%s", engine, code, stdout, want, stderr)
		}
		var peak int64
		var cpu time.Duration
		for line := range strings.Lines(stderr) {
			var r struct{ Committed *job.AttemptReport }
			if json.Unmarshal([]byte(line), &r) == nil && r.Committed != nil {
				peak = max(peak, r.Committed.Counters.PeakMemory)
				cpu += r.Committed.Counters.CPU
			}
		}
		t.Logf("%s: %d values in %v, %v of CPU, %d MB of memory in the largest runner", engine, *hotValues, took.Round(time.Millisecond), cpu.Round(time.Millisecond), peak/1e6)
		if peak == 0 {
			t.Errorf("%s: no attempt reports its memory", engine)
		}
		if peak > 160e6 { // runner and engine take some 100 MB
			t.Errorf("%s: a runner took %d MB of memory", engine, peak/1e6)
		}
	}
}
