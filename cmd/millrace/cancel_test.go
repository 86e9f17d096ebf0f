package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sleeping starts a job whose mappers sleep, and returns when they do.
func sleeping(t *testing.T) (cmd *exec.Cmd, out string, runners []int) {
	t.Helper()
	bin, dir := built(t), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := os.WriteFile(filepath.Join(dir, "in", fmt.Sprint(i)), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "sleep.sh")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexec sleep 30\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out = filepath.Join(dir, "out")
	cmd = exec.Command(bin, "run", program, "-i", filepath.Join(dir, "in"), "-o", out, "--progress=none")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for sc := bufio.NewScanner(stderr); sc.Scan(); {
			t.Log(sc.Text())
		}
	}()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for !asleep(cmd.Process.Pid) {
		if time.Now().After(deadline) {
			t.Fatal("no mapper sleeps")
		}
		time.Sleep(10 * time.Millisecond)
	}
	return cmd, out, descendants(cmd.Process.Pid)
}

func asleep(pid int) bool {
	for _, p := range descendants(pid) {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p))
		if err == nil && strings.TrimSpace(string(name)) == "sleep" {
			return true
		}
	}
	return false
}

// descendants returns the processes below pid.
func descendants(pid int) (all []int) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // the thread is gone
		}
		for _, word := range strings.Fields(string(text)) {
			var child int
			if _, err := fmt.Sscan(word, &child); err == nil {
				all = append(append(all, child), descendants(child)...)
			}
		}
	}
	return all
}

// nothing checks that no process of a job lives and that nothing of it is visible.
func nothing(t *testing.T, out string, pids []int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for _, pid := range pids {
		for syscall.Kill(pid, 0) == nil {
			if time.Now().After(deadline) {
				t.Fatalf("process %d lives on", pid)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	entries, err := os.ReadDir(out)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "_millrace" {
			t.Errorf("%s is visible", e.Name())
		}
	}
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	cmd, out, pids := sleeping(t)
	began := time.Now()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d (%v), want 130", code, err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("cancelling took %v", took)
	}
	nothing(t, out, pids)
	if _, err := os.Stat(filepath.Join(out, "_millrace")); err == nil {
		t.Error("a cancelled job leaves _millrace behind")
	}
}

func TestInterruptTwice(t *testing.T) {
	t.Parallel()
	cmd, out, pids := sleeping(t)
	for range 2 {
		if err := cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait()
	if cmd.ProcessState.Success() {
		t.Error("a killed job succeeded")
	}
	nothing(t, out, pids)
}
