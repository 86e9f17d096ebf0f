// Package search finds lines that match regular expressions, with the syntax of millrace grep: that of Rust's regex crate with Unicode, line by line, on
// bytes that need not be UTF-8. A program that runs as WebAssembly has its runner search, many times faster than it could itself, and does not
// grow by the code for it; elsewhere the same code is linked in. Results are the same.
//
//	.  [^a]  \W  …     match a character in valid UTF-8, never a stray byte (but (?-u:.) does)
//	\d \w \s \b        are Unicode's
//	^  $  \A  \z       are the start and end of a line; a carriage return before its end belongs to the line
//
// Time grows with the length of the text, but finding every match in one very long line may take its square.
package search

import (
	"bytes"
	"iter"
)

// Options say how a pattern is meant. Nil means none of them.
type Options struct {
	Fixed bool // as plain text
	Fold  bool // by simple case folding
	Word  bool // between characters that belong to no word
}

// A Pattern is a compiled pattern. Compile patterns in variables of the package, where it is done once and not for each object. It is not safe
// for concurrent use.
type Pattern struct {
	p    platform
	text string
}

// Compile compiles a pattern of at most 64 KiB. Its error is one line. A pattern takes half a megabyte of memory and more; all that a program
// that runs as WebAssembly compiles share 64 MiB. They are never given back: join patterns by "|" rather than compiling many.
func Compile(pattern string, o *Options) (*Pattern, error) {
	if o == nil {
		o = &Options{}
	}
	p := &Pattern{text: pattern}
	if err := p.p.compile(pattern, o); err != nil {
		return nil, err
	}
	return p, nil
}

// MustCompile is like Compile without options and panics if the pattern is wrong.
func MustCompile(pattern string) *Pattern {
	p, err := Compile(pattern, nil)
	if err != nil {
		panic("search: " + err.Error())
	}
	return p
}

// String returns the pattern as it was given to Compile.
func (p *Pattern) String() string { return p.text }

// A Match is one match: Line[Start:End]. Line is a line of the text without its line feed.
type Match struct {
	Line       []byte
	Start, End int
}

// Text returns what matched.
func (m Match) Text() []byte { return m.Line[m.Start:m.End] }

// Lines yields the lines of text that match, without their line feeds. They belong to text.
func (p *Pattern) Lines(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		p.find(text, true, func(m Match) bool { return yield(m.Line) })
	}
}

// Matches yields the matches in text from the first to the last, in each line from the left and none within another.
func (p *Pattern) Matches(text []byte) iter.Seq[Match] {
	return func(yield func(Match) bool) { p.find(text, false, yield) }
}

// Match reports whether a line of text matches.
func (p *Pattern) Match(text []byte) bool {
	for range p.Lines(text) {
		return true
	}
	return false
}

const (
	block = 64 << 10 // about as much text is searched in one go
	batch = 32       // matches are found in one go
)

// A found is a match in a block: bounds of its line, and its own.
type found struct{ from, to, start, end offset }

// A cursor is where in a block to go on.
type cursor struct{ line, at, last offset }

// find calls yield with what is found until it returns false. What is sought is found in blocks of whole lines: where a batch ends within one, some of
// the work for the rest of it is done again.
func (p *Pattern) find(text []byte, lines bool, yield func(Match) bool) {
	for len(text) > 0 {
		b := text
		if len(text) > block {
			end := bytes.LastIndexByte(text[:block], '\n')
			if end < 0 {
				if end = bytes.IndexByte(text[block:], '\n'); end >= 0 {
					end += block
				}
			}
			if end >= 0 {
				b = text[:end+1]
			}
		}
		text = text[len(b):]
		var results [batch]found
		for c, n := (cursor{}), batch; n == batch; {
			n = p.p.find(b, lines, &c, &results)
			for _, f := range results[:n] {
				if !yield(Match{b[f.from:f.to:f.to], len(b[f.from:f.start]), len(b[f.from:f.end])}) {
					return
				}
			}
		}
	}
}
