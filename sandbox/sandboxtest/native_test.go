package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox"
)

// Each attack is tried for real. Without is, the guest must get through, print "done" and nothing that worked.
var nativeAttacks = []struct {
	args []string
	is   error
	says string
	lim  sandbox.Limits
}{
	{args: []string{"forkbomb"}},
	{args: []string{"memory", "2000"}, is: sandbox.ErrLimit, says: "guest memory limit: used", lim: sandbox.Limits{Memory: 200 << 20, Wall: 20 * time.Second}},
	{args: []string{"memory", "2000"}, is: sandbox.ErrLimit, says: "guest memory limit", lim: sandbox.Limits{Memory: 4 << 30, Wall: 20 * time.Second}},
	{args: []string{"memfd"}},
	{args: []string{"shared"}, is: sandbox.ErrLimit, says: "guest memory limit: more than 512 MiB", lim: sandbox.Limits{Memory: 4 << 30, Wall: 20 * time.Second}},
	{args: []string{"mlock"}},
	{args: []string{"threads"}, is: sandbox.ErrLimit, says: "guest wall clock limit: 500ms", lim: sandbox.Limits{Wall: 500 * time.Millisecond}},
	{args: []string{"threads"}, is: sandbox.ErrLimit, says: "guest CPU limit: 500ms", lim: sandbox.Limits{CPU: 500 * time.Millisecond, Wall: 10 * time.Second}},
	{args: []string{"daemon"}},
	{args: []string{"stubborn"}, is: sandbox.ErrLimit, says: "wall clock", lim: sandbox.Limits{Wall: 300 * time.Millisecond}},
	{args: []string{"stop"}, is: sandbox.ErrLimit, says: "wall clock", lim: sandbox.Limits{Wall: 300 * time.Millisecond}},
	{args: []string{"sleep", "1h"}, is: sandbox.ErrLimit, says: "wall clock", lim: sandbox.Limits{Wall: 300 * time.Millisecond}},
	{args: []string{"kill"}},
	{args: []string{"ptrace"}},
	{args: []string{"descriptors"}},
	{args: []string{"sockets"}},
	{args: []string{"namespaces"}},
	{args: []string{"kernel"}},
	{args: []string{"mounts"}},
	{args: []string{"privileges"}},
	{args: []string{"fill"}},
	{args: []string{"inodes"}},
	{args: []string{"deep"}},
	{args: []string{"sparse"}},
	{args: []string{"core"}, is: sandbox.ErrExit, says: "SIGABRT"},
	{args: []string{"out", "10000"}, is: sandbox.ErrLimit, says: "guest output limit: more than 3 MiB", lim: sandbox.Limits{Output: 3 << 20}},
	{args: []string{"err", "200"}, is: nil},
	{args: []string{"read", "/etc/shadow", "/sys/fs/cgroup", "/proc/kmsg", "/dev/kmsg", "/dev/mem", "/dev"}},
	{args: []string{"read", "CANARY"}},
	{args: []string{"write", "CANARY", "/dev/shm/x", "/sys/fs/cgroup/memory/x"}},
}

func TestNativeAttacks(t *testing.T) {
	j := open(t, Native, &sandbox.Config{Memory: 512 << 20, Pids: 64})
	for _, a := range nativeAttacks {
		t.Run(strings.Join(a.args, " "), func(t *testing.T) {
			path, intact := canary(t)
			run := &sandbox.Run{Limits: a.lim}
			for _, arg := range a.args {
				run.Args = append(run.Args, strings.ReplaceAll(arg, "CANARY", path))
			}
			if run.Wall == 0 {
				run.Wall = 20 * time.Second
			}
			var out bytes.Buffer
			run.Stdout = &out
			begin := time.Now()
			_, err := j.Run(context.Background(), run)
			took := time.Since(begin)
			switch {
			case a.is == nil && err != nil:
				t.Errorf("error %v", err)
			case a.is == nil && a.args[0] != "err" && strings.ReplaceAll(out.String(), "LISTED /dev\n", "") != "done\n":
				t.Errorf("what worked: %.500q", out.String())
			case a.is != nil && (!errors.Is(err, a.is) || !strings.Contains(err.Error(), a.says)):
				t.Errorf("error %v; want %v with %q", err, a.is, a.says)
			}
			if took > run.Wall+500*time.Millisecond {
				t.Errorf("ended after %v; limit %v", took, run.Wall)
			}
			alive(t, j)
			intact()
		})
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
