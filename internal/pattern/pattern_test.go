package pattern

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// lines returns the lines that m finds in text.
func lines(m *Matcher, text string) []string {
	found := []string{}
	m.Reset([]byte(text))
	for at := 0; ; {
		from, to, ok := m.Next(at)
		if !ok {
			return found
		}
		found = append(found, text[from:to])
		at = to + 1
	}
}

func TestNext(t *testing.T) {
	const (
		fold  = 1
		word  = 2
		fixed = 4
	)
	tests := []struct {
		pattern string
		opts    int
		yes, no []string
	}{
		{`invoice \d+`, 0, []string{"an invoice 12", "invoice \u0661"}, []string{"invoice", "invoice x"}},
		{`ask`, fold, []string{"ASK", "a\u017fK", "a\u017f\u212a"}, []string{"as", "ak"}},
		{`ς`, fold, []string{"Σ", "σ", "ς"}, []string{"s"}},
		{`[^a]`, fold, []string{"b", "é"}, []string{"aA", "\xff", "a\x80"}},
		{`.`, 0, []string{"\x00", "\r", "日"}, []string{"", "\xff", "\xed\xa0\x80"}},
		{`(?-u:.)`, 0, []string{"\xff", "a"}, []string{""}},
		{`(?-u:\xff)`, 0, []string{"a\xff"}, []string{"ÿ"}},
		{`\xff`, 0, []string{"ÿ"}, []string{"\xff"}},
		{`\w`, 0, []string{"é", "_", "\u0301", "\u203f"}, []string{"-", "\xe9", "€"}},
		{`(?-u:\w)`, 0, []string{"a"}, []string{"é"}},
		{`\bé\b`, 0, []string{"é", "a é-"}, []string{"aé", "éa"}},
		{`(?-u:\b)é`, 0, []string{"aé"}, []string{"é"}},
		{`x\B`, 0, []string{"xy", "xé"}, []string{"x", "x-", "x\xff"}},
		{`\B`, 0, []string{"", "ab", "-"}, []string{"a", "日"}},
		{`foo`, word, []string{"foo", "a foo.", "-foo"}, []string{"foos", "éfoo", "\xfffoo"}},
		{`a b`, word, []string{"a b", "x a b"}, []string{"a bc"}},
		{`^$`, 0, []string{""}, []string{"a", "\r"}},
		{`a$`, 0, []string{"ba"}, []string{"ba\r", "ab"}},
		{`\Aa\z`, 0, []string{"a"}, []string{"ba"}},
		{`a.c`, fixed, []string{"xa.c"}, []string{"abc"}},
		{`a.C`, fixed | fold, []string{"A.c"}, []string{"abc"}},
		{`(?i)a(?-i)b|c`, 0, []string{"Ab", "c"}, []string{"AB", "C"}},
		{`(?i:a)b`, 0, []string{"Ab"}, []string{"AB"}},
		{`[[:alpha:]&&[^aeiou]]{2}`, 0, []string{"bc"}, []string{"aba", "éé"}},
		{`[a-z--b]c`, 0, []string{"ac"}, []string{"bc"}},
		{`[a-c~~b-d]x`, 0, []string{"ax", "dx"}, []string{"bx", "cx"}},
		{`[]a]`, 0, []string{"]", "a"}, []string{"["}},
		{`[a-]`, 0, []string{"-"}, []string{"b"}},
		{`\p{Greek}|\p{Lu}\pN|\P{ASCII}{3}`, 0, []string{"λ", "É1", "日本語"}, []string{"é1", "日本"}},
		{`\p{script=Cyrillic}`, 0, []string{"п"}, []string{"p"}},
		{`a{2,3}?b`, 0, []string{"aab", "aaaab"}, []string{"ab"}},
		{`(?x) a  b # comment`, 0, []string{"ab"}, []string{"a b"}},
		{`(?P<year>\d{4})`, 0, []string{"2026"}, []string{"202"}},
		{`[^\x00-\x7f]`, 0, []string{"é"}, []string{"e", "\xe9"}},
		{`\u00e9|\x{1F600}|\U000000e8`, 0, []string{"é", "😀", "è"}, []string{"e"}},
		{`[\n]`, 0, nil, []string{"", "n"}},
		{`a\s`, 0, []string{"a\u00a0", "a\v"}, []string{"a"}},
		{``, 0, []string{"", "x"}, nil},
	}
	for _, tt := range tests {
		m, err := Compile([]string{tt.pattern}, Options{Fixed: tt.opts&fixed != 0, Fold: tt.opts&fold != 0, Word: tt.opts&word != 0})
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		all := slices.Concat(tt.yes, tt.no, tt.yes)
		want := slices.Concat([]string{}, tt.yes, tt.yes)
		for _, end := range []string{"", "\n"} {
			if end == "" && all[len(all)-1] == "" {
				continue // no line at all
			}
			if got := lines(m, strings.Join(all, "\n")+end); !slices.Equal(got, want) {
				t.Errorf("%s: got %q, want %q", tt.pattern, got, want)
			}
		}
	}
}

func TestSpans(t *testing.T) {
	tests := []struct {
		pattern string
		word    bool
		line    string
		want    [][2]int
	}{
		{`a+?`, false, "aab", [][2]int{{0, 1}, {1, 2}}},
		{`a+`, false, "aab a", [][2]int{{0, 2}, {4, 5}}},
		{`ab|abc`, false, "abc", [][2]int{{0, 2}}},
		{`foo`, true, "foo foo foos foo", [][2]int{{0, 3}, {4, 7}, {13, 16}}},
		{`x*`, false, "axé", [][2]int{{0, 0}, {1, 2}, {4, 4}}},
		{`q`, false, "abc", nil},
		{`$`, false, "ab", [][2]int{{2, 2}}},
	}
	for _, tt := range tests {
		m, err := Compile([]string{tt.pattern}, Options{Word: tt.word})
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Spans([]byte(tt.line), nil); !slices.Equal(got, tt.want) {
			t.Errorf("%s in %q: got %v, want %v", tt.pattern, tt.line, got, tt.want)
		}
	}
}

func TestErrors(t *testing.T) {
	tests := []struct{ pattern, want string }{
		{`a(b`, `pattern "a(b" at 1: unclosed group`},
		{`a)b`, `pattern "a)b" at 1: unopened group`},
		{`*a`, `pattern "*a" at 0: * repeats nothing`},
		{`a|+`, `pattern "a|+" at 2: + repeats nothing`},
		{`a{`, `pattern "a{" at 1: repetition without a number (a plain brace is written \{)`},
		{`a{2`, `pattern "a{2" at 1: unclosed counted repetition (a plain brace is written \{)`},
		{`a{3,2}`, `pattern "a{3,2}" at 1: repetition of {3,2}`},
		{`a{999999999}`, `pattern "a{999999999}" at 1: repetition of more than 100000`},
		{`[a`, `pattern "[a" at 0: unclosed class`},
		{`[b-a]`, `pattern "[b-a]" at 1: bad range of characters`},
		{`\`, `pattern "\\" at 0: nothing follows the last backslash`},
		{`\q`, `pattern "\\q" at 0: unknown escape \q`},
		{`(a)\1`, `pattern "(a)\\1" at 3: references to groups are not supported`},
		{`a(?=b)`, `pattern "a(?=b)" at 1: look-around is not supported`},
		{`(?<!b)`, `pattern "(?<!b)" at 0: bad name of a group (look-around is not supported)`},
		{`(?z)`, `pattern "(?z)" at 2: unknown flag 'z'`},
		{`\p{Klingon}`, `pattern "\\p{Klingon}" at 0: unknown Unicode class "Klingon"`},
		{`\x{d800}`, `pattern "\\x{d800}" at 0: "d800" is no character in hexadecimal`},
		{`a\nb`, `pattern "a\\nb" at 1: a line holds no line feed`},
		{strings.Repeat("(", 300), `at 250: nested more than 250 deep`},
		{strings.Repeat("[", 300), `at 250: nested more than 250 deep`},
	}
	for _, tt := range tests {
		_, err := Compile([]string{"fine", tt.pattern}, Options{})
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !strings.HasSuffix(err.Error(), tt.want) {
			t.Errorf("%.20s: got %v, want %s", tt.pattern, err, tt.want)
		}
	}
	if testing.Short() {
		t.Log("-short: no patterns that are too large") // to see that takes the race detector half a minute
		return
	}
	for _, large := range []string{`\w{5000}`, `((a{1000}){1000}){1000}`, `((^{1000}){1000}){1000}`, `(\pL{100}){1000}`} {
		start := time.Now()
		if _, err := Compile([]string{large}, Options{}); !errors.Is(err, errTooLarge) {
			t.Errorf("%.20s: got %v, want %v", large, err, errTooLarge)
		}
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("%.20s: refused after %v", large, d)
		}
	}
}

func TestTooManyClasses(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: to see that they are too many takes the race detector half a minute")
	}
	start := time.Now()
	for _, patterns := range [][]string{{strings.Repeat(`\w*`, 20000)}, {strings.Repeat(`[\W_]`, 10000)}, slices.Repeat([]string{`\pL`}, 20000)} {
		if _, err := Compile(patterns, Options{}); err == nil || !strings.HasSuffix(err.Error(), "too many classes of characters") {
			t.Errorf("%.20s: got %v", patterns[0], err)
		}
	}
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("refused after %v", d)
	}
}

// TestTableBound lets a dfa fill its table several times.
func TestTableBound(t *testing.T) {
	m, err := Compile([]string{`[ab]*a[ab]{14}c`}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	length := 1 << 19
	if testing.Short() {
		length = 1 << 17
	}
	var text []byte
	x := uint32(1)
	for range length {
		x = x*1664525 + 1013904223
		text = append(text, "ab"[x>>31])
	}
	text = append(text, "a01234567890123\n"...)
	text = append(text, "abbbbbbbbbbbbbbc\n"...)
	m.dfa.quits = false
	m.finders = nil
	m.dfa.limit = 1 << 16
	if got := lines(m, string(text)); len(got) != 1 || got[0] != "abbbbbbbbbbbbbbc" {
		t.Errorf("got %d lines", len(got))
	}
	if n := cap(m.dfa.next); n > 1<<18 {
		t.Errorf("table of %d entries, limit %d", n, m.dfa.limit)
	}
}

func TestAllocations(t *testing.T) {
	text := []byte(strings.Repeat("The quick brown fox\njumps over the lazy dog, invoice 12\n", 50))
	for _, p := range []string{`invoice \d+`, `(?i)invoice \d+`, `\d{2}`, `\w+ \d`, `dog|fox`, `\bfox`} {
		m, err := Compile([]string{p}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		search := func() {
			m.Reset(text)
			for at := 0; ; {
				_, to, ok := m.Next(at)
				if !ok {
					break
				}
				at = to + 1
			}
		}
		search()
		if n := testing.AllocsPerRun(10, search); n > 0 {
			t.Errorf("%s: %v allocations for each text", p, n)
		}
	}
}

func ExampleMatcher_Next() {
	m, err := Compile([]string{`invoice \d+`}, Options{Fold: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	text := []byte("Dear all,\nInvoice 1234 is due.\n")
	m.Reset(text)
	for at := 0; ; {
		from, to, ok := m.Next(at)
		if !ok {
			break
		}
		fmt.Printf("%s %v\n", text[from:to], m.Spans(text[from:to], nil))
		at = to + 1
	}
	// Output: Invoice 1234 is due. [[0 12]]
}

// FuzzNext compares what finders and dfa find with what the vm finds line by line.
func FuzzNext(f *testing.F) {
	for _, p := range []string{`invoice \d+`, `(a|bc)+d?`, `\bx\B|^é$`, `[^a-c]k{1,2}s`, `(?i)straße|(?-u:\xff)`, `a?b*`, `(foo|bar)(baz|)q`, `\w\s\d`} {
		for flags := range 8 {
			f.Add(p, []byte("invoice 12\nbcad é\n\nK\u212as\u017f STRASSE stra\u00dfe\xff foobazq\nx y 1\n"), byte(flags))
		}
	}
	f.Fuzz(func(t *testing.T, p string, text []byte, flags byte) {
		if len(p) > 200 || len(text) > 2000 {
			return
		}
		m, err := Compile([]string{p}, Options{Fixed: flags&4 != 0 && !strings.Contains(p, "\n"), Fold: flags&1 != 0, Word: flags&2 != 0})
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		want := []string{}
		for line := range bytes.Lines(text) {
			line = bytes.TrimSuffix(line, []byte("\n"))
			if _, _, ok := m.vm.match(line, 0); ok {
				want = append(want, string(line))
			}
		}
		if got := lines(m, string(text)); !slices.Equal(got, want) {
			t.Errorf("%q (flags %d): got %q, want %q", p, flags, got, want)
		}
	})
}
