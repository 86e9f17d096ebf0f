package sandboxtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// An Outside is a piece of the world that guests must neither read nor change, in places where everybody else may: files, sockets
// that listen, a process, and the memory of this one.
type Outside struct {
	File   string // a file that everybody may read and write
	Config string // a file that only its owner may read, as an agent's configuration
	Socket string // a unix socket, by its path
	Name   string // another, by its abstract name, with @
	Port   int    // TCP on 127.0.0.1
	Pid    int    // a process that sleeps

	t         testing.TB
	dir       string
	process   *exec.Cmd
	ended     chan struct{} // closed when process has ended
	reached   atomic.Int64  // connections
	listeners []net.Listener
	accepting sync.WaitGroup
	memory    int64 // bytes, at Begin
}

const (
	canaryText = "nobody reads this"
	// maxGrowth is what an agent may take for a guest, whatever it does: bytes.
	maxGrowth = 64 << 20
)

// NewOutside makes an Outside that ends with the test.
func NewOutside(t testing.TB) *Outside {
	t.Helper()
	dir, err := os.MkdirTemp("", "canary")
	if err != nil {
		t.Fatal(err)
	}
	o := &Outside{
		File: filepath.Join(dir, "canary"), Config: filepath.Join(dir, "config"), Socket: filepath.Join(dir, "socket"),
		Name: "@" + filepath.Base(dir), t: t, dir: dir, ended: make(chan struct{}),
	}
	t.Cleanup(o.close)
	for _, err := range []error{
		os.WriteFile(o.File, []byte(canaryText), 0o666), os.Chmod(o.File, 0o666),
		os.WriteFile(o.Config, []byte(canaryText), 0o600), os.Chmod(dir, 0o777),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []struct{ network, address string }{{"tcp", "127.0.0.1:0"}, {"unix", o.Socket}, {"unix", o.Name}} {
		l, err := net.Listen(at.network, at.address)
		if err != nil {
			t.Fatal(err)
		}
		o.listeners = append(o.listeners, l)
		o.accepting.Go(func() { o.accept(l) })
	}
	o.Port = o.listeners[0].Addr().(*net.TCPAddr).Port
	if err := os.Chmod(o.Socket, 0o777); err != nil {
		t.Fatal(err)
	}
	o.process = exec.Command("sleep", "4h") // longer than any test
	o.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: 0}
	if err := o.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		o.process.Wait()
		close(o.ended)
	}()
	o.Pid = o.process.Process.Pid
	return o
}

func (o *Outside) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		o.reached.Add(1)
		c.Close()
	}
}

func (o *Outside) close() {
	for _, l := range o.listeners {
		l.Close()
	}
	o.accepting.Wait()
	if o.Pid != 0 {
		o.process.Process.Kill()
		<-o.ended
	}
	os.RemoveAll(o.dir)
}

// Words replaces FILE, CONFIG, SOCKET, NAME, PORT and PID in s by what they are.
func (o *Outside) Words(s string) string {
	return strings.NewReplacer("FILE", o.File, "CONFIG", o.Config, "SOCKET", o.Socket, "NAME", o.Name,
		"PORT", strconv.Itoa(o.Port), "PID", strconv.Itoa(o.Pid)).Replace(s)
}

// words replaces them in each of list.
func (o *Outside) words(list []string) (all []string) {
	for _, s := range list {
		all = append(all, o.Words(s))
	}
	return all
}

// Begin notes how much memory this process has, before an attack.
func (o *Outside) Begin() {
	o.t.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // forget the peak
		o.t.Fatal(err)
	}
	o.memory = status(o.t, "VmRSS")
}

// Check reports through t whatever an attack has reached or changed since Begin.
func (o *Outside) Check(t testing.TB) {
	t.Helper()
	if err := o.changes(); err != nil {
		t.Error(err)
	}
	if grown := status(t, "VmHWM") - o.memory; grown > maxGrowth && !Raced {
		t.Errorf("this process grew by %d MiB", grown>>20)
	}
}

// changes returns what is not as it was.
func (o *Outside) changes() error {
	var faults []error
	entries, err := os.ReadDir(o.dir)
	if err != nil || len(entries) != 3 {
		faults = append(faults, fmt.Errorf("canaries: %v, %w", entries, err))
	}
	for _, name := range []string{o.File, o.Config} {
		f, err := os.Open(name)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		b, err := io.ReadAll(f)
		f.Close()
		if err != nil || string(b) != canaryText {
			faults = append(faults, fmt.Errorf("canary %s: %.100q, %w", name, b, err))
		}
	}
	if n := o.reached.Load(); n != 0 {
		faults = append(faults, fmt.Errorf("%d connections from inside", n))
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", o.Pid))
	if err != nil || !strings.Contains(string(stat), "(sleep) S ") {
		faults = append(faults, fmt.Errorf("canary process: %s, %w", stat, err))
	}
	return errors.Join(faults...)
}

// status returns a field of /proc/self/status, in bytes.
func status(t testing.TB, field string) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "\n"+field+":")
	f := strings.Fields(rest)
	if !ok || len(f) == 0 {
		t.Fatalf("no %s in /proc/self/status", field)
	}
	n, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}
