package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox/sandboxtest/asuser"
)

// An outcome is how a run of the command ended.
type outcome struct {
	code   int
	stdout string
	stderr string
	took   time.Duration
	memory int64 // bytes: the most that the command itself had, not its runners
}

// ended runs the command and returns its exit code and what it printed.
func ended(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	o := runAs(t, os.Geteuid(), args...)
	return o.code, o.stdout, o.stderr
}

// millrace runs the command, which must succeed, and returns what it printed.
func millrace(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := ended(t, args...)
	if code != 0 {
		t.Fatalf("millrace %q: exit code %d\n%s", args, code, stderr)
	}
	return stdout
}

// runAs runs the command as a user, to whom its directories must be open, and checks that no process of it is left.
func runAs(t *testing.T, uid int, args ...string) outcome {
	t.Helper()
	return runIn(t, uid, nil, args...)
}

// runIn is runAs with additions to the environment.
func runIn(t *testing.T, uid int, env []string, args ...string) (o outcome) {
	t.Helper()
	bin := built(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.ExtraFiles = []*os.File{w}
	cmd.Env = append(os.Environ(), guardEnv+"="+bin)
	if uid != os.Geteuid() {
		cmd.Dir = "/"
		cmd.Env = append(cmd.Env, "XDG_CACHE_HOME="+othersCache)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	cmd.Env = append(cmd.Env, env...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err = cmd.Run()
	o.took = time.Since(began)
	o.code, o.stdout, o.stderr = cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
	_ = w.Close()
	var g guarded
	if decodeErr := json.NewDecoder(r).Decode(&g); decodeErr != nil {
		t.Fatalf("%v, %v\n%s", err, decodeErr, o.stderr)
	}
	if g.Left != "" {
		t.Fatalf("millrace %q: %s lives on", args, g.Left)
	}
	o.memory = g.Memory
	return o
}

// guardEnv names the command, and makes this process a guard: it runs the command with its own arguments, waits until all that this has started has
// ended, tells what it saw on descriptor 3 and ends as the command did.
const guardEnv = "MILLRACE_TEST_GUARD"

// A guarded is what a guard saw.
type guarded struct {
	Memory int64  // as in outcome
	Left   string // a process that did not end
}

func guard(bin string) {
	_ = os.Unsetenv(guardEnv)
	runtime.LockOSThread() // to which the child's death is bound
	cmd := exec.Command(bin, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// Whoever is orphaned becomes a child of this process.
	err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	if err == nil {
		unix.CloseOnExec(3)
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var g guarded
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for waiting := true; waiting; {
		select {
		case err = <-ended:
			waiting = false
		case <-time.After(5 * time.Millisecond):
			g.Memory = max(g.Memory, peakOf(cmd.Process.Pid))
		}
	}
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	g.Left = left(time.Minute)
	if err := json.NewEncoder(os.NewFile(3, "report")).Encode(g); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

// peakOf returns the most memory that a process had, in bytes; 0 if it has ended.
func peakOf(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, found := strings.Cut(string(text), "\nVmHWM:")
	var kib int64
	if n, scanErr := fmt.Sscan(rest, &kib); err != nil || !found || n != 1 || scanErr != nil {
		return 0
	}
	return kib << 10
}

// left waits until no process is below this one, and returns one that does not end in time.
func left(patience time.Duration) string {
	deadline := time.Now().Add(patience)
	for _, pid := range descendants(os.Getpid()) {
		for alive(pid) {
			if time.Now().After(deadline) {
				name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				return fmt.Sprintf("process %d (%q)", pid, name)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return ""
}

// alive reports whether a process runs. One that has ended and is our child is reaped.
func alive(pid int) bool {
	_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

// openDir makes a directory that everybody may use.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "attack")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Directories of this process, removed at its end.
var (
	builds      string // what was built, once for all tests
	othersCache string // of asuser.Nobody, as XDG_CACHE_HOME is ours
)

func TestMain(m *testing.M) {
	if bin := os.Getenv(guardEnv); bin != "" {
		guard(bin)
	}
	dir, err := ownDirs()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// ownDirs gives the tests caches of their own, but for what the compiler keeps, and something secret in their environment.
func ownDirs() (dir string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	if os.Getenv("GOCACHE") == "" {
		err = os.Setenv("GOCACHE", filepath.Join(cache, "go-build"))
	}
	dir, mkErr := os.MkdirTemp("", "millrace-test-")
	builds, othersCache = filepath.Join(dir, "builds"), filepath.Join(dir, "others")
	ours := filepath.Join(dir, "ours")
	err = errors.Join(err, mkErr, os.Chmod(dir, 0o755), os.Mkdir(builds, 0o755), os.Mkdir(ours, 0o700), os.Mkdir(othersCache, 0o700),
		os.Setenv("XDG_CACHE_HOME", ours), os.Setenv("SECRET", "nobody reads this"))
	if os.Geteuid() == 0 {
		err = errors.Join(err, os.Chown(othersCache, asuser.Nobody, asuser.Nobody))
	}
	return dir, err
}
