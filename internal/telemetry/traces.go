package telemetry

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// A Span is a job, a task or an attempt that has ended.
type Span struct {
	// Path names it: the id of a job; behind it that of a task; behind that, that of an attempt.
	Path         []string
	Began, Ended time.Time
	Fault        string // what it came to, if not to success
	Attributes   map[string]any
	Events       []Event
}

// An Event is something that happened in a span.
type Event struct {
	Name string
	At   time.Time
}

// kinds are the names of spans, by the length of their paths.
var kinds = []string{"", "job", "task", "attempt"}

// A Tracer sends spans to a collector of OpenTelemetry. A nil one does nothing. It may be used concurrently.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// NewTracer returns the tracer of a daemon: serve or agent, on that node. Endpoint is the URL of a collector that speaks OTLP over gRPC; "" means what
// OTEL_EXPORTER_OTLP_ENDPOINT says, and nil if it says nothing. Other variables of OpenTelemetry hold as well. Nobody waits for the collector: what it does
// not take in time is lost, which the log is told.
func NewTracer(ctx context.Context, daemon, version, node, endpoint string, log *slog.Logger) (*Tracer, error) {
	var options []otlptracegrpc.Option
	switch {
	case endpoint != "":
		options = append(options, otlptracegrpc.WithEndpointURL(endpoint))
	case os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "":
		return nil, nil
	}
	exporter, err := otlptracegrpc.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	who, err := resource.Merge(resource.Default(), resource.NewSchemaless(
		attribute.String("service.name", "millrace-"+daemon), attribute.String("service.version", version), attribute.String("service.instance.id", node)))
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces are lost", "error", err) }))
	p := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(who), sdk.WithIDGenerator(named{}))
	return &Tracer{provider: p, tracer: p.Tracer("millrace")}, nil
}

// Record sends a span, some time later.
func (t *Tracer) Record(s *Span) {
	if t == nil || len(s.Path) == 0 || len(s.Path) >= len(kinds) {
		return
	}
	ctx := context.WithValue(context.Background(), pathKey{}, s.Path)
	if up := s.Path[:len(s.Path)-1]; len(up) > 0 {
		ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: traceID(s.Path), SpanID: spanID(up), TraceFlags: trace.FlagsSampled, Remote: true,
		}))
	}
	_, span := t.tracer.Start(ctx, kinds[len(s.Path)], trace.WithTimestamp(s.Began))
	span.SetAttributes(attribute.String("millrace."+kinds[len(s.Path)], s.Path[len(s.Path)-1]))
	for name, v := range s.Attributes {
		switch v := v.(type) {
		case string:
			span.SetAttributes(attribute.String("millrace."+name, v))
		case int64:
			span.SetAttributes(attribute.Int64("millrace."+name, v))
		}
	}
	for _, e := range s.Events {
		span.AddEvent(e.Name, trace.WithTimestamp(e.At))
	}
	if s.Fault != "" {
		span.SetStatus(codes.Error, s.Fault)
	}
	span.End(trace.WithTimestamp(s.Ended))
}

// Close sends what is left, until ctx ends.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// TraceID returns the id of a job's trace, in hexadecimal digits.
func TraceID(job string) string { return traceID([]string{job}).String() }

// Ids are made of names, so that all who work on a job write one trace, whoever leads it, and no id has to be sent along.
func traceID(path []string) (id trace.TraceID) {
	sum := sha256.Sum256([]byte("millrace trace " + path[0]))
	copy(id[:], sum[:])
	return id
}

func spanID(path []string) (id trace.SpanID) {
	h := sha256.New()
	for _, p := range path {
		fmt.Fprintf(h, "%d %s ", len(p), p)
	}
	copy(id[:], h.Sum(nil))
	return id
}

type pathKey struct{}

// named makes ids of the path in the context.
type named struct{}

func (named) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	path := ctx.Value(pathKey{}).([]string)
	return traceID(path), spanID(path)
}

func (named) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	return spanID(ctx.Value(pathKey{}).([]string))
}
