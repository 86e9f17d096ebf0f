package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// programs are what is measured, built from this checkout.
type programs struct {
	millrace, sdkloop, plainwords string
}

var build = sync.OnceValues(func() (*programs, error) {
	base, err := dataDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(base, "bin")
	p := &programs{millrace: filepath.Join(dir, "millrace"), sdkloop: filepath.Join(dir, "sdkloop"), plainwords: filepath.Join(dir, "plainwords")}
	for _, args := range [][]string{
		{"build", "-trimpath", "-ldflags=-s -w", "-o", p.millrace, "../cmd/millrace"},
		{"build", "-trimpath", "-o", p.sdkloop, "./sdkloop"},
		{"build", "-trimpath", "-o", p.plainwords, "./plainwords"},
	} {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
		}
	}
	return p, nil
})

func built(tb testing.TB) *programs {
	tb.Helper()
	p, err := build()
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// command returns a function that makes the command anew, to be run in dir with env beside the usual.
func command(dir string, env []string, name string, args ...string) func() *exec.Cmd {
	return func() *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), env...)
		return cmd
	}
}

// need skips a benchmark for want of a program.
func need(tb testing.TB, name string) {
	tb.Helper()
	if _, err := exec.LookPath(name); err != nil {
		tb.Skipf("%s is not installed", name)
	}
}
