package pattern

import (
	"bytes"
	"slices"
	"testing"
)

// all returns everything that Find finds, a few at a time.
func all(m *Matcher, text []byte, lines bool, most int) (found []Found) {
	for c := (Cursor{}); ; {
		n := m.Find(text, &c, lines, most, func(_ int, f Found) { found = append(found, f) })
		if n < most {
			return found
		}
	}
}

func TestFind(t *testing.T) {
	text := []byte("a bc\nabab\n\nx\n\nbab")
	tests := []struct {
		pattern string
		lines   bool
		want    []Found
	}{
		{`ab?`, true, []Found{{0, 4, 0, 4}, {5, 9, 5, 9}, {14, 17, 14, 17}}},
		{`ab?`, false, []Found{{0, 4, 0, 1}, {5, 9, 5, 7}, {5, 9, 7, 9}, {14, 17, 15, 17}}},
		{`^$`, false, []Found{{10, 10, 10, 10}, {13, 13, 13, 13}}},
		{`x*`, false, []Found{{0, 4, 0, 0}, {0, 4, 1, 1}, {0, 4, 2, 2}, {0, 4, 3, 3}, {0, 4, 4, 4}, {5, 9, 5, 5}, {5, 9, 6, 6}, {5, 9, 7, 7},
			{5, 9, 8, 8}, {5, 9, 9, 9}, {10, 10, 10, 10}, {11, 12, 11, 12}, {13, 13, 13, 13}, {14, 17, 14, 14}, {14, 17, 15, 15},
			{14, 17, 16, 16}, {14, 17, 17, 17}}},
		{`q`, false, nil},
	}
	for _, tt := range tests {
		m, err := Compile([]string{tt.pattern}, Options{Small: true})
		if err != nil {
			t.Fatal(err)
		}
		for most := 1; most < 6; most++ {
			got := all(m, text, tt.lines, most)
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s, %d at a time: got %v, want %v", tt.pattern, most, got, tt.want)
			}
		}
	}
}

// FuzzFind compares Find with Next and Spans, and gives it cursors that it never made.
func FuzzFind(f *testing.F) {
	f.Add(`a?b*`, []byte("x\nab é\n\nbb"), 1, 2, 0, 0)
	f.Add(`\bé|^$`, []byte("é\xff\n\né"), 3, 1, 1, -5)
	f.Fuzz(func(t *testing.T, p string, text []byte, most, line, at, last int) {
		if len(p) > 100 || len(text) > 1000 {
			return
		}
		m, err := Compile([]string{p}, Options{Small: true})
		if err != nil {
			return
		}
		var want, wantLines []Found
		for from := 0; from < len(text); {
			end := len(text)
			if i := bytes.IndexByte(text[from:], '\n'); i >= 0 {
				end = from + i
			}
			l := text[from:end]
			if _, _, ok := m.vm.match(l, 0); ok {
				wantLines = append(wantLines, Found{from, end, from, end})
			}
			for _, s := range m.Spans(l, nil) {
				want = append(want, Found{from, end, from + s[0], from + s[1]})
			}
			from = end + 1
		}
		most = 1 + int(uint(most)%7)
		if got := all(m, text, false, most); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", p, got, want)
		}
		if got := all(m, text, true, most); !slices.Equal(got, wantLines) {
			t.Errorf("%q: got lines %v, want %v", p, got, wantLines)
		}
		for _, lines := range []bool{false, true} {
			c := Cursor{line, at, last}
			for range 5 {
				m.Find(text, &c, lines, most, func(_ int, f Found) {
					if f.From < 0 || f.Start < f.From || f.End < f.Start || f.To < f.End || f.To > len(text) {
						t.Errorf("%q from %v: found %v in a text of %d bytes", p, c, f, len(text))
					}
				})
			}
		}
	})
}
