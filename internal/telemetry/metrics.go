package telemetry

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A Metric is something that is counted or measured, for each combination of its labels. Labels have few values: states and kinds, never
// names of jobs, tasks, objects or people.
type Metric struct {
	name string
	kind prometheus.ValueType
	desc *prometheus.Desc
}

// all are the metrics of all daemons.
var all []*Metric

func metric(kind prometheus.ValueType, name, help string, labels ...string) *Metric {
	m := &Metric{name: name, kind: kind, desc: prometheus.NewDesc("millrace_"+name, help, labels, nil)}
	all = append(all, m)
	return m
}

func gauge(name, help string, labels ...string) *Metric {
	return metric(prometheus.GaugeValue, name, help, labels...)
}

func counter(name, help string, labels ...string) *Metric {
	return metric(prometheus.CounterValue, name, help, labels...)
}

// A Source says what is measured at this moment, by calling emit for each value. It must be quick, and may be called concurrently.
type Source func(emit func(m *Metric, value float64, labels ...string))

// Metrics are those of one daemon. They may be used concurrently.
type Metrics struct {
	registry *prometheus.Registry
	appends  prometheus.Histogram
}

// NewMetrics returns the metrics of a daemon that runs this version, which asks source whenever somebody looks.
func NewMetrics(version string, source Source) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), appends: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "millrace_append_seconds", Help: "How long appends to job logs took.",
		Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
	})}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "millrace_build_info", Help: "1, with the version.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build, m.appends, asked(source))
	return m
}

// Appended says how long an append to a job log took.
func (m *Metrics) Appended(took time.Duration) { m.appends.Observe(took.Seconds()) }

// Handler returns what answers Prometheus at /metrics and, at /ready, whoever asks whether the daemon is ready.
func (m *Metrics) Handler(ready func() bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if !ready() {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	})
	return mux
}

// asked makes a collector of a Source.
type asked Source

func (asked) Describe(to chan<- *prometheus.Desc) {
	for _, m := range all {
		to <- m.desc
	}
}

func (a asked) Collect(to chan<- prometheus.Metric) {
	a(func(m *Metric, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
	})
}
