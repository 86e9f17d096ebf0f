package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox/sandboxtest"
)

// built returns the path of the command, built as users build it.
func built(t *testing.T) string {
	t.Helper()
	return build(t, ".", job.Native)
}

// hostile returns the path of the misbehaving program, built for an engine.
func hostile(t *testing.T, engine job.Engine) string {
	t.Helper()
	return build(t, "./testdata/hostile", engine)
}

// example returns the path of a program in examples, built for an engine.
func example(t *testing.T, name string, engine job.Engine) string {
	t.Helper()
	return build(t, "../../examples/"+name, engine)
}

// build returns the path of a package, built once for all tests, as the command builds those of its users. It skips under the race detector: the work would
// be done by processes that do not have it, a second time.
func build(t *testing.T, pkg string, engine job.Engine) string {
	t.Helper()
	if sandboxtest.Raced {
		t.Skip("the processes that do the work are built without the race detector; they are tested without it")
	}
	once, _ := buildOnce.LoadOrStore(pkg+" "+string(engine), sync.OnceValues(func() (string, error) {
		path := filepath.Join(builds, string(engine), filepath.Base(pkg))
		if pkg == "." {
			path = filepath.Join(builds, "bin", "millrace")
		}
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s", "-o", path, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if engine == job.Wasm {
			cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
		}
		var text strings.Builder
		cmd.Stdout, cmd.Stderr = &text, &text
		if err := cmd.Run(); err != nil {
			return text.String(), err
		}
		return path, nil
	}))
	path, err := once.(func() (string, error))()
	if err != nil {
		t.Fatalf("%v\n%s", err, path)
	}
	return path
}

var buildOnce sync.Map
