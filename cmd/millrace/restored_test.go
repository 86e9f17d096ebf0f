package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox/sandboxtest/asuser"
)

// checkRestored checks how often a job on one slot had its program restored: a WebAssembly program for all objects but the first ones, since
// a snapshot that cannot be taken in a jail would cost users a hundred times the time and nothing else.
func checkRestored(t *testing.T, out string, engine job.Engine) {
	t.Helper()
	m, _ := published(t, out)
	n, objects := m.Counters.Restored, m.Counters.Objects
	if engine == job.Wasm && (n < objects-2 || n > objects || objects < 10) || engine == job.Native && n != 0 {
		t.Errorf("the %s program was restored for %d of %d objects", engine, n, objects)
	}
}

// A program that knows nothing of us is restored as well, in the jails of root and of an ordinary user. TestAttacks sees to those of the Go SDK.
func TestRestored(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("becoming another user takes root")
	}
	if _, err := exec.LookPath("clang"); err != nil {
		t.Skip("no clang here")
	}
	dir := openDir(t)
	program, in := filepath.Join(dir, "invoices.wasm"), filepath.Join(dir, "in")
	cmd := exec.Command("clang", "--target=wasm32-wasi", "-O2", "-nodefaultlibs", "-o", program, "../../sandbox/testdata/mail-c/main.c", "-lc")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if err := os.Mkdir(in, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		place(t, in, fmt.Sprintf("%02d", i), fmt.Sprintf("this is about\ninvoice %d\n", i))
	}
	for _, uid := range []int{0, asuser.Nobody} {
		for _, args := range [][]string{{"-r", "1", "--reducer", "count"}, {"-r", "0"}} {
			out := filepath.Join(openDir(t), "out")
			args = append([]string{"run", program, "-i", in, "-o", out, "--slots", "1"}, args...)
			if got := runAs(t, uid, args...); got.code != 0 {
				t.Fatalf("as %d: %+v", uid, got)
			}
			checkRestored(t, out, job.Wasm)
		}
	}
}
