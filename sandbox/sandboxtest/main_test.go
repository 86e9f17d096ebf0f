package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/millrace/millrace/sandbox"
)

func TestMain(m *testing.M) { Main(m) }

// probes are compiled once.
var probes = map[Engine]func(testing.TB) []byte{Wasm: once(Wasm), Native: once(Native)}

func once(e Engine) func(testing.TB) []byte {
	var mu sync.Mutex
	var code []byte
	return func(t testing.TB) []byte {
		mu.Lock()
		defer mu.Unlock()
		if code == nil {
			code = Probe(t, e)
		}
		return code
	}
}

func open(t testing.TB, e Engine, cfg *sandbox.Config) *Jail {
	t.Helper()
	if e == Native && os.Geteuid() != 0 {
		t.Skip("native guests need root here")
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

// canary is a file outside that no guest may read, in a place that everybody else may.
func canary(t *testing.T) (path string, intact func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "canary")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "canary")
	text := []byte("nobody reads this")
	for _, err := range []error{os.WriteFile(path, text, 0o666), os.Chmod(path, 0o666), os.Chmod(dir, 0o777)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return path, func() {
		t.Helper()
		entries, err := os.ReadDir(dir)
		b, readErr := os.ReadFile(path)
		if err != nil || readErr != nil || len(entries) != 1 || !bytes.Equal(b, text) {
			t.Errorf("canary: %d files, %q, %v, %v", len(entries), b, err, readErr)
		}
	}
}

// alive checks that a guest works after an attack.
func alive(t *testing.T, g sandbox.Guest) {
	t.Helper()
	var out bytes.Buffer
	_, err := g.Run(context.Background(), &sandbox.Run{Args: []string{"state"}, Streams: sandbox.Streams{Stdout: &out}})
	if err != nil || out.String() != "1 false\n" {
		t.Errorf("next run: %q, %v", out.String(), err)
	}
}

// TestOrdinaryUser runs the attacks with hand-made modules once more, as a user without any privilege.
func TestOrdinaryUser(t *testing.T) {
	if raced {
		t.Skip("the race detector takes memory and time that the limits of this test do not leave")
	}
	if os.Geteuid() != 0 {
		t.Skip("all tests are this test already")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestWasmAttacks$")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
