package sim

import "time"

// An event is something that happens at a time.
type event struct {
	at   time.Duration
	kind kind
	slot int32 // or node
	run  int32 // of the slot: what was begun earlier there says nothing any more
}

// A kind of event.
type kind byte

const (
	asks kind = iota
	ends
	withdraws
	dies
	missed
	beats
	ticks
)

// Events are a heap, the earliest first; of those at one time, in no order that matters, but always the same.
type events []event

func (h *events) push(e event) {
	*h = append(*h, e)
	s := *h
	for i := len(s) - 1; i > 0 && s[i].at < s[(i-1)/2].at; i = (i - 1) / 2 {
		s[i], s[(i-1)/2] = s[(i-1)/2], s[i]
	}
}

func (h *events) pop() event {
	s := *h
	e, end := s[0], len(s)-1
	s[0] = s[end]
	s = s[:end]
	*h = s
	for i := 0; ; {
		child := 2*i + 1
		if child+1 < end && s[child+1].at < s[child].at {
			child++
		}
		if child >= end || s[child].at >= s[i].at {
			return e
		}
		s[i], s[child] = s[child], s[i]
		i = child
	}
}
