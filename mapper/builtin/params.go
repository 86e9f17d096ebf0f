package builtin

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// GrepParams are the parameters of grep, typed. A job carries them as Encode writes them.
type GrepParams struct {
	Patterns []string // regular expressions, as ripgrep understands them; a line that matches one matches
	Fixed    bool     // the patterns are plain text

	IgnoreCase bool // letters match by simple case folding
	Word       bool // a match must stand between characters that belong to no word
	Invert     bool // lines that do not match count as matching

	Count    bool // print KEY:COUNT only, for objects with matching lines
	Files    bool // print KEY only, for objects with matching lines
	JSON     bool // print an object of JSON for each matching line; context is not printed
	MaxCount int  // stop after so many matching lines of an object; 0 means never

	Before   int  // lines of context printed before a matching line
	After    int  // and after it
	Separate bool // with context, print "--" also before the first group of lines of an object

	Color    bool // mark names, line numbers and matches for a terminal
	Escape   bool // show control characters and what else could drive a terminal as \x1b or \u{202e}
	NoName   bool // print no name of the object
	NoNumber bool // print no line numbers
	URI      bool // the name is the whole URI, not the key
}

// Names of grep's parameters, in the order of GrepParams's fields.
const (
	paramPatterns   = "patterns" // separated by line feeds, which no pattern can hold
	paramFixed      = "fixed"    // flags are "true", or absent
	paramIgnoreCase = "ignore-case"
	paramWord       = "word"
	paramInvert     = "invert"
	paramCount      = "count"
	paramFiles      = "files-with-matches"
	paramJSON       = "json"
	paramMaxCount   = "max-count" // numbers in decimal, absent for 0
	paramBefore     = "before"
	paramAfter      = "after"
	paramSeparate   = "separate"
	paramColor      = "color"
	paramEscape     = "escape"
	paramNoName     = "no-name"
	paramNoNumber   = "no-number"
	paramURI        = "uri"
)

const (
	maxPatterns = 64 << 10 // bytes of all patterns
	maxContext  = 10_000   // lines of context
)

// flags pairs the names of boolean parameters with their fields.
func (p *GrepParams) flags() map[string]*bool {
	return map[string]*bool{
		paramFixed: &p.Fixed, paramIgnoreCase: &p.IgnoreCase, paramWord: &p.Word, paramInvert: &p.Invert,
		paramCount: &p.Count, paramFiles: &p.Files, paramJSON: &p.JSON, paramSeparate: &p.Separate, paramColor: &p.Color, paramEscape: &p.Escape,
		paramNoName: &p.NoName, paramNoNumber: &p.NoNumber, paramURI: &p.URI,
	}
}

// numbers pairs the names of numeric parameters with their fields.
func (p *GrepParams) numbers() map[string]*int {
	return map[string]*int{paramMaxCount: &p.MaxCount, paramBefore: &p.Before, paramAfter: &p.After}
}

// Encode returns p as the parameters of a job.
func (p GrepParams) Encode() map[string]string {
	m := map[string]string{paramPatterns: strings.Join(p.Patterns, "\n")}
	for name, field := range p.flags() {
		if *field {
			m[name] = "true"
		}
	}
	for name, field := range p.numbers() {
		if *field != 0 {
			m[name] = strconv.Itoa(*field)
		}
	}
	return m
}

// ParseGrepParams is the inverse of Encode. It refuses parameters that grep does not have. It does not compile the
// patterns; CheckGrep does that, too.
func ParseGrepParams(params map[string]string) (*GrepParams, error) {
	p := new(GrepParams)
	flags, numbers := p.flags(), p.numbers()
	for name, value := range params {
		if name == paramPatterns {
			p.Patterns = strings.Split(value, "\n")
			continue
		}
		if field, ok := flags[name]; ok {
			b, err := strconv.ParseBool(value)
			if err != nil {
				return nil, fmt.Errorf("parameter %s: %q is neither true nor false", name, value)
			}
			*field = b
			continue
		}
		field, ok := numbers[name]
		if !ok {
			return nil, fmt.Errorf("parameter %q: grep has none of that name", name)
		}
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("parameter %s: %q is not a number of lines", name, value)
		}
		*field = int(n)
	}
	return p, p.check()
}

func (p *GrepParams) check() error {
	if len(p.Patterns) == 0 {
		return errors.New("parameter patterns: no pattern")
	}
	size := 0
	for _, s := range p.Patterns {
		size += len(s)
		if !utf8.ValidString(s) {
			return fmt.Errorf("pattern %q is not valid UTF-8", s)
		}
		if strings.Contains(s, "\n") {
			return fmt.Errorf("pattern %q holds a line feed, which no line does", s)
		}
	}
	switch {
	case size > maxPatterns:
		return fmt.Errorf("parameter patterns: %d bytes of patterns, at most %d are allowed", size, maxPatterns)
	case p.Before > maxContext || p.After > maxContext:
		return fmt.Errorf("at most %d lines of context are allowed", maxContext)
	case p.Count && p.Files, p.Count && p.JSON, p.Files && p.JSON:
		return errors.New("only one of count, files-with-matches and json is possible")
	case p.MaxCount < 0 || p.Before < 0 || p.After < 0:
		return errors.New("max-count, before and after cannot be negative")
	}
	return nil
}
