package agent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/latency"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
)

// BenchmarkRunner starts a runner without a program, which is a jail around this executable, smaller than millrace by the AWS SDK, NATS and the command line. idle-B is what it
// takes while it waits, as its proportional share.
func BenchmarkRunner(b *testing.B) {
	pool := NewPool(Jailed(sandbox.Config{}, job.Wasm))
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		l, err := pool.take()
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
		if err := l.close(); err != nil {
			b.Fatal(err)
		}
	}
	latency.Report(b, took)
	l, err := pool.take()
	if err != nil {
		b.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // it has rehearsed, by then
	idle := childrenMemory(b)
	if err := l.close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(idle), "idle-B")
}

// childrenMemory returns the proportional set size of this process's children, in bytes.
func childrenMemory(b *testing.B) (sum int64) {
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		b.Fatal(err)
	}
	for _, list := range lists {
		pids, _ := os.ReadFile(list) // its thread may be gone
		for _, pid := range bytes.Fields(pids) {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%s/smaps_rollup", pid))
			if err != nil {
				b.Fatal(err)
			}
			_, rest, _ := bytes.Cut(text, []byte("\nPss:"))
			kib, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			sum += kib << 10
		}
	}
	return sum
}
