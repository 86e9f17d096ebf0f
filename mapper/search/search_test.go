package search

import (
	"bytes"
	"strings"
	"testing"
)

// TestBlocks searches texts that take several blocks and batches.
func TestBlocks(t *testing.T) {
	p := MustCompile(`b+`)
	long := strings.Repeat("a", 2*block) + "b"
	tests := []struct {
		name, text     string
		lines, matches int
	}{
		{"empty", "", 0, 0},
		{"many lines", strings.Repeat("abab\naa\n", 50_000), 50_000, 100_000},
		{"one line of several blocks", long, 1, 1},
		{"long lines among others", "ab\n" + long + "\n\n" + long + "\nb", 4, 4},
		{"many matches in a line", strings.Repeat("ab", 1000), 1, 1000},
	}
	for _, tt := range tests {
		text := []byte(tt.text)
		lines, matches := 0, 0
		for line := range p.Lines(text) {
			if bytes.IndexByte(line, 'b') < 0 || bytes.IndexByte(line, '\n') >= 0 {
				t.Fatalf("%s: line %.40q", tt.name, line)
			}
			lines++
		}
		for m := range p.Matches(text) {
			if len(bytes.Trim(m.Text(), "b")) > 0 {
				t.Fatalf("%s: match %.40q", tt.name, m.Text())
			}
			matches++
		}
		if lines != tt.lines || matches != tt.matches || p.Match(text) != (lines > 0) {
			t.Errorf("%s: %d lines and %d matches; want %d and %d", tt.name, lines, matches, tt.lines, tt.matches)
		}
	}
}
