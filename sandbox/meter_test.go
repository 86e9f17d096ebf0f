package sandbox

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// What passes a limit of a channel is refused and stops the run with the limit and its figure.
func TestMeterLimits(t *testing.T) {
	for _, tt := range []struct {
		limits Limits
		want   string
	}{
		{Limits{Reads: 2}, "guest stdin limit: more than 2 calls"},
		{Limits{ReadBytes: 20}, "guest stdin limit: more than 20 B"},
		{Limits{Writes: 1}, "guest stdout limit: more than 1 call"},
		{Limits{Output: 10}, "guest output limit: more than 10 B"},
	} {
		ctx, stop := context.WithCancelCause(context.Background())
		defer stop(nil)
		m := newMeter(&Streams{Stdin: strings.NewReader(strings.Repeat("x", 100))}, tt.limits.withDefaults())
		var err error
		for range 3 {
			if tt.limits.Writes+tt.limits.Output > 0 {
				_, err = m.stdout(stop).Write([]byte("12345"))
			} else {
				_, err = io.ReadFull(m.stdin(stop), make([]byte, 10))
			}
		}
		if cause := context.Cause(ctx); !errors.Is(err, ErrLimit) || err.Error() != tt.want || cause == nil || cause.Error() != tt.want {
			t.Errorf("%+v: got %v, stopped by %v, want %s", tt.limits, err, cause, tt.want)
		}
	}
}

// With laps the limits hold for each of them.
func TestMeterLaps(t *testing.T) {
	ctx, stop := context.WithCancelCause(context.Background())
	laps := NewLaps()
	m := newMeter(&Streams{Laps: laps}, Limits{Writes: 2}.withDefaults())
	for range 10 {
		laps.Begin()
		for range 2 {
			if _, err := m.stdout(stop).Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if laps.Passed() {
		t.Error("a limit was passed by several laps together")
	}
	if _, err := m.stdout(stop).Write([]byte("x")); !errors.Is(err, ErrLimit) || !laps.Passed() || ctx.Err() == nil {
		t.Errorf("got %v, passed %v, %v", err, laps.Passed(), ctx.Err())
	}
	if r := m.report(); r.Writes != 21 {
		t.Errorf("%d writes are reported", r.Writes)
	}
}

func TestMeterLog(t *testing.T) {
	for _, tt := range []struct {
		log     string
		limits  Limits
		want    string
		dropped int64
	}{
		{"", Limits{}, "", 0},
		{"a\nb\n", Limits{}, "a\nb\n", 0},
		{"a\nb\nc", Limits{LogLines: 2}, "…b\nc", 1},
		{"a\nb\nc\n", Limits{LogLines: 2}, "…b\nc\n", 1},
		{"a\nb\nc\n", Limits{LogLines: 3}, "a\nb\nc\n", 0},
		{strings.Repeat("line\n", 3000), Limits{}, "…" + strings.Repeat("line\n", 1000), 2000},
		{strings.Repeat("line\n", 100), Limits{Log: 10}, "…line\nline\n", 98},
	} {
		m := newMeter(&Streams{}, tt.limits.withDefaults())
		for _, piece := range strings.SplitAfter(tt.log, "i") {
			if _, err := io.WriteString(m.stderr(), piece); err != nil {
				t.Fatal(err)
			}
		}
		r := m.report()
		if r.Log != tt.want || r.LogDropped != tt.dropped || r.LogLines != countLines(tt.log) {
			t.Errorf("%.20q with %+v: got %d bytes, %d lines, %d dropped, want %d bytes, %d dropped", tt.log, tt.limits, len(r.Log), r.LogLines, r.LogDropped,
				len(tt.want), tt.dropped)
		}
	}
}
