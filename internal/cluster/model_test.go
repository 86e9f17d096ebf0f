package cluster

import (
	"fmt"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"
)

// A state is a log, and who may append to it.
type state struct {
	epoch  uint64
	writer int // of that epoch
	log    string
}

// An act is what one Log was asked to do. In a log, a lead is its epoch and "!", and an append its records.
type act struct {
	kind   string // "lead", "append", "read"
	writer int
	epoch  uint64
	text   string // of an append
}

// An outcome is what it came to.
type outcome struct {
	fenced bool
	text   string // of a read
}

func (a act) words() string {
	if a.kind == "lead" {
		return fmt.Sprintf("%d! ", a.epoch)
	}
	return a.text
}

// logModel is a log as it should be.
var logModel = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, in, out any) (bool, any) {
		st, a, o := s.(state), in.(act), out.(outcome)
		switch {
		case a.kind == "lead" && o.fenced:
			return st.epoch >= a.epoch, st
		case a.kind == "lead":
			return st.epoch < a.epoch, state{a.epoch, a.writer, st.log + a.words()}
		case a.kind == "append" && o.fenced:
			return st.writer != a.writer, st
		case a.kind == "append":
			return st.writer == a.writer && st.epoch == a.epoch, state{st.epoch, st.writer, st.log + a.words()}
		case o.text == st.log:
			return true, st
		}
		// Who leads no longer may read a log that is older, but never without what is its own.
		own := max(strings.LastIndex(st.log, fmt.Sprintf("%d! ", a.epoch)), strings.LastIndex(st.log, fmt.Sprintf("w%d.", a.writer)))
		return st.writer != a.writer && own >= 0 && len(o.text) > own && strings.HasPrefix(st.log, o.text), st
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
}

// op is an operation that was called and returned at those times.
func op(call, ret int64, a act, o outcome) porcupine.Operation {
	return porcupine.Operation{ClientId: a.writer, Input: a, Call: call, Output: o, Return: ret}
}

func TestLogModel(t *testing.T) {
	lead1, lead2 := act{"lead", 1, 1, ""}, act{"lead", 2, 2, ""}
	a, b := act{"append", 1, 1, "w1.a "}, act{"append", 2, 2, "w2.b "}
	read1, read2 := act{"read", 1, 1, ""}, act{"read", 2, 2, ""}
	no := outcome{}
	for _, tt := range []struct {
		name string
		ops  []porcupine.Operation
		want bool
	}{
		{"one after the other", []porcupine.Operation{op(1, 2, lead1, no), op(3, 4, a, no), op(5, 6, lead2, no), op(7, 8, read2, outcome{text: "1! w1.a 2! "})}, true},
		{"an append that was acknowledged is lost", []porcupine.Operation{op(1, 2, lead1, no), op(3, 4, a, no), op(5, 6, lead2, no), op(7, 8, read2, outcome{text: "1! 2! "})}, false},
		{"an append by who leads no longer", []porcupine.Operation{op(1, 2, lead1, no), op(3, 4, lead2, no), op(5, 6, a, no)}, false},
		{"the same, while it was deposed", []porcupine.Operation{op(1, 2, lead1, no), op(3, 6, lead2, no), op(4, 5, a, no)}, true},
		{"fenced without a reason", []porcupine.Operation{op(1, 2, lead1, no), op(3, 4, a, outcome{fenced: true})}, false},
		{"fenced", []porcupine.Operation{op(1, 2, lead1, no), op(3, 4, lead2, no), op(5, 6, a, outcome{fenced: true})}, true},
		{"two lead one epoch", []porcupine.Operation{op(1, 2, lead1, no), op(3, 4, act{"lead", 2, 1, ""}, no)}, false},
		{"another order than that of the acknowledgements", []porcupine.Operation{op(1, 2, lead1, no), op(3, 4, a, no), op(5, 6, act{"append", 1, 1, "w1.b "}, no),
			op(7, 8, read1, outcome{text: "1! w1.b w1.a "})}, false},
		{"a stale read by the leader", []porcupine.Operation{op(1, 2, lead1, no), op(3, 4, a, no), op(5, 6, read1, outcome{text: "1! "})}, false},
		{"a stale read by who leads no longer", []porcupine.Operation{op(1, 2, lead1, no), op(3, 4, lead2, no), op(5, 6, b, no), op(7, 8, read1, outcome{text: "1! "})}, true},
		{"but without its own", []porcupine.Operation{op(1, 2, lead1, no), op(3, 4, a, no), op(5, 6, lead2, no), op(7, 8, read1, outcome{text: "1! "})}, false},
	} {
		if got := porcupine.CheckOperations(logModel, tt.ops); got != tt.want {
			t.Errorf("%s: linearizable %v, want %v", tt.name, got, tt.want)
		}
	}
}
