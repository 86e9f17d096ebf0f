package telemetry

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Metric is something that is counted or measured, for each combination of its labels. Labels have few values: states and kinds, never
// names of jobs, tasks, objects or people.
type Metric struct {
	name, help, kind string
	labels           []string
}

func gauge(name, help string, labels ...string) *Metric {
	return &Metric{"millrace_" + name, help, "gauge", labels}
}

func counter(name, help string, labels ...string) *Metric {
	return &Metric{"millrace_" + name, help, "counter", labels}
}

// A Source says what is measured at this moment, by calling emit for each value, with that of each label. It must be quick, and may be called concurrently.
type Source func(emit func(m *Metric, value float64, labels ...string))

// Metrics are those of one daemon. They may be used concurrently.
type Metrics struct {
	version string
	source  Source
	appends *histogram // nil: it appends nothing
}

// NewMetrics returns the metrics of a daemon that runs this version, which asks source whenever somebody looks.
func NewMetrics(version string, source Source) *Metrics {
	return &Metrics{version: version, source: source}
}

// Appends returns what is told how long each append to a job log took, which is measured from then on. It is called once, before anybody looks.
func (m *Metrics) Appends() func(took time.Duration) {
	m.appends = &histogram{counts: make([]uint64, len(bounds)+1)}
	return m.appends.observe
}

// Handler returns what answers Prometheus at /metrics, in its text format, and, at /ready, whoever asks whether the daemon is ready.
func (m *Metrics) Handler(ready func() bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(m.text()) // who does not hear it asks again
	})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if !ready() {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	})
	return mux
}

// text writes all values: for each metric what it is, and its samples.
func (m *Metrics) text() []byte {
	samples := map[*Metric][]string{}
	emit := func(x *Metric, value float64, labels ...string) {
		samples[x] = append(samples[x], x.name+braced(x.labels, labels)+" "+strconv.FormatFloat(value, 'g', -1, 64))
	}
	emit(build, 1, m.version)
	process(emit)
	m.source(emit)
	var b bytes.Buffer
	for _, x := range slices.SortedFunc(maps.Keys(samples), func(a, b *Metric) int { return strings.Compare(a.name, b.name) }) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", x.name, x.help, x.name, x.kind)
		slices.Sort(samples[x])
		b.WriteString(strings.Join(samples[x], "\n") + "\n")
	}
	if m.appends != nil {
		m.appends.write(&b, "millrace_append_seconds", "How long appends to job logs took.")
	}
	return b.Bytes()
}

// escape makes a text the value of a label.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// braced writes labels with their values.
func braced(names, values []string) string {
	if len(names) == 0 {
		return ""
	}
	var all []string
	for i, n := range names {
		all = append(all, n+`="`+escape.Replace(values[i])+`"`)
	}
	return "{" + strings.Join(all, ",") + "}"
}

// Metrics of the process, by the names that they have everywhere.
var (
	build      = gauge("build_info", "1, with the version.", "version")
	goroutines = &Metric{"go_goroutines", "Goroutines.", "gauge", nil}
	cpu        = &Metric{"process_cpu_seconds_total", "CPU time, in seconds.", "counter", nil}
	resident   = &Metric{"process_resident_memory_bytes", "Resident memory, in bytes.", "gauge", nil}
)

func process(emit func(*Metric, float64, ...string)) {
	emit(goroutines, float64(runtime.NumGoroutine()))
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) == nil {
		emit(cpu, float64(u.Utime.Nano()+u.Stime.Nano())/1e9)
	}
	var size, pages int64
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if n, _ := fmt.Sscan(string(b), &size, &pages); n == 2 {
			emit(resident, float64(pages*int64(os.Getpagesize())))
		}
	}
}

// bounds are those of a histogram's buckets, in seconds.
var bounds = []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10}

// A histogram counts times by how long they were.
type histogram struct {
	mu     sync.Mutex
	counts []uint64 // of each bucket, and of those above all
	sum    float64
}

func (h *histogram) observe(took time.Duration) {
	i, _ := slices.BinarySearch(bounds, took.Seconds())
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[i]++
	h.sum += took.Seconds()
}

func (h *histogram) write(b *bytes.Buffer, name, help string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name)
	n := uint64(0)
	for i, c := range h.counts {
		n += c
		le := "+Inf"
		if i < len(bounds) {
			le = strconv.FormatFloat(bounds[i], 'g', -1, 64)
		}
		fmt.Fprintf(b, "%s_bucket{le=%q} %d\n", name, le, n)
	}
	fmt.Fprintf(b, "%s_sum %s\n%s_count %d\n", name, strconv.FormatFloat(h.sum, 'g', -1, 64), name, n)
}
