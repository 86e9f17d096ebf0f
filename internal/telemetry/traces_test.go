package telemetry_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/telemetry"
)

// A received is a span as a collector gets it.
type received struct {
	TraceID, SpanID, ParentSpanID, Name string
	StartTimeUnixNano, EndTimeUnixNano  string
	Status                              struct {
		Code    int
		Message string
	}
	Events     []struct{ Name, TimeUnixNano string }
	Attributes []struct {
		Key   string
		Value struct{ StringValue, IntValue string }
	}
}

// gather returns a collector of OpenTelemetry, and what it was sent, by service and name.
func gather(t *testing.T) (url string, spans func() map[string]received) {
	t.Helper()
	var mu sync.Mutex
	all := map[string]received{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var x struct {
			ResourceSpans []struct {
				Resource struct {
					Attributes []struct {
						Key   string
						Value struct{ StringValue string }
					}
				}
				ScopeSpans []struct{ Spans []received }
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&x); err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" {
			http.Error(w, "not OTLP", http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range x.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, sp := range ss.Spans {
					all[rs.Resource.Attributes[0].Value.StringValue+" "+sp.Name] = sp
				}
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, func() map[string]received {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// TestTrace has a coordinator and an agent, which know nothing of each other but the names, write one trace.
func TestTrace(t *testing.T) {
	t.Parallel()
	url, spans := gather(t)
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for daemon, all := range map[string][]*telemetry.Span{
		"serve": {
			{Path: []string{"j1"}, Began: began, Ended: began.Add(time.Minute)},
			{Path: []string{"j1", "m-00000"}, Began: began, Ended: began.Add(2 * time.Second)},
		},
		"agent": {{
			Path: []string{"j1", "m-00000", "m-00000.1"}, Began: began, Ended: began.Add(time.Second), Fault: "lost",
			Attributes: map[string]any{"objects": int64(7)}, Events: []telemetry.Event{{Name: "reported", At: began.Add(time.Millisecond)}},
		}},
	} {
		tr, err := telemetry.NewTracer(daemon, "v1", "node-1", url, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			tr.Record(s)
		}
		if err := tr.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got := spans()
	job, task, attempt := got["millrace-serve job"], got["millrace-serve task"], got["millrace-agent attempt"]
	if job.TraceID != telemetry.TraceID("j1") || attempt.TraceID != job.TraceID || attempt.ParentSpanID != task.SpanID || task.ParentSpanID != job.SpanID || job.ParentSpanID != "" || len(job.SpanID) != 16 {
		t.Errorf("the spans are not under each other: %+v", got)
	}
	if job.StartTimeUnixNano != "1767323045000000000" || job.EndTimeUnixNano != "1767323105000000000" {
		t.Errorf("the job was from %s to %s", job.StartTimeUnixNano, job.EndTimeUnixNano)
	}
	if attempt.Status.Code != 2 || attempt.Status.Message != "lost" || len(attempt.Events) != 1 || attempt.Events[0].Name != "reported" || len(attempt.Attributes) != 2 || attempt.Attributes[1].Value.IntValue != "7" {
		t.Errorf("attempt %+v", attempt)
	}
}

func TestNoTrace(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
	tr, err := telemetry.NewTracer("agent", "v1", "node-1", "", slog.New(slog.DiscardHandler))
	if tr != nil || err != nil {
		t.Fatalf("got %v, %v, want none", tr, err)
	}
	tr.Record(&telemetry.Span{Path: []string{"j"}}) // which is nothing
	if err := tr.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := telemetry.NewTracer("agent", "v1", "node-1", "collector:4317", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a URL that is none was taken")
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics("v1\"\n", func(emit func(*telemetry.Metric, float64, ...string)) {
		emit(telemetry.Jobs, 3, "running")
		emit(telemetry.Jobs, 0.5, "failed")
	})
	m.Appends()(3 * time.Millisecond)
	ready := false
	h := m.Handler(func() bool { return ready })
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		return w
	}
	text := get("/metrics").Body.String()
	for _, want := range []string{
		"# TYPE millrace_jobs gauge\nmillrace_jobs{state=\"failed\"} 0.5\nmillrace_jobs{state=\"running\"} 3\n", `millrace_build_info{version="v1\"\n"} 1`,
		"millrace_append_seconds_bucket{le=\"0.002\"} 0\nmillrace_append_seconds_bucket{le=\"0.005\"} 1\n", "_bucket{le=\"+Inf\"} 1\nmillrace_append_seconds_sum 0.003\nmillrace_append_seconds_count 1\n",
		"\ngo_goroutines ", "\nprocess_resident_memory_bytes ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if code := get("/ready").Code; code != http.StatusServiceUnavailable {
		t.Errorf("not ready: %d", code)
	}
	if ready = true; get("/ready").Code != http.StatusOK {
		t.Error("ready, and does not say so")
	}
}
