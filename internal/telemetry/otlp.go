package telemetry

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// What follows are the messages of OTLP, as its JSON has them: numbers of 64 bits are strings.

type export struct {
	ResourceSpans []resourceSpans `json:"resourceSpans"`
}

type resourceSpans struct {
	Resource   resource     `json:"resource"`
	ScopeSpans []scopeSpans `json:"scopeSpans"`
}

type resource struct {
	Attributes []attribute `json:"attributes"`
}

type scopeSpans struct {
	Scope scope  `json:"scope"`
	Spans []span `json:"spans"`
}

type scope struct {
	Name string `json:"name"`
}

type attribute struct {
	Key   string `json:"key"`
	Value value  `json:"value"`
}

type value struct {
	String *string `json:"stringValue,omitempty"`
	Int    *string `json:"intValue,omitempty"`
}

type span struct {
	TraceID    string      `json:"traceId"`
	SpanID     string      `json:"spanId"`
	ParentID   string      `json:"parentSpanId,omitempty"`
	Name       string      `json:"name"`
	Kind       int         `json:"kind"` // 1: internal
	Began      string      `json:"startTimeUnixNano"`
	Ended      string      `json:"endTimeUnixNano"`
	Attributes []attribute `json:"attributes,omitempty"`
	Events     []event     `json:"events,omitempty"`
	Status     status      `json:"status,omitzero"`
}

type event struct {
	At   string `json:"timeUnixNano"`
	Name string `json:"name"`
}

type status struct {
	Code    int    `json:"code,omitempty"` // 2: an error
	Message string `json:"message,omitempty"`
}

func text(key, v string) attribute { return attribute{key, value{String: &v}} }

func nanos(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

func encode(s *Span) span {
	kind := kinds[len(s.Path)]
	out := span{
		TraceID: TraceID(s.Path[0]), SpanID: spanID(s.Path), Name: kind, Kind: 1, Began: nanos(s.Began), Ended: nanos(s.Ended),
		Attributes: []attribute{text("millrace."+kind, s.Path[len(s.Path)-1])},
	}
	if up := s.Path[:len(s.Path)-1]; len(up) > 0 {
		out.ParentID = spanID(up)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Attributes)) {
		switch v := s.Attributes[name].(type) {
		case string:
			out.Attributes = append(out.Attributes, text("millrace."+name, v))
		case int64:
			n := strconv.FormatInt(v, 10)
			out.Attributes = append(out.Attributes, attribute{"millrace." + name, value{Int: &n}})
		}
	}
	for _, e := range s.Events {
		out.Events = append(out.Events, event{nanos(e.At), e.Name})
	}
	if s.Fault != "" {
		out.Status = status{2, s.Fault}
	}
	return out
}
