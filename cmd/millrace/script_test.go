package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/millrace/millrace/internal/gatewaytest"
	"github.com/millrace/millrace/internal/swifttest"
)

// TestScripts runs the scripts in testdata against the command, built as users build it.
func TestScripts(t *testing.T) {
	t.Parallel()
	bin := filepath.Dir(built(t))
	var s3 []string
	if !testing.Short() {
		s3 = gatewaytest.Start(t, "mail", "results").Env()
	}
	swift, noSwift := startSwift(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("GOCACHE", os.Getenv("GOCACHE"))
			e.Setenv("XDG_CACHE_HOME", os.Getenv("XDG_CACHE_HOME"))
			e.Setenv("GOFLAGS", "-mod=mod")
			e.Vars = append(append(e.Vars, s3...), swift...)
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "swift":
				if noSwift != nil {
					t.Logf("no Swift: %v", noSwift)
				}
				return noSwift == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "refused": refused, "nofiles": nofiles},
	})
}

// startSwift starts a Swift with the containers mail and results, and returns its environment, or why this machine or a short test has none.
func startSwift(t *testing.T) (env []string, missing error) {
	t.Helper()
	if testing.Short() {
		return nil, errors.New("short mode")
	}
	dir := t.TempDir()
	if err := swifttest.Missing(dir); err != nil {
		return nil, err
	}
	c := swifttest.Run(t, nil)
	for _, name := range []string{"mail", "results"} {
		if err := c.MakeContainer(t.Context(), name, ""); err != nil {
			t.Fatal(err)
		}
	}
	return append(c.Env(), "SWIFT_RINGS="+filepath.Join(c.Dir, "etc"), "SWIFT_DEVICES="+c.Devices(0), "SWIFT_NODE="+c.Nodes[0]), nil
}

// exits runs a program that must end with an exit code: exits CODE PROGRAM ARGS…
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		ee, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = ee.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// refused runs a command of millrace that must end with exit code 2, one line on stderr and nothing on stdout:
// refused TEXT ARGS…, TEXT being a part of the line. Jobs show no progress, which they else do when they take long.
func refused(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: refused TEXT ARGS…")
	}
	command := append([]string{"2", "millrace"}, args[1:]...)
	if c := args[1]; (c == "run" || c == "grep") && !slices.Contains(args, "--progress") {
		command = slices.Insert(command, 3, "--progress", "none")
	}
	exits(ts, false, command)
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("printed %q", out)
	}
	line := ts.ReadFile("stderr")
	if err := oneLine(line, args[0]); err != nil {
		ts.Fatalf("%v", err)
	}
}

// nofiles checks that there is no file below a directory, which need not exist: nofiles DIR.
func nofiles(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: nofiles DIR")
	}
	err := filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = fmt.Errorf("%s is there", path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		ts.Fatalf("%v", err)
	}
}

// oneLine checks an error message.
func oneLine(line, part string) error {
	switch {
	case !strings.HasPrefix(line, "millrace: "):
		return fmt.Errorf("got %q, want it to start with millrace:", line)
	case strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n"):
		return fmt.Errorf("got %q, want one line", line)
	case !strings.Contains(line, part):
		return fmt.Errorf("got %q, want %q in it", line, part)
	}
	return nil
}
