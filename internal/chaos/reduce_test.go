package chaos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/file"
)

// A reducer that brings its process down, or passes a limit, fails its job, which names the task and the cause. Nothing is visible.
func TestReducerMisbehaves(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has a jail for native programs")
	}
	program := newWorkshop(t).program(t, "misbehave", job.Native)
	in, out := t.TempDir(), t.TempDir()
	for what, want := range map[string]string{
		"":       "",
		"exit":   "guest exited 3",
		"loop":   "wall clock limit",
		"memory": "memory limit",
	} {
		if err := os.WriteFile(filepath.Join(in, "a"), []byte("k\t"+what+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err := local.Run(t.Context(), &job.Spec{
			Inputs: []string{"file://" + in}, Output: "file://" + out, Overwrite: true, Program: program, Slots: 1,
			Limits: job.Limits{Wall: 500 * time.Millisecond, Memory: 64 << 20},
		}, &local.Options{Schemes: store.Schemes{"file": file.Open}})
		t.Logf("%q ended after %v: %v", what, time.Since(began).Round(time.Millisecond), err)
		if want == "" {
			if err != nil {
				t.Errorf("a reducer that behaves: %v", err)
			}
			err = os.RemoveAll(out)
			if err == nil {
				err = os.Mkdir(out, 0o700)
			}
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "reduce r-00000.") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want the task and %q", what, err, want)
		}
		if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
			t.Errorf("%s: %v lie there, %v", what, left, err)
		}
	}
}
