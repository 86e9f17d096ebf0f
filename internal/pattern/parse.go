package pattern

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxNest   = 250     // depth of groups and classes
	maxRepeat = 100_000 // in x{n}
	maxSpans  = 500_000 // of all classes in all patterns
)

// flags are what (?ismUux) sets.
type flags struct {
	fold, swap, ascii, verbose bool
}

// A parser reads one pattern. It stops at the first error by panicking with a *SyntaxError, which parse recovers.
type parser struct {
	src    string
	pos    int
	depth  int
	budget *int // spans of classes that may still be read
	flags
}

// A SyntaxError says what is wrong with a pattern, and at which byte of it.
type SyntaxError struct {
	Pattern string
	Offset  int
	Reason  string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("pattern %.80q at %d: %s", e.Pattern, e.Offset, e.Reason)
}

// parse parses the syntax of Rust's regex crate. Patterns that belong together share a budget of maxSpans.
func parse(src string, fold bool, budget *int) (n *node, err error) {
	p := &parser{src: src, budget: budget, flags: flags{fold: fold}}
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *SyntaxError:
			n, err = nil, e
		default:
			panic(e)
		}
	}()
	n = p.alternation()
	if p.more() {
		p.fail(p.pos, "unopened group")
	}
	return n, nil
}

// literal returns the pattern that matches src itself.
func literal(src string, fold bool) *node {
	p := &parser{flags: flags{fold: fold}}
	var subs []*node
	for _, r := range src {
		subs = append(subs, p.char(r))
	}
	return cat(subs)
}

func (p *parser) fail(at int, format string, args ...any) {
	panic(&SyntaxError{p.src, at, fmt.Sprintf(format, args...)})
}

// spend takes what class c costs.
func (p *parser) spend(c class, at int) {
	if *p.budget -= len(c.spans); *p.budget < 0 {
		p.fail(at, "too many classes of characters")
	}
}

func (p *parser) more() bool { return p.pos < len(p.src) }

func (p *parser) peek() rune {
	r, _ := utf8.DecodeRuneInString(p.src[p.pos:])
	return r
}

func (p *parser) next() rune {
	r, n := utf8.DecodeRuneInString(p.src[p.pos:])
	p.pos += n
	return r
}

func (p *parser) take(s string) bool {
	if strings.HasPrefix(p.src[p.pos:], s) {
		p.pos += len(s)
		return true
	}
	return false
}

func (p *parser) enter(at int) {
	if p.depth++; p.depth > maxNest {
		p.fail(at, "nested more than %d deep", maxNest)
	}
}

// skip passes white space and comments in verbose mode.
func (p *parser) skip() {
	for p.verbose && p.more() {
		switch r := p.peek(); {
		case unicode.IsSpace(r):
			p.next()
		case r == '#':
			for p.more() && p.next() != '\n' {
			}
		default:
			return
		}
	}
}

// alternation reads until the end or an unmatched parenthesis.
func (p *parser) alternation() *node {
	var branches, items []*node
	for {
		p.skip()
		if !p.more() || p.peek() == ')' {
			return alt(append(branches, cat(items)))
		}
		at := p.pos
		switch r := p.next(); r {
		case '|':
			branches = append(branches, cat(items))
			items = nil
		case '*', '+', '?', '{':
			if len(items) == 0 {
				p.fail(at, "%c repeats nothing", r)
			}
			items[len(items)-1] = p.repeat(items[len(items)-1], r, at)
		case '(':
			if n := p.group(at); n != nil {
				items = append(items, n)
			}
		default:
			items = append(items, p.atom(r, at))
		}
	}
}

// group reads what follows a "(": a group, or flags for the rest of the group around it, then it returns nil.
func (p *parser) group(at int) *node {
	p.enter(at)
	outer := p.flags
	switch {
	case p.take("?P<"), p.take("?<"):
		name, _, ok := strings.Cut(p.src[p.pos:], ">")
		if !ok || name == "" || strings.Trim(name, "_.[]0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			p.fail(at, "bad name of a group (look-around is not supported)")
		}
		p.pos += len(name) + 1
	case p.take("?=") || p.take("?!"):
		p.fail(at, "look-around is not supported")
	case p.take("?"):
		if p.setFlags(at) {
			p.depth--
			return nil
		}
	}
	n := p.alternation()
	if !p.take(")") {
		p.fail(at, "unclosed group")
	}
	p.flags = outer
	p.depth--
	if n.op == opEmpty { // something to repeat
		return &node{op: opEmpty}
	}
	return n
}

// setFlags reads flags. It reports true if they are closed by ")", false if by ":".
func (p *parser) setFlags(at int) bool {
	on := true
	for p.more() {
		switch r := p.next(); r {
		case '-':
			on = false
		case 'i':
			p.fold = on
		case 'U':
			p.swap = on
		case 'u':
			p.ascii = !on
		case 'x':
			p.verbose = on
		case 'm', 's': // a line holds no line feed: nothing to choose
		case ':':
			return false
		case ')':
			return true
		default:
			p.fail(p.pos-utf8.RuneLen(r), "unknown flag %q", r)
		}
	}
	p.fail(at, "unclosed group")
	return false
}

// repeat reads the rest of a repetition of n that began with r.
func (p *parser) repeat(n *node, r rune, at int) *node {
	lo, hi := 0, -1
	switch r {
	case '+':
		lo = 1
	case '?':
		hi = 1
	case '{':
		lo = p.count(at)
		hi = lo
		if p.skip(); p.take(",") {
			hi = -1
			if p.skip(); p.more() && p.peek() != '}' {
				hi = p.count(at)
			}
		}
		if p.skip(); !p.take("}") {
			p.fail(at, "unclosed counted repetition (a plain brace is written \\{)")
		}
		if hi >= 0 && lo > hi {
			p.fail(at, "repetition of {%d,%d}", lo, hi)
		}
	}
	p.skip()
	lazy := p.take("?") != p.swap
	if n.op == opEmpty {
		return n
	}
	return &node{op: opRepeat, subs: []*node{n}, min: lo, max: hi, lazy: lazy}
}

func (p *parser) count(at int) int {
	p.skip()
	n, digits := 0, 0
	for ; p.more() && p.peek() >= '0' && p.peek() <= '9'; digits++ {
		if n = n*10 + int(p.next()-'0'); n > maxRepeat {
			p.fail(at, "repetition of more than %d", maxRepeat)
		}
	}
	if digits == 0 {
		p.fail(at, "repetition without a number (a plain brace is written \\{)")
	}
	return n
}

// atom reads the rest of an element that began with r.
func (p *parser) atom(r rune, at int) *node {
	switch r {
	case '.':
		c := class{raw: p.ascii}
		c.add(0, c.top())
		return p.classNode(c)
	case '^':
		return &node{op: opAssert, look: lineStart}
	case '$':
		return &node{op: opAssert, look: lineEnd}
	case '[':
		return p.classNode(p.bracket(at))
	case '\\':
		return p.escape(at)
	}
	return p.char(r)
}

// char returns the node of a plain character.
func (p *parser) char(r rune) *node {
	if p.ascii && r >= 0x80 { // the bytes of its UTF-8
		var subs []*node
		for _, b := range []byte(string(r)) {
			c := class{raw: true}
			c.add(rune(b), rune(b))
			subs = append(subs, &node{op: opClass, class: c})
		}
		return cat(subs)
	}
	c := class{raw: p.ascii}
	c.add(r, r)
	if p.fold {
		c.fold()
	}
	return &node{op: opClass, class: c}
}

// classNode takes the line feed out of c, which no line holds.
func (p *parser) classNode(c class) *node {
	c.without(class{spans: []span{{'\n', '\n'}}})
	if !c.raw {
		c.without(class{spans: []span{{0xd800, 0xdfff}}})
	}
	return &node{op: opClass, class: c}
}
