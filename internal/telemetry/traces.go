package telemetry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Span is a job, a task or an attempt that has ended.
type Span struct {
	// Path names it: the id of a job; behind it that of a task; behind that, that of an attempt.
	Path         []string
	Began, Ended time.Time
	Fault        string         // what it came to, if not to success
	Attributes   map[string]any // string or int64
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
	url    string
	header http.Header
	who    []attribute
	share  float64 // of jobs
	log    *slog.Logger
	queue  chan *Span
	stop   sync.Once
	over   chan struct{}
	done   chan struct{}
}

const (
	maxQueue  = 8192 // spans that wait; more are lost
	maxBatch  = 512
	sendEvery = 2 * time.Second
	sendTime  = 10 * time.Second
)

// NewTracer returns the tracer of a daemon: serve or agent, on that node. Endpoint is the URL of a collector that speaks OTLP over HTTP; "" means what
// OTEL_EXPORTER_OTLP_ENDPOINT says, and nil if it says nothing. OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS and, for a share of all jobs,
// OTEL_TRACES_SAMPLER=traceidratio with OTEL_TRACES_SAMPLER_ARG hold as well. Nobody waits for the collector: what it does not take in time is lost,
// which the log is told.
func NewTracer(daemon, version, node, endpoint string, log *slog.Logger) (*Tracer, error) {
	to := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	if base := endpoint; to == "" || base != "" {
		if base == "" {
			base = os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
		}
		if base == "" {
			return nil, nil
		}
		to = strings.TrimSuffix(base, "/") + "/v1/traces"
	}
	if u, err := url.Parse(to); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("traces: the collector's URL is not http://host:port or https://host:port") // it may have a password
	}
	t := &Tracer{url: to, header: http.Header{"Content-Type": {"application/json"}}, share: 1, log: log, queue: make(chan *Span, maxQueue), over: make(chan struct{}), done: make(chan struct{}),
		who: []attribute{text("service.name", "millrace-"+daemon), text("service.version", version), text("service.instance.id", node)}}
	for h := range strings.SplitSeq(os.Getenv("OTEL_EXPORTER_OTLP_HEADERS"), ",") {
		if name, value, ok := strings.Cut(h, "="); ok {
			t.header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
		}
	}
	if strings.HasSuffix(os.Getenv("OTEL_TRACES_SAMPLER"), "traceidratio") {
		var err error
		if t.share, err = strconv.ParseFloat(os.Getenv("OTEL_TRACES_SAMPLER_ARG"), 64); err != nil || !(t.share >= 0 && t.share <= 1) {
			return nil, fmt.Errorf("traces: OTEL_TRACES_SAMPLER_ARG=%q is no share from 0 to 1", os.Getenv("OTEL_TRACES_SAMPLER_ARG"))
		}
	}
	go t.run()
	return t, nil
}

// Record sends a span, some time later.
func (t *Tracer) Record(s *Span) {
	if t == nil || len(s.Path) == 0 || len(s.Path) >= len(kinds) {
		return
	}
	id := traceID(s.Path[0])
	if float64(binary.BigEndian.Uint64(id[8:])) > t.share*math.MaxUint64 {
		return
	}
	select {
	case t.queue <- s:
	default: // the collector is slow, or not there: it is told of when sending fails
	}
}

// Close sends what is left, until ctx ends.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	t.stop.Do(func() { close(t.over) })
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *Tracer) run() {
	defer close(t.done)
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	for ending := false; !ending; {
		select {
		case <-tick.C:
		case <-t.over:
			ending = true
		}
		for batch := t.take(); len(batch) > 0; batch = t.take() {
			if err := t.send(batch); err != nil {
				t.log.Warn("traces are lost", "spans", len(batch), "error", err)
				break
			}
		}
	}
}

// take returns spans that wait, without waiting for any.
func (t *Tracer) take() (batch []span) {
	for len(batch) < maxBatch {
		select {
		case s := <-t.queue:
			batch = append(batch, encode(s))
		default:
			return batch
		}
	}
	return batch
}

func (t *Tracer) send(batch []span) error {
	body, err := json.Marshal(export{[]resourceSpans{{resource{t.who}, []scopeSpans{{scope{"millrace"}, batch}}}}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), sendTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = t.header.Clone()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode/100 != 2 {
		return errors.New(resp.Status)
	}
	return nil
}

// TraceID returns the id of a job's trace, in hexadecimal digits.
func TraceID(job string) string { id := traceID(job); return hex.EncodeToString(id[:]) }

// Ids are made of names, so that all who work on a job write one trace, whoever leads it, and no id has to be sent along.
func traceID(job string) (id [16]byte) {
	sum := sha256.Sum256([]byte("millrace trace " + job))
	copy(id[:], sum[:])
	return id
}

func spanID(path []string) string {
	h := sha256.New()
	for _, p := range path {
		fmt.Fprintf(h, "%d %s ", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
