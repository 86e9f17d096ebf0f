package bench

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A sample is what one run of a program took, together with all processes that it started.
type sample struct {
	wall   time.Duration
	cpu    time.Duration // user and system, of all processes that were waited for
	peak   int64         // bytes: the largest sum of the proportional set sizes of all processes, sampled; 0 if nobody looked
	digest string        // of the lines printed, in any order
	lines  int
	stderr string // what was printed there
}

// sampling is how often memory is looked at.
const sampling = 20 * time.Millisecond

// runProcess runs cmd to its end, reads what it prints, and measures it, with memory its memory too. An exit code other than 0 is an error.
func runProcess(cmd *exec.Cmd, memory bool) (s sample, err error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return s, err
	}
	quit, peak := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(sampling)
		defer tick.Stop()
		var most int64
		for {
			if memory {
				most = max(most, treeMemory(cmd.Process.Pid))
			}
			select {
			case <-tick.C:
			case <-quit:
				peak <- most
				return
			}
		}
	}()
	err = cmd.Wait()
	s.wall = time.Since(start)
	close(quit)
	s.peak = <-peak
	if err != nil {
		return s, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	s.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	s.digest, s.lines = digestLines(&stdout)
	s.stderr = stderr.String()
	return s, nil
}

// treeMemory returns the memory of a process and all below it: pages that several of them share are counted once.
// Processes that end meanwhile count nothing.
func treeMemory(pid int) (total int64) {
	dir := "/proc/" + strconv.Itoa(pid)
	rollup, err := os.ReadFile(dir + "/smaps_rollup")
	if err != nil {
		return 0
	}
	if _, rest, ok := bytes.Cut(rollup, []byte("\nPss:")); ok {
		kib, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
		n, _ := strconv.ParseInt(string(kib), 10, 64)
		total = n << 10
	}
	children, _ := filepath.Glob(dir + "/task/*/children")
	for _, file := range children {
		list, _ := os.ReadFile(file)
		for _, field := range bytes.Fields(list) {
			if child, err := strconv.Atoi(string(field)); err == nil {
				total += treeMemory(child)
			}
		}
	}
	return total
}

// digestLines returns a digest of the lines of r that does not depend on their order, and their number. A "./" before a line is
// no part of it: that is how ripgrep names what lies in its working directory.
func digestLines(r io.Reader) (string, int) {
	var lines []string
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			lines = append(lines, strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "./"))
		}
		if err != nil {
			break
		}
	}
	slices.Sort(lines)
	h := sha256.New()
	for _, line := range lines {
		_, _ = io.WriteString(h, line+"\n")
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), len(lines)
}

func TestRunProcess(t *testing.T) {
	// The child of a child uses the memory and the time: both must be seen.
	script := `sh -c 'x=$(head -c 50000000 /dev/zero | tr "\0" x); sleep 0.3; echo b; echo a'`
	s, err := runProcess(exec.Command("sh", "-c", script), true)
	if err != nil {
		t.Fatal(err)
	}
	if s.peak < 40<<20 {
		t.Errorf("peak %d bytes, want 50 MB at least nearly", s.peak)
	}
	if s.cpu <= 0 || s.wall < 300*time.Millisecond {
		t.Errorf("cpu %v, wall %v", s.cpu, s.wall)
	}
	want, _ := digestLines(strings.NewReader("./a\nb\n"))
	if s.digest != want || s.lines != 2 {
		t.Errorf("digest %s of %d lines, want %s of 2", s.digest, s.lines, want)
	}
	if _, err := runProcess(exec.Command("sh", "-c", "echo no >&2; exit 3"), false); err == nil || !strings.Contains(err.Error(), "exit status 3: no") {
		t.Errorf("a failing program: got %v", err)
	}
}
