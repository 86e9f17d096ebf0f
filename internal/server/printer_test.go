package server

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millrace/millrace/job"
)

// A said is one call of a printer.
type said struct {
	task job.TaskID
	try  int
	text string // "" means Done
	more bool
}

func TestPrinter(t *testing.T) {
	for name, c := range map[string]struct {
		ordered bool
		limit   int64
		said    []said
		want    string
		enough  bool
	}{
		"as it comes":        {said: []said{{"m-00001", 1, "b\n", false}, {"m-00000", 1, "a\n", false}}, want: "b\na\n"},
		"ordered":            {ordered: true, said: []said{{"m-00001", 1, "b\n", false}, {"m-00001", 1, "", false}, {"m-00000", 1, "a\n", false}, {"m-00000", 1, "", false}}, want: "a\nb\n"},
		"ordered, not done":  {ordered: true, said: []said{{"m-00001", 1, "b\n", false}, {"m-00000", 1, "a\n", false}}, want: "a\n"},
		"retry":              {said: []said{{"m-00000", 1, "a\nb\n", false}, {"m-00000", 2, "a\n", false}, {"m-00000", 2, "b\n", false}, {"m-00000", 2, "c\n", false}}, want: "a\nb\nc\n"},
		"retry, other cuts":  {said: []said{{"m-00000", 1, "a\n", false}, {"m-00000", 2, "a\nb\n", false}}, want: "a\nb\n"},
		"retry of half":      {said: []said{{"m-00000", 1, "long", true}, {"m-00000", 2, "long", true}, {"m-00000", 2, "er\n", false}}, want: "longer\n"},
		"ordered retry":      {ordered: true, said: []said{{"m-00001", 1, "b\n", false}, {"m-00001", 2, "b\n", false}, {"m-00001", 2, "", false}, {"m-00000", 1, "", false}}, want: "b\n"},
		"halves do not mix":  {said: []said{{"m-00000", 1, "a", true}, {"m-00001", 1, "b\n", false}, {"m-00000", 1, "a\n", false}}, want: "b\naa\n"},
		"half is not shown":  {said: []said{{"m-00000", 1, "a\n", true}}},
		"limit":              {limit: 2, said: []said{{"m-00000", 1, "a\nb\nc\n", false}}, want: "a\nb\n", enough: true},
		"limit met":          {limit: 2, said: []said{{"m-00000", 1, "a\nb\n", false}}, want: "a\nb\n", enough: true},
		"limit, two tasks":   {limit: 3, said: []said{{"m-00000", 1, "a\nb\n", false}, {"m-00001", 1, "c\nd\n", false}, {"m-00001", 1, "e\n", false}}, want: "a\nb\nc\n", enough: true},
		"limit and a retry":  {limit: 3, said: []said{{"m-00000", 1, "a\nb\n", false}, {"m-00000", 2, "a\nb\n", false}}, want: "a\nb\n"},
		"reducers in order":  {said: []said{{"m-00000", 1, "", false}, {"r-00001", 1, "y\n", false}, {"r-00001", 1, "", false}, {"r-00000", 1, "x\n", false}, {"r-00000", 1, "", false}}, want: "x\ny\n"},
		"ordered and limits": {ordered: true, limit: 2, said: []said{{"m-00001", 1, "b\nc\n", false}, {"m-00001", 1, "", false}, {"m-00000", 1, "a\n", false}, {"m-00000", 1, "", false}}, want: "a\nb\n", enough: true},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			var cause error
			p := &printer{w: &out, limit: c.limit, order: c.ordered, stop: func(err error) { cause = err }, tasks: map[job.TaskID]*printed{}, next: job.MapTask(0)}
			for _, s := range c.said {
				a := job.AttemptID{Task: s.task, Try: s.try}
				if s.text == "" {
					_ = p.Done(a)
				} else {
					_ = p.Print(a, []byte(s.text), s.more)
				}
			}
			if got := out.String(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if n, _ := p.printed(); n != int64(strings.Count(c.want, "\n")) {
				t.Errorf("%d lines were counted", n)
			}
			if errors.Is(cause, errEnough) != c.enough {
				t.Errorf("stopped for %v", cause)
			}
			if err := p.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSpool(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, spoolMemory, spoolMemory + 1, 3*spoolMemory + 17} {
		var s spool
		var want bytes.Buffer
		for want.Len() < size {
			b := make([]byte, min(1+r.IntN(300_000), size-want.Len()))
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			want.Write(b)
			if err := s.write(b); err != nil {
				t.Fatal(err)
			}
		}
		var got bytes.Buffer
		if err := s.drain(func(p []byte) error { got.Write(p); return nil }); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("%d bytes: got %d others", size, got.Len())
		}
		if s.file != nil || len(s.buf) > 0 {
			t.Errorf("%d bytes: not empty after drain", size)
		}
	}
}
