package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A testProgram is a program in testdata as WebAssembly, made once for all tests.
type testProgram struct {
	build    sync.Once
	code     []byte
	compile  sync.Once
	compiled *os.File
	err      error
}

var testPrograms sync.Map // by name

// programOf returns the program of a directory in testdata: in C if its name ends so, else in Go. Under the race detector those in Go are skipped.
func programOf(t testing.TB, name string) *testProgram {
	t.Helper()
	inC := strings.HasSuffix(name, "-c")
	if inC {
		if _, err := exec.LookPath("clang"); err != nil {
			t.Skip("no clang here")
		}
	} else if raced {
		t.Skip("the engine compiles large programs, which takes it minutes with the race detector")
	}
	loaded, _ := testPrograms.LoadOrStore(name, &testProgram{})
	p := loaded.(*testProgram)
	p.build.Do(func() {
		out := filepath.Join(t.TempDir(), name+".wasm")
		cmd := goBuild(out, name, "GOOS=wasip1", "GOARCH=wasm")
		if inC {
			cmd = exec.Command("clang", "--target=wasm32-wasi", "-O2", "-Wall", "-Werror", "-nodefaultlibs", "-Wl,--strip-all", "-o", out, "testdata/"+name+"/main.c", "-lc")
		}
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("compile %s: %v\n%s", name, err, text)
		}
		p.code, p.err = os.ReadFile(out)
	})
	if p.err != nil || p.code == nil {
		t.Fatalf("compile %s: %v", name, p.err)
	}
	return p
}

// goBuild returns the command that compiles a program in testdata to out.
func goBuild(out, program string, env ...string) *exec.Cmd {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./testdata/"+program)
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// open opens the program, for as long as the test goes on.
func (p *testProgram) open(t testing.TB) *wasmGuest {
	t.Helper()
	p.compile.Do(func() {
		var compiled []byte
		if compiled, p.err = CompileWasm(t.Context(), p.code); p.err == nil {
			p.compiled, p.err = memoryFile("compiled", compiled)
		}
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	g, err := OpenCompiled(t.Context(), p.compiled, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g.(*wasmGuest)
}
