package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/sandboxtest/asuser"
)

func TestMain(m *testing.M) { Main(m) }

// probes are compiled once, with the module's machine code.
var probes = map[Engine]func(testing.TB) []byte{Compiled: once(Compiled), Native: once(Native)}

func once(e Engine) func(testing.TB) []byte {
	var mu sync.Mutex
	var code []byte
	return func(t testing.TB) []byte {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if code != nil {
			return code
		}
		var err error
		if name := os.Getenv(probeEnv); e == Compiled && name != "" {
			code, err = os.ReadFile(name)
		} else if e == Compiled {
			code, err = sandbox.CompileWasm(t.Context(), Probe(t, Wasm))
		} else {
			code = Probe(t, e)
		}
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
}

func open(t testing.TB, e Engine, cfg *sandbox.Config) *Jail {
	t.Helper()
	if e == Native && os.Geteuid() != 0 {
		t.Skip("native guests need root here")
	}
	if e == Wasm {
		e = Compiled
		if Raced {
			t.Skip("the engine compiles large programs, which takes it minutes with the race detector")
		}
	}
	j, err := Open(t, e, probes[e](t), cfg)
	if errors.Is(err, sandbox.ErrLayer) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestWasm(t *testing.T)   { TestGuest(t, open(t, Wasm, nil)) }
func TestNative(t *testing.T) { TestGuest(t, open(t, Native, nil)) }

// alive checks that a guest works after an attack.
func alive(t *testing.T, g sandbox.Guest) {
	t.Helper()
	var out bytes.Buffer
	_, err := g.Run(context.Background(), &sandbox.Run{Args: []string{"state"}, Streams: sandbox.Streams{Stdout: &out}})
	if err != nil || out.String() != "1 false\n" {
		t.Errorf("next run: %q, %v", out.String(), err)
	}
}

// probeEnv names a file that holds the probe as a compiled module, for those who have no compiler.
const probeEnv = "SANDBOXTEST_PROBE"

// TestOrdinaryUser runs the attacks once more, as a user without any privilege.
func TestOrdinaryUser(t *testing.T) {
	if Raced {
		t.Skip("the race detector takes memory and time that the limits of this test do not leave")
	}
	dir, err := os.MkdirTemp("", "probe")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	probe := filepath.Join(dir, "probe")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(probe, probes[Compiled](t), 0o644)); err != nil {
		t.Fatal(err)
	}
	t.Setenv(probeEnv, probe)
	asuser.Run(t, []string{"TestWasm", "TestWasmGuestAttacks", "TestWasmHostCalls", "TestWasmCanaries", "TestWasmMutants", "TestWasmClock", "TestMissingLayer", "TestNativeNeedsRoot"}, fmt.Sprintf("-soak=%t", *soak))
}
