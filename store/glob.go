package store

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// A Glob is a compiled pattern over whole keys or paths. It may be used concurrently.
type Glob struct {
	pattern string
	prefix  string // what every match starts with
	prog    []inst
	words   int      // uint64s per set of states
	closure []uint64 // words per instruction: what is reached from it without input, as a bit set
}

// CompileGlob compiles a pattern. It is anchored at both ends and matches characters of UTF-8 (a byte that is none
// counts as one):
//
//   - any characters but "/", also none
//     **       any characters, also "/"; "**/" that begins a segment also matches nothing: a/**/b matches a/b
//     ?        one character but "/"
//     [a-z]    one character of the class; [!a-z] and [^a-z] one that is not in it; never "/"
//     {a,b}    either, may be nested
//     \c       c itself
//
// Matching takes time in proportion to the lengths of pattern and name, whatever they are.
func CompileGlob(pattern string) (*Glob, error) {
	g, err := compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", quote(pattern), err)
	}
	return g, nil
}

// String returns the pattern.
func (g *Glob) String() string { return g.pattern }

const (
	maxPattern = 2048
	maxDepth   = 16 // of nested braces
)

// An op says what an instruction consumes.
type op uint8

const (
	opRune  op = iota // the character lo
	opClass           // one of ranges, or with not one that is in none of them; never "/"
	opAny             // any character
	opName            // any character but "/"
	opSplit           // nothing: goes on at next and at alt
	opJump            // nothing: goes on at next
	opMatch           // nothing: the pattern ends here
)

// An inst is one state of the automaton. Those that consume a character go on at next.
type inst struct {
	op        op
	not       bool
	r         rune
	next, alt int
	ranges    []rune // pairs lo, hi
}

// runeBase is added to a byte that is not UTF-8, so that it equals only itself.
const runeBase = utf8.MaxRune + 1

func decode(s string) (rune, int) {
	if s[0] < utf8.RuneSelf {
		return rune(s[0]), 1
	}
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n <= 1 {
		return runeBase + rune(s[0]), 1
	}
	return r, n
}

func compile(pattern string) (*Glob, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("pattern of more than %d bytes", maxPattern)
	}
	p := &globParser{rest: pattern, segment: true}
	if err := p.sequence(0); err != nil {
		return nil, err
	}
	p.emit(inst{op: opMatch})
	lit, _ := literal(pattern)
	g := &Glob{pattern: pattern, prefix: lit, prog: p.prog, words: (len(p.prog) + 63) / 64}
	g.closure = make([]uint64, g.words*len(g.prog))
	var stack []int
	for i := range g.prog {
		set := g.reach(i)
		stack = append(stack[:0], i)
		for len(stack) > 0 {
			j := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if set[j/64]>>(j%64)&1 != 0 {
				continue
			}
			set[j/64] |= 1 << (j % 64)
			switch in := &g.prog[j]; in.op {
			case opSplit:
				stack = append(stack, in.next, in.alt)
			case opJump:
				stack = append(stack, in.next)
			}
		}
	}
	return g, nil
}

func (g *Glob) reach(i int) []uint64 { return g.closure[i*g.words : (i+1)*g.words] }

// Match reports whether all of name matches.
func (g *Glob) Match(name string) bool {
	if !strings.HasPrefix(name, g.prefix) {
		return false
	}
	var room [2][4]uint64
	cur, next := room[0][:], room[1][:]
	if g.words > len(cur) {
		cur, next = make([]uint64, g.words), make([]uint64, g.words)
	}
	cur, next = cur[:g.words], next[:g.words]
	copy(cur, g.reach(0))
	for len(name) > 0 {
		r, n := decode(name)
		name = name[n:]
		clear(next)
		alive := false
		for w, set := range cur {
			for ; set != 0; set &= set - 1 {
				i := w*64 + bits.TrailingZeros64(set)
				if in := &g.prog[i]; in.takes(r) {
					alive = true
					for k, v := range g.reach(in.next) {
						next[k] |= v
					}
				}
			}
		}
		if !alive {
			return false
		}
		cur, next = next, cur
	}
	last := len(g.prog) - 1
	return cur[last/64]>>(last%64)&1 != 0
}

func (in *inst) takes(r rune) bool {
	switch in.op {
	case opRune:
		return r == in.r
	case opAny:
		return true
	case opName:
		return r != '/'
	case opClass:
		if r == '/' {
			return false
		}
		for i := 0; i < len(in.ranges); i += 2 {
			if in.ranges[i] <= r && r <= in.ranges[i+1] {
				return !in.not
			}
		}
		return in.not
	}
	return false
}

// A globParser turns a pattern into a program, by recursive descent over braces.
type globParser struct {
	rest    string
	segment bool // at the start of a segment: only "/" or nothing lies before
	prog    []inst
}

// emit appends in, which goes on at the instruction after it, and returns its index.
func (p *globParser) emit(in inst) int {
	in.next = len(p.prog) + 1
	p.prog = append(p.prog, in)
	return len(p.prog) - 1
}

// sequence compiles up to the end of the pattern or, within braces, up to "," or "}", which it leaves.
func (p *globParser) sequence(depth int) error {
	for p.rest != "" {
		c := p.rest[0]
		begins := p.segment
		p.segment = false
		switch {
		case depth > 0 && (c == ',' || c == '}'):
			p.segment = begins
			return nil
		case c == '*':
			p.star(begins)
		case c == '?':
			p.rest = p.rest[1:]
			p.emit(inst{op: opName})
		case c == '[':
			if err := p.class(); err != nil {
				return err
			}
		case c == '{':
			p.segment = begins
			if err := p.braces(depth + 1); err != nil {
				return err
			}
		default:
			if c == '\\' {
				if p.rest = p.rest[1:]; p.rest == "" {
					return errors.New(`pattern ends in "\"`)
				}
			}
			r, n := decode(p.rest)
			p.rest = p.rest[n:]
			p.segment = r == '/'
			p.emit(inst{op: opRune, r: r})
		}
	}
	if depth > 0 {
		return errors.New(`"{" without "}"`)
	}
	return nil
}

// star compiles a run of asterisks.
func (p *globParser) star(begins bool) {
	tail := strings.TrimLeft(p.rest, "*")
	run := len(p.rest) - len(tail)
	p.rest = tail
	in := inst{op: opName}
	if run > 1 {
		in.op = opAny
	}
	skip := -1
	if run == 2 && begins && strings.HasPrefix(tail, "/") {
		skip = p.emit(inst{op: opSplit})
	}
	// L: split L+1, L+3;  L+1: in;  L+2: jump L
	loop := p.emit(inst{op: opSplit, alt: len(p.prog) + 3})
	p.emit(in)
	p.prog[p.emit(inst{op: opJump})].next = loop
	if skip >= 0 {
		p.rest = tail[1:]
		p.segment = true
		p.emit(inst{op: opRune, r: '/'})
		p.prog[skip].alt = len(p.prog)
	}
}

// class compiles a bracket expression. A "]" that comes first is a member.
func (p *globParser) class() error {
	in := inst{op: opClass}
	s := p.rest[1:]
	if s != "" && (s[0] == '!' || s[0] == '^') {
		in.not = true
		s = s[1:]
	}
	member := func() (rune, error) {
		if s != "" && s[0] == '\\' {
			s = s[1:]
		}
		if s == "" {
			return 0, errors.New(`"[" without "]"`)
		}
		r, n := decode(s)
		s = s[n:]
		return r, nil
	}
	for first := true; first || !strings.HasPrefix(s, "]"); first = false {
		lo, err := member()
		if err != nil {
			return err
		}
		hi := lo
		if len(s) > 1 && s[0] == '-' && s[1] != ']' {
			s = s[1:]
			if hi, err = member(); err != nil {
				return err
			}
			if hi < lo {
				return errors.New("range in class goes backwards")
			}
		}
		in.ranges = append(in.ranges, lo, hi)
	}
	p.rest = s[1:]
	p.emit(in)
	return nil
}

// braces compiles {a,b,…}: a split before each alternative but the last, a jump to the end after each.
func (p *globParser) braces(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("braces nested more than %d deep", maxDepth)
	}
	begins := p.segment
	ends := true // every alternative ends at the start of a segment
	var jumps []int
	for more := true; more; {
		p.rest = p.rest[1:] // "{" or ","
		p.segment = begins
		split := p.emit(inst{op: opSplit})
		if err := p.sequence(depth); err != nil {
			return err
		}
		ends = ends && p.segment
		jumps = append(jumps, p.emit(inst{op: opJump}))
		more = p.rest[0] == ','
		p.prog[split].alt = split + 1
		if more {
			p.prog[split].alt = len(p.prog)
		}
	}
	p.rest = p.rest[1:] // "}"
	for _, j := range jumps {
		p.prog[j].next = len(p.prog)
	}
	p.segment = ends
	return nil
}
