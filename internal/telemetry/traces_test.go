package telemetry_test

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/millrace/millrace/internal/telemetry"
)

// A gathering is a collector of OpenTelemetry.
type gathering struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []*trace.Span
	from  []string // service.name of each
}

func (g *gathering) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, rs := range r.ResourceSpans {
		service := ""
		for _, a := range rs.Resource.Attributes {
			if a.Key == "service.name" {
				service = a.Value.GetStringValue()
			}
		}
		for _, ss := range rs.ScopeSpans {
			g.spans = append(g.spans, ss.Spans...)
			g.from = append(g.from, slices.Repeat([]string{service}, len(ss.Spans))...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func gather(t *testing.T) (g *gathering, url string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g = &gathering{}
	s := grpc.NewServer()
	collector.RegisterTraceServiceServer(s, g)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return g, "http://" + l.Addr().String()
}

// TestTrace has a coordinator and an agent, which know nothing of each other but the names, write one trace.
func TestTrace(t *testing.T) {
	t.Parallel()
	g, url := gather(t)
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, d := range []struct {
		daemon string
		spans  []*telemetry.Span
	}{
		{"serve", []*telemetry.Span{
			{Path: []string{"j1"}, Began: began, Ended: began.Add(time.Minute)},
			{Path: []string{"j1", "m-00000"}, Began: began, Ended: began.Add(2 * time.Second)},
		}},
		{"agent", []*telemetry.Span{{
			Path: []string{"j1", "m-00000", "m-00000.1"}, Began: began, Ended: began.Add(time.Second), Fault: "lost",
			Attributes: map[string]any{"objects": int64(7)}, Events: []telemetry.Event{{Name: "mapped", At: began.Add(time.Millisecond)}},
		}}},
	} {
		tr, err := telemetry.NewTracer(t.Context(), d.daemon, "v1", "node-1", url, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range d.spans {
			tr.Record(s)
		}
		if err := tr.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	byName := map[string]*trace.Span{}
	for i, s := range g.spans {
		byName[g.from[i]+" "+s.Name] = s
	}
	job, task, attempt := byName["millrace-serve job"], byName["millrace-serve task"], byName["millrace-agent attempt"]
	if job == nil || task == nil || attempt == nil {
		t.Fatalf("got %v", byName)
	}
	if string(job.TraceId) != string(attempt.TraceId) || string(attempt.ParentSpanId) != string(task.SpanId) || string(task.ParentSpanId) != string(job.SpanId) || len(job.ParentSpanId) != 0 {
		t.Errorf("the spans are not under each other: %v, %v, %v", job, task, attempt)
	}
	if job.EndTimeUnixNano-job.StartTimeUnixNano != uint64(time.Minute) {
		t.Errorf("the job took %d ns", job.EndTimeUnixNano-job.StartTimeUnixNano)
	}
	if attempt.Status.GetCode() != trace.Status_STATUS_CODE_ERROR || attempt.Status.GetMessage() != "lost" || len(attempt.Events) != 1 || attempt.Events[0].Name != "mapped" {
		t.Errorf("attempt %v", attempt)
	}
}

func TestNoTrace(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
	tr, err := telemetry.NewTracer(t.Context(), "agent", "v1", "node-1", "", slog.New(slog.DiscardHandler))
	if tr != nil || err != nil {
		t.Fatalf("got %v, %v, want none", tr, err)
	}
	tr.Record(&telemetry.Span{Path: []string{"j"}}) // which is nothing
	if err := tr.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
