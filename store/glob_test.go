package store

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestGlob(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "abc", true},
		{"*", "a/b", false},
		{"**", "a/b", true},
		{"**", "", true},
		{"a*c", "ac", true},
		{"a*c", "abbc", true},
		{"a*c", "ab/c", false},
		{"a**c", "ab/c", true},
		{"a?c", "abc", true},
		{"a?c", "aéc", true},
		{"a?c", "a\xffc", true},
		{"a?c", "a/c", false},
		{"a?c", "ac", false},
		{"a/**/b", "a/b", true},
		{"a/**/b", "a/x/y/b", true},
		{"a/**/b", "ab", false},
		{"a/**/b", "a/xb", false},
		{"**/b", "b", true},
		{"**/b", "a/b", true},
		{"**/b", "ab", false},
		{"**/*.eml", "2026/01/a.eml", true},
		{"***", "a/b", true},
		{"[a-c]x", "bx", true},
		{"[a-c]x", "dx", false},
		{"[!a-c]x", "dx", true},
		{"[^a-c]x", "ax", false},
		{"[!a]x", "/x", false},
		{"a[/]b", "a/b", false},
		{"[]a]", "]", true},
		{"[a-]", "-", true},
		{`[\]]`, "]", true},
		{"[α-ω]", "λ", true},
		{"{a,b}c", "ac", true},
		{"{a,b}c", "bc", true},
		{"{a,b}c", "cc", false},
		{"{a,{b,d}x}c", "dxc", true},
		{"{,a}b", "b", true},
		{"{2024,2025}/**/*.eml", "2025/01/02/a.eml", true},
		{"{a/,}**/b", "b", true},
		{"a,b}", "a,b}", true},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{`a\b`, "ab", true},
		{"2026/*/*.eml", "2026/01/x.eml", true},
		{"2026/*/*.eml", "2026/01/02/x.eml", false},
		{"a\xff*", "a\xffb", true},
		{"a\xff*", "a\xfeb", false},
	}
	for _, tt := range tests {
		g, err := CompileGlob(tt.pattern)
		if err != nil {
			t.Errorf("CompileGlob(%q): %v", tt.pattern, err)
			continue
		}
		if got := g.Match(tt.name); got != tt.want {
			t.Errorf("CompileGlob(%q).Match(%q) = %v, want %v", tt.pattern, tt.name, got, tt.want)
		}
	}
}

func TestGlobRefuses(t *testing.T) {
	deep := strings.Repeat("{", 100) + strings.Repeat("}", 100)
	tests := []struct{ pattern, want string }{
		{"[", `"[" without "]"`},
		{"[a", `"[" without "]"`},
		{"[]", `"[" without "]"`},
		{`[\`, `"[" without "]"`},
		{"[z-a]", "goes backwards"},
		{"{a", `"{" without "}"`},
		{`a\`, `ends in "\"`},
		{deep, "nested"},
		{strings.Repeat("a", maxPattern+1), "pattern of more than"},
	}
	for _, tt := range tests {
		if _, err := CompileGlob(tt.pattern); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("CompileGlob(%.40q) = %v, want an error with %q", tt.pattern, err, tt.want)
		}
	}
}

// Patterns that take exponential time where a matcher tries one way after the other.
func TestGlobTime(t *testing.T) {
	name := strings.Repeat("a", 1024)
	for _, pattern := range []string{
		strings.Repeat("*a", 500) + "b",
		strings.Repeat("**", 300) + strings.Repeat("a**", 300) + "b",
		strings.Repeat("{a,aa}", 250) + "b",
		strings.Repeat("{*,**}", 250) + "b",
	} {
		g, err := CompileGlob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if g.Match(name) {
			t.Errorf("%.20s… matches %.10s…", pattern, name)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%.20s… took %v", pattern, d)
		}
	}
}

// FuzzGlob compares patterns without classes and braces with what regexp makes of them.
func FuzzGlob(f *testing.F) {
	f.Add("a*/**/b?", "ax/b/c/bd")
	f.Add("**/x", "x")
	f.Add("[a-c]{d,e}", "ad")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		g, err := CompileGlob(pattern)
		if err != nil {
			return
		}
		got := g.Match(name)
		if strings.ContainsAny(pattern, `[{\`) || strings.Contains(pattern, "***") || !utf8.ValidString(pattern) || !utf8.ValidString(name) {
			return
		}
		re := regexp.QuoteMeta(pattern)
		re = regexp.MustCompile(`(^|/)\\\*\\\*/`).ReplaceAllString(re, "$1\x00/")
		re = regexp.MustCompile(`(^|/)\\\*\\\*/`).ReplaceAllString(re, "$1\x00/") // neighbours share a slash
		re = strings.ReplaceAll(re, `\*\*`, `(?s:.*)`)
		re = strings.ReplaceAll(re, `\*`, `[^/]*`)
		re = strings.ReplaceAll(re, `\?`, `[^/]`)
		re = strings.ReplaceAll(re, "\x00/", `(?s:(?:.*/)?)`)
		if strings.Contains(pattern, "\x00") {
			return
		}
		want := regexp.MustCompile("^(?:" + re + ")$").MatchString(name)
		if got != want {
			t.Errorf("CompileGlob(%q).Match(%q) = %v, want %v as %s", pattern, name, got, want, re)
		}
	})
}

func BenchmarkGlob(b *testing.B) {
	g, err := CompileGlob("2026/*/{a,b}*/*.eml")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		g.Match("2026/01/b17/000123.eml")
	}
}

func ExampleCompileGlob() {
	g, err := CompileGlob("{2025,2026}/**/*.eml")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"2026/a.eml", "2026/01/17/b.eml", "2024/a.eml", "2026/a.txt"} {
		fmt.Println(name, g.Match(name))
	}
	// Output:
	// 2026/a.eml true
	// 2026/01/17/b.eml true
	// 2024/a.eml false
	// 2026/a.txt false
}
