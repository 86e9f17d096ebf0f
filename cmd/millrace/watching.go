package main

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/agent"
	"github.com/millrace/millrace/internal/identity"
	"github.com/millrace/millrace/internal/server"
	"github.com/millrace/millrace/internal/telemetry"
	"github.com/millrace/millrace/job"
)

// A tally counts what has happened since the daemon began. It may be used concurrently.
type tally struct {
	mu       sync.Mutex
	attempts map[[2]string]float64 // by outcome and fault
	bytes    float64
	run      map[string]float64 // seconds, by kind
}

// kind returns the kind of a task.
func kind(t job.TaskID) string {
	if t.IsReduce() {
		return "reduce"
	}
	return "map"
}

func (t *tally) attempt(outcome, fault string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.attempts == nil {
		t.attempts = map[[2]string]float64{}
	}
	t.attempts[[2]string{outcome, fault}]++
}

func (t *tally) committed(task job.TaskID, bytes int64, run time.Duration) {
	t.attempt("committed", "")
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.run == nil {
		t.run = map[string]float64{}
	}
	t.bytes += float64(bytes)
	t.run[kind(task)] += run.Seconds()
}

func (t *tally) emit(emit func(*telemetry.Metric, float64, ...string)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, n := range t.attempts {
		emit(telemetry.Attempts, n, k[0], k[1])
	}
	emit(telemetry.InputBytes, t.bytes)
	for k, s := range t.run {
		emit(telemetry.RunSeconds, s, k)
	}
}

// metrics are a daemon's, with what all have in common.
func metrics(n *identity.Node, t *tally, source telemetry.Source) *telemetry.Metrics {
	return telemetry.NewMetrics(version(), func(emit func(*telemetry.Metric, float64, ...string)) {
		emit(telemetry.Certificate, float64(n.Expires.Unix()))
		t.emit(emit)
		source(emit)
	})
}

// serveMetrics serves them, if an address was given, until stop is called.
func (f *daemonFlags) serveMetrics(ctx context.Context, m *telemetry.Metrics, ready func() bool, log *slog.Logger) (stop func(), err error) {
	if f.Metrics == "" {
		return func() {}, nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", f.Metrics)
	if err != nil {
		return nil, err
	}
	log.Info("metrics", "address", l.Addr().String())
	return listenHTTP(l, m.Handler(ready), log), nil
}

// truth is a truth value as a number.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// emitServer measures a coordinator.
func emitServer(b *server.Board, emit func(*telemetry.Metric, float64, ...string)) {
	p := b.Look()
	emit(telemetry.Epoch, float64(p.Epoch))
	emit(telemetry.Leads, truth(p.Epoch > 0))
	states := map[string]float64{"works": 0, "draining": 0, "quarantined": 0}
	slots := 0
	for _, m := range p.Members {
		switch {
		case m.Quarantined != "":
			states["quarantined"]++
		case m.Draining:
			states["draining"]++
		default:
			states["works"]++
			slots += m.Slots
		}
	}
	for s, n := range states {
		emit(telemetry.Members, n, s)
	}
	emit(telemetry.Slots, float64(slots))
	for _, s := range []server.State{server.Accepted, server.Running, server.Succeeded, server.Failed, server.Cancelled} {
		emit(telemetry.Jobs, float64(p.Jobs[s]), string(s))
	}
	var sum job.Progress
	for _, r := range p.Running {
		sum.Maps, sum.MapTotal, sum.Reduces, sum.ReduceTotal = sum.Maps+r.Maps, sum.MapTotal+r.MapTotal, sum.Reduces+r.Reduces, sum.ReduceTotal+r.ReduceTotal
		sum.Listed, sum.Objects, sum.Failed = sum.Listed+r.Listed, sum.Objects+r.Objects, sum.Failed+r.Failed
	}
	emit(telemetry.Tasks, float64(sum.Maps), "map", "done")
	emit(telemetry.Tasks, float64(sum.MapTotal-sum.Maps), "map", "left")
	emit(telemetry.Tasks, float64(sum.Reduces), "reduce", "done")
	emit(telemetry.Tasks, float64(sum.ReduceTotal-sum.Reduces), "reduce", "left")
	emit(telemetry.Listed, float64(sum.Listed))
	emit(telemetry.Mapped, float64(sum.Objects))
	emit(telemetry.Failed, float64(sum.Failed))
	emit(telemetry.Waiting, float64(p.Waiting))
	emit(telemetry.Leases, float64(p.Leases))
}

// emitNode measures an agent.
func emitNode(n *agent.Node, slots int, emit func(*telemetry.Metric, float64, ...string)) {
	emit(telemetry.NodeSlots, float64(slots))
	if n == nil {
		return
	}
	p := n.Look()
	emit(telemetry.Epoch, float64(p.Epoch))
	emit(telemetry.Alone, truth(p.Alone))
	emit(telemetry.NodeJobs, float64(p.Jobs))
	emit(telemetry.Running, float64(p.Running))
	emit(telemetry.Runs, float64(p.Keeps))
}

// happened notes and traces what a coordinator saw.
func happened(t *tally, tr *telemetry.Tracer, id string, h server.Happening) {
	switch h.What {
	case server.Committed:
		t.committed(h.Attempt.Task, h.Bytes, h.Run)
		tr.Record(&telemetry.Span{
			Path: []string{id, string(h.Attempt.Task)}, Began: h.At.Add(-h.Run - h.Queue), Ended: h.At,
			Attributes: map[string]any{"node": h.Node, "attempts": int64(h.Attempt.Try), "queue_ns": int64(h.Queue), "run_ns": int64(h.Run), "bytes": h.Bytes},
		})
	case server.Refused:
		t.attempt("refused", "")
	case server.AttemptFailed:
		t.attempt("failed", string(h.Fault))
	case server.JobEnded:
		fault := ""
		if h.Reason != "" {
			fault = "failed" // the reason may name objects
		}
		tr.Record(&telemetry.Span{Path: []string{id}, Began: h.At.Add(-h.Run), Ended: h.At, Fault: fault})
	}
}

// worked notes and traces what an agent did.
func worked(t *tally, tr *telemetry.Tracer, node string, w agent.Worked) {
	s := &telemetry.Span{
		Path: []string{w.Job, string(w.Attempt.Task), w.Attempt.String()}, Began: w.Leased, Ended: w.Answered,
		Attributes: map[string]any{"node": node, "kind": kind(w.Attempt.Task)}, Events: []telemetry.Event{{Name: "reported", At: w.Reported}},
	}
	switch c := w.Counters; {
	case c == nil:
		t.attempt("failed", string(w.Fault))
		s.Fault = "failed: " + string(w.Fault)
	case !w.Accepted:
		t.attempt("refused", "")
		s.Fault = "refused"
	default:
		t.committed(w.Attempt.Task, c.Bytes, c.Run)
	}
	if c := w.Counters; c != nil {
		s.Events = append(s.Events, telemetry.Event{Name: "runner has it", At: w.Reported.Add(-c.Run)})
		for name, v := range map[string]int64{
			"objects": c.Objects, "bytes": c.Bytes, "emitted": c.Emitted, "output": c.Output, "queue_ns": int64(c.Queue), "run_ns": int64(c.Run),
			"cpu_ns": int64(c.CPU), "peak_memory": c.PeakMemory, "restored": c.Restored,
		} {
			s.Attributes[name] = v
		}
	}
	tr.Record(s)
}
