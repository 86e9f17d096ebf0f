// Package latency says how long the operations of a benchmark took, one by one, and draws it.
//
// If the environment names a directory, LATENCY, each [Report] also leaves its distribution there, and draws those of all benchmarks that
// have left one so far as latency.svg.
package latency

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Report reports the time that half of the operations of a benchmark took at most, and 99 % of them. It sorts took; without any it
// reports nothing.
func Report(b *testing.B, took []time.Duration) {
	b.Helper()
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	b.ReportMetric(float64(at(took, 0.5)), "p50-ns")
	b.ReportMetric(float64(at(took, 0.99)), "p99-ns")
	if dir := os.Getenv("LATENCY"); dir != "" {
		if err := keep(dir, b.Name(), took); err != nil {
			b.Fatal(err)
		}
	}
}

// ReportWorst reports the median and the longest time. It sorts took.
func ReportWorst(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(float64(at(took, 0.5)), "p50-ns")
	b.ReportMetric(float64(took[len(took)-1]), "max-ns")
}

// at returns the time that a share of all operations took at most.
func at(sorted []time.Duration, share float64) time.Duration {
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

// A distribution is that of one benchmark.
type distribution struct {
	Name string          `json:"name"`
	At   []time.Duration `json:"at_ns"` // the share of steps that is the index over steps took at most so long
}

const steps = 400

// keep leaves a distribution in dir, and draws all that are there.
func keep(dir, benchmark string, sorted []time.Duration) error {
	d := distribution{Name: strings.TrimPrefix(benchmark, "BenchmarkObject/")}
	for i := range steps + 1 {
		d.At = append(d.At, at(sorted, float64(i)/steps))
	}
	b, err := json.Marshal(d)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, strings.ReplaceAll(benchmark, "/", "-")+".json"), b, 0o644)
	}
	if err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(dir, "BenchmarkObject-*.json"))
	if err != nil || len(names) == 0 {
		return err
	}
	var all []distribution
	for _, name := range names {
		var d distribution
		b, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(b, &d)
		}
		if err != nil || len(d.At) != steps+1 {
			return fmt.Errorf("%s: %d steps: %w", name, len(d.At), err)
		}
		all = append(all, d)
	}
	return os.WriteFile(filepath.Join(dir, "latency.svg"), draw(all), 0o644)
}
