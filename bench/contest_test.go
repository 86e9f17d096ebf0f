// Package bench measures millrace beside what people do by hand, as whole processes.
package bench

import (
	"cmp"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"
)

// A contender is one way to do a task: a command, made anew for each run.
type contender struct {
	name string
	cmd  func() *exec.Cmd
}

// contest runs the contenders in turns, A B A B …, so that what the machine does meanwhile hits all alike, after one
// run of each in which memory is measured and not time, for looking at memory takes time. It then reports each as a
// sub-benchmark: medians of wall time (ns/op) and CPU time (cpu-ns/op), and the peak memory (peak-B), of all processes. With same, all
// must print the same lines in any order.
func contest(b *testing.B, size int64, same bool, contenders ...contender) {
	b.Helper()
	rounds := environ("ROUNDS", 5)
	samples := make([][]sample, len(contenders))
	peaks := make([]int64, len(contenders))
	var first sample
	for round := range rounds + 1 {
		for i, c := range contenders {
			s, err := runProcess(c.cmd(), round == 0)
			if err != nil {
				b.Fatalf("%s: %v", c.name, err)
			}
			if round == 0 {
				peaks[i] = s.peak
			}
			if i == 0 && round == 0 {
				first = s
			}
			if same && s.digest != first.digest {
				b.Fatalf("%s printed %d lines (%s), %s printed %d (%s)", c.name, s.lines, s.digest, contenders[0].name, first.lines, first.digest)
			}
			if round > 0 {
				samples[i] = append(samples[i], s)
			}
		}
	}
	for i, c := range contenders {
		b.Run(c.name, func(b *testing.B) {
			wall := median(samples[i], func(s sample) float64 { return float64(s.wall) })
			b.ReportMetric(wall, "ns/op")
			b.ReportMetric(median(samples[i], func(s sample) float64 { return float64(s.cpu) }), "cpu-ns/op")
			b.ReportMetric(float64(peaks[i]), "peak-B")
			if size > 0 {
				b.ReportMetric(float64(size)/1e6/(wall/float64(time.Second)), "MB/s")
			}
			if same {
				b.ReportMetric(float64(first.lines), "lines")
			}
		})
	}
}

// median returns the median of what of takes from samples.
func median(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.SortFunc(values, cmp.Compare)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// environ returns the number in an environment variable, def if there is none.
func environ(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return def
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		walls []time.Duration
		want  float64
	}{{[]time.Duration{5}, 5}, {[]time.Duration{9, 1, 5}, 5}, {[]time.Duration{9, 1, 5, 7}, 6}} {
		var samples []sample
		for _, w := range tt.walls {
			samples = append(samples, sample{wall: w})
		}
		if got := median(samples, func(s sample) float64 { return float64(s.wall) }); got != tt.want {
			t.Errorf("median of %v: got %v, want %v", tt.walls, got, tt.want)
		}
	}
}
