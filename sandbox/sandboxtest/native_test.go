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

func TestNativeAttacks(t *testing.T) {
	t.Setenv("AGENT_CANARY", canaryText)
	o := NewOutside(t)
	j := open(t, Native, &sandbox.Config{Memory: 512 << 20, Pids: 64})
	for _, a := range NativeAttacks() {
		t.Run(a.Name, func(t *testing.T) {
			run := &sandbox.Run{Args: o.words(strings.Fields(a.Args)), Limits: a.Limits}
			if run.Wall == 0 {
				run.Wall = 20 * time.Second
			}
			var out bytes.Buffer
			run.Stdin, run.Stdout = strings.NewReader(a.Stdin), &out
			o.Begin()
			begin := time.Now()
			report, err := j.Run(context.Background(), run)
			took := time.Since(begin)
			switch {
			case a.Is == nil && err != nil:
				t.Errorf("error %v", err)
			case a.Is == nil && out.String() != "done\n":
				t.Errorf("what worked: %.500q; log %.500q", out.String(), report.Log)
			case a.Is != nil && (!errors.Is(err, a.Is) || !strings.Contains(err.Error(), a.Says)):
				t.Errorf("error %v; want %v with %q", err, a.Is, a.Says)
			case a.Is == sandbox.ErrLimit && strings.Contains(err.Error(), "\n"):
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
