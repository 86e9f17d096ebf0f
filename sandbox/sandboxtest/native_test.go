package sandboxtest

import (
	"bytes"
	"context"
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

	"github.com/millrace/millrace/sandbox"
)

// Each attack is tried for real by the probe. Without is, the guest must get through, print "done" and nothing that worked.
var nativeAttacks = []struct {
	name  string
	args  string // what an Outside says replaces its words
	is    error
	says  string
	lim   sandbox.Limits
	stdin string
}{
	{name: "read /etc/shadow", args: "read /etc/shadow /etc/passwd /etc/ssh /root /home /var /boot /tmp /run"},
	{name: "read the agent's configuration", args: "read CONFIG"},
	{name: "read any file", args: "read FILE"},
	{name: "write outside its work directory", args: "visit"},
	{name: "write any file", args: "write FILE FILE2 CONFIG"},
	{name: "fill the work directory by bytes", args: "fill"},
	{name: "fill the work directory by inodes", args: "inodes"},
	{name: "fill the work directory by depth", args: "deep"},
	{name: "fork bomb", args: "forkbomb"},
	{name: "memory by mmap", args: "memory 2000", is: sandbox.ErrLimit, says: "guest memory limit: used", lim: sandbox.Limits{Memory: 200 << 20}},
	{name: "memory by mmap, over the jail's", args: "memory 2000", is: sandbox.ErrLimit, says: "guest memory limit", lim: sandbox.Limits{Memory: 4 << 30}},
	{name: "memory by shared mmap", args: "shared", is: sandbox.ErrLimit, says: "guest memory limit: more than 512 MiB", lim: sandbox.Limits{Memory: 4 << 30}},
	{name: "memory by mlock", args: "mlock"},
	{name: "memory by shm and memfd", args: "kernel-memory"},
	{name: "spin on all threads", args: "threads", is: sandbox.ErrLimit, says: "guest wall clock limit: 500ms", lim: sandbox.Limits{Wall: 500 * time.Millisecond}},
	{name: "spin on all threads, CPU", args: "threads", is: sandbox.ErrLimit, says: "guest CPU limit: 500ms", lim: sandbox.Limits{CPU: 500 * time.Millisecond}},
	{name: "daemonize", args: "daemon"},
	{name: "ignore SIGTERM", args: "stubborn", is: sandbox.ErrLimit, says: "guest wall clock limit: 300ms", lim: sandbox.Limits{Wall: 300 * time.Millisecond}},
	{name: "signal a host process", args: "kill PID"},
	{name: "ptrace a host process", args: "ptrace PID"},
	{name: "inherited descriptors", args: "descriptors"},
	{name: "environment", args: "environment"},
	{name: "sockets", args: "sockets"},
	{name: "connect", args: "connect tcp=127.0.0.1:PORT tcp=[::1]:PORT unix=SOCKET unix=NAME udp=127.0.0.1:PORT ip4:icmp=127.0.0.1"},
	{name: "metadata address, NATS and agent ports", args: "connect tcp=169.254.169.254:80 tcp=[fd00:ec2::254]:80 tcp=127.0.0.1:4222 tcp=127.0.0.1:6222 tcp=127.0.0.1:8222"},
	{name: "namespaces", args: "namespaces"},
	{name: "io_uring", args: "io_uring"},
	{name: "bpf", args: "bpf"},
	{name: "perf", args: "perf"},
	{name: "userfaultfd", args: "userfaultfd"},
	{name: "keyctl", args: "keyctl"},
	{name: "mount, umount, pivot_root, fsopen", args: "mounts"},
	{name: "privileges", args: "privileges"},
	{name: "setuid binaries", args: "setuid"},
	{name: "TIOCSTI", args: "terminal"},
	{name: "mknod", args: "mknod"},
	{name: "fifo, socket, sparse 1 EiB file as output", args: "outputs"},
	{name: "core dump", args: "core", is: sandbox.ErrExit, says: "SIGABRT"},
	{name: "cgroup files", args: "cgroup"},
	{name: "real-time priority", args: "priority"},
	{name: "settimeofday", args: "set-clock"},
	{name: "kernel log", args: "kernel-log"},
	{name: "machine", args: "machine"},
	{name: "/proc and /sys", args: "read /proc /proc/self /proc/1 /proc/kcore /proc/keys /sys /sys/kernel /sys/fs/cgroup /sys/devices"},
	{name: "devices", args: "read /dev/mem /dev/kmem /dev/port /dev/sda /dev/vda /dev/fuse /dev/kvm"},
	{name: "never reading stdin", args: "sleep 1h", is: sandbox.ErrLimit, says: "guest wall clock limit: 300ms", lim: sandbox.Limits{Wall: 300 * time.Millisecond}, stdin: strings.Repeat("x", 4<<20)},
	{name: "stopping itself", args: "stop", is: sandbox.ErrLimit, says: "guest wall clock limit: 300ms", lim: sandbox.Limits{Wall: 300 * time.Millisecond}},
	{name: "1 TB of stdout", args: "out 1000000", is: sandbox.ErrLimit, says: "guest output limit: more than 3 MiB", lim: sandbox.Limits{Output: 3 << 20}},
	{name: "1 TB of stderr", args: "err 1000000", is: sandbox.ErrLimit, says: "guest wall clock limit: 500ms", lim: sandbox.Limits{Wall: 500 * time.Millisecond}},
}

func TestNativeAttacks(t *testing.T) {
	t.Setenv("MILLRACE_CANARY", canaryText)
	o := NewOutside(t)
	j := open(t, Native, &sandbox.Config{Memory: 512 << 20, Pids: 64})
	for _, a := range nativeAttacks {
		t.Run(a.name, func(t *testing.T) {
			run := &sandbox.Run{Args: o.words(strings.Fields(a.args)), Limits: a.lim}
			if run.Wall == 0 {
				run.Wall = 20 * time.Second
			}
			var out bytes.Buffer
			run.Stdin, run.Stdout = strings.NewReader(a.stdin), &out
			o.Begin()
			begin := time.Now()
			report, err := j.Run(context.Background(), run)
			took := time.Since(begin)
			switch {
			case a.is == nil && err != nil:
				t.Errorf("error %v", err)
			case a.is == nil && out.String() != "done\n":
				t.Errorf("what worked: %.500q; log %.500q", out.String(), report.Log)
			case a.is != nil && (!errors.Is(err, a.is) || !strings.Contains(err.Error(), a.says)):
				t.Errorf("error %v; want %v with %q", err, a.is, a.says)
			case a.is == sandbox.ErrLimit && strings.Contains(err.Error(), "\n"):
				t.Errorf("error of several lines: %v", err)
			}
			checkEnd(t, took, run.Limits)
			if left := descendants(t, j.Process.Pid()); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			alive(t, j)
			o.Check(t)
		})
	}
}

// descendants returns the processes that pid has started, directly or not.
func descendants(t testing.TB, pid int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	children := map[int][]int{}
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		var id, parent int
		var state string
		_, rest, _ := strings.Cut(string(b), ") ")
		if _, err := fmt.Sscanf(rest, "%s %d", &state, &parent); err != nil {
			t.Fatalf("%s: %v in %q", name, err, b)
		}
		if _, err := fmt.Sscanf(string(b), "%d", &id); err != nil {
			t.Fatalf("%s: %v in %q", name, err, b)
		}
		children[parent] = append(children[parent], id)
	}
	var all []int
	for next := children[pid]; len(next) > 0; {
		all = append(all, next...)
		var after []int
		for _, p := range next {
			after = append(after, children[p]...)
		}
		next = after
	}
	return all
}

// TestNativeSlots lets a guest look for what one in another slot has in its work directory.
func TestNativeSlots(t *testing.T) {
	one, other := open(t, Native, nil), open(t, Native, nil)
	held := make(chan error)
	go func() {
		_, err := one.Run(context.Background(), &sandbox.Run{Args: []string{"hold", canaryText}})
		held <- err
	}()
	var pids []int
	for begin := time.Now(); len(pids) == 0 && time.Since(begin) < Patience; time.Sleep(10 * time.Millisecond) {
		pids = descendants(t, one.Process.Pid())
	}
	if len(pids) == 0 {
		t.Fatal("the first guest does not run")
	}
	root := fmt.Sprintf("/proc/%d/root/work/secret", pids[0])
	for begin := time.Now(); time.Since(begin) < Patience; time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(root); err == nil && string(b) == canaryText {
			break
		}
	}
	if b, err := os.ReadFile(root); err != nil || string(b) != canaryText {
		t.Fatalf("the first guest's file: %q, %v", b, err)
	}
	pid := fmt.Sprint(pids[0])
	for _, args := range [][]string{{"read", "/work/secret", root}, {"kill", pid}, {"ptrace", pid}} {
		var out bytes.Buffer
		if _, err := other.Run(context.Background(), &sandbox.Run{Args: args, Streams: sandbox.Streams{Stdout: &out}}); err != nil || out.String() != "done\n" {
			t.Errorf("%s: %q, %v", args, out.String(), err)
		}
	}
	select {
	case err := <-held:
		t.Errorf("the first guest: %v", err)
	default:
		one.Process.Kill()
		<-held
	}
}

// agentEnv makes this process an agent that runs a guest until it is killed.
const agentEnv = "SANDBOXTEST_AGENT"

// TestAgentDies kills an agent while its guest and its guest's daemons run: none of them survives.
func TestAgentDies(t *testing.T) {
	if os.Getenv(agentEnv) != "" {
		j := open(t, Native, nil)
		_, err := j.Run(context.Background(), &sandbox.Run{Args: []string{"daemons"}})
		t.Fatal(err)
	}
	open(t, Native, nil) // or skip
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestAgentDies$")
	cmd.Env = append(os.Environ(), agentEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for begin := time.Now(); time.Since(begin) < 3*Patience; time.Sleep(20 * time.Millisecond) {
		if pids = guests(t, descendants(t, cmd.Process.Pid)); len(pids) >= 4 {
			break
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	if len(pids) < 4 {
		t.Fatalf("the guest and its daemons: %v; want 4", pids)
	}
	var left []int
	// The kernel takes the memory of a process apart before it kills the children, and the race detector's is large.
	for begin := time.Now(); time.Since(begin) < 2*Patience; time.Sleep(10 * time.Millisecond) {
		if left = guests(t, pids); len(left) == 0 {
			return
		}
	}
	t.Errorf("survivors: %v", left)
}

// guests returns those of pids that are guests and run.
func guests(t testing.TB, pids []int) []int {
	t.Helper()
	var live []int
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && strings.Contains(string(b), "(guest) ") && !strings.Contains(string(b), ") Z ") {
			live = append(live, pid)
		}
	}
	return live
}

// TestNativeNeedsRoot checks that ordinary users are refused native guests, and told which layer is missing.
func TestNativeNeedsRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root has all layers here; TestOrdinaryUser runs this")
	}
	for _, tt := range []struct {
		insecure []sandbox.Layer
		want     sandbox.Layer
	}{
		{nil, sandbox.UID},
		{[]sandbox.Layer{sandbox.UID}, sandbox.Cgroup},
	} {
		_, err := Open(t, Native, nil, &sandbox.Config{Insecure: tt.insecure})
		var layer *sandbox.LayerError
		if !errors.As(err, &layer) || layer.Layer != tt.want || layer.Fix == "" {
			t.Errorf("without %v: %v; want the layer %s", tt.insecure, err, tt.want)
		}
	}
}

// TestNativeInsecure gives up each layer by itself; the others must still work.
func TestNativeInsecure(t *testing.T) {
	for _, layer := range []sandbox.Layer{sandbox.UserNS, sandbox.Seccomp, sandbox.Landlock, sandbox.Cgroup, sandbox.UID} {
		t.Run(string(layer), func(t *testing.T) {
			j := open(t, Native, &sandbox.Config{Insecure: []sandbox.Layer{layer}})
			alive(t, j)
			var out bytes.Buffer
			_, err := j.Run(context.Background(), &sandbox.Run{Args: []string{"read", "/etc/shadow"}, Streams: sandbox.Streams{Stdout: &out}})
			if err != nil || out.String() != "done\n" {
				t.Errorf("read: %q, %v", out.String(), err)
			}
			alive(t, j)
		})
	}
}

// TestNativeScript runs a program that is text, and its children.
func TestNativeScript(t *testing.T) {
	open(t, Native, nil)
	j, err := Open(t, Native, []byte("#!/bin/sh\nread line; echo $line | tr a-z A-Z; echo $0 $1; pwd\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	_, err = j.Run(context.Background(), &sandbox.Run{Args: []string{"x"}, Env: []string{"PATH=/usr/bin:/bin"},
		Streams: sandbox.Streams{Stdin: strings.NewReader("hello\n"), Stdout: &out}})
	if got, want := out.String(), "HELLO\n/program/guest x\n/work\n"; got != want || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func BenchmarkNative(b *testing.B) { benchmark(b, Native) }
func BenchmarkWasm(b *testing.B)   { benchmark(b, Wasm) }

func benchmark(b *testing.B, e Engine) {
	j := open(b, e, nil)
	for b.Loop() {
		if _, err := j.Run(context.Background(), &sandbox.Run{}); err != nil {
			b.Fatal(err)
		}
	}
}
