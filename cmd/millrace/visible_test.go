package main

import (
	"strings"
	"testing"
	"unicode/utf8"
)

var visibleTests = []struct{ in, want string }{
	{"plain\ttext\n", "plain\ttext\n"},
	{"grün 日本", "grün 日本"},
	{"\x1b[2Jx", `\x1b[2Jx`},
	{"a\rb", `a\x0db`},
	{"\u009b31m", `\u009b31m`},
	{"a\u202eb", `a\u202eb`},
	{"a\xffb\xef", `a\xffb\xef`},
	{"\x7f\x00", `\x7f\x00`},
}

func TestVisible(t *testing.T) {
	for _, tt := range visibleTests {
		if got := visible(tt.in); got != tt.want {
			t.Errorf("visible(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

// However the text is cut into writes, the same comes out.
func TestVisibleWriter(t *testing.T) {
	var in, want strings.Builder
	for _, tt := range visibleTests {
		in.WriteString(tt.in + " ")
		want.WriteString(tt.want + " ")
	}
	for size := 1; size < 9; size++ {
		var got strings.Builder
		w := &visibleWriter{w: &got}
		for rest := in.String(); rest != ""; {
			n := min(size, len(rest))
			if m, err := w.Write([]byte(rest[:n])); m != n || err != nil {
				t.Fatalf("Write = %d, %v, want %d", m, err, n)
			}
			rest = rest[n:]
		}
		if got.String() != want.String() {
			t.Errorf("in writes of %d: got %q, want %q", size, got.String(), want.String())
		}
	}
}

func FuzzVisible(f *testing.F) {
	for _, tt := range visibleTests {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := visible(s)
		if !utf8.ValidString(out) || strings.IndexFunc(out, acts) >= 0 {
			t.Errorf("visible(%q) = %q", s, out)
		}
	})
}
