package latency

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// times returns 1 to n microseconds.
func times(n int) (took []time.Duration) {
	for i := n; i > 0; i-- {
		took = append(took, time.Duration(i)*time.Microsecond)
	}
	return took
}

func TestReport(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("LATENCY", dir)
	r := testing.Benchmark(func(b *testing.B) { Report(b, times(1000)) })
	if p50, p99 := r.Extra["p50-ns"], r.Extra["p99-ns"]; p50 != 501_000 || p99 != 991_000 {
		t.Errorf("p50 %v, p99 %v", p50, p99)
	}
	r = testing.Benchmark(func(b *testing.B) { ReportWorst(b, times(3)) })
	if p50, worst := r.Extra["p50-ns"], r.Extra["max-ns"]; p50 != 2000 || worst != 3000 {
		t.Errorf("p50 %v, worst %v", p50, worst)
	}
	r = testing.Benchmark(func(b *testing.B) { Report(b, nil) })
	if len(r.Extra) != 0 {
		t.Errorf("of nothing: %v", r.Extra)
	}
}

// The picture has the benchmarks of objects that were left so far, with their names and figures, and is well-formed.
func TestPicture(t *testing.T) {
	dir := t.TempDir()
	took := times(2000)
	slices.Sort(took)
	for _, name := range []string{"BenchmarkJail", "BenchmarkObject/wasm<go>", "BenchmarkObject/plain", "BenchmarkObject/plain"} {
		if err := keep(dir, name, took); err != nil {
			t.Fatal(err)
		}
		took = took[:len(took)/2]
	}
	b, err := os.ReadFile(filepath.Join(dir, "latency.svg"))
	if err != nil {
		t.Fatal(err)
	}
	svg := string(b)
	for want, n := range map[string]int{"<polyline": 2, ">wasm&lt;go&gt;<": 1, ">plain<": 1, ">126 µs<": 1, ">501 µs<": 1, "Jail": 0} {
		if got := strings.Count(svg, want); got != n {
			t.Errorf("%d times %q, want %d", got, want, n)
		}
	}
	for d := xml.NewDecoder(strings.NewReader(svg)); err == nil; {
		_, err = d.Token()
	}
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestLabel(t *testing.T) {
	for want, d := range map[string]time.Duration{"10 ns": 10, "1 µs": 1000, "1.3 µs": 1300, "12 µs": 12_345, "4.8 ms": 4_800_000, "100 ms": 100_000_000, "1 s": time.Second} {
		if got := label(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}
