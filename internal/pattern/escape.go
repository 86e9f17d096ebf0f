package pattern

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// escape reads an escape outside of brackets, after its backslash.
func (p *parser) escape(at int) *node {
	if !p.more() {
		p.fail(at, "nothing follows the last backslash")
	}
	switch p.peek() {
	case 'b', 'B':
		l := map[bool]map[rune]look{
			false: {'b': wordBoundary, 'B': notWordBoundary},
			true:  {'b': asciiBoundary, 'B': notASCIIBoundary},
		}[p.ascii][p.next()]
		return &node{op: opAssert, look: l}
	case 'A':
		p.next()
		return &node{op: opAssert, look: lineStart}
	case 'z':
		p.next()
		return &node{op: opAssert, look: lineEnd}
	}
	if c, ok := p.escapedClass(at); ok {
		return p.classNode(c)
	}
	r, raw := p.escapedChar(at)
	if r == '\n' {
		p.fail(at, "a line holds no line feed")
	}
	if raw {
		c := class{raw: true}
		c.add(r, r)
		return &node{op: opClass, class: c}
	}
	return p.char(r)
}

// escapedClass reads \d \s \w \p and their opposites.
func (p *parser) escapedClass(at int) (class, bool) {
	r := p.peek()
	switch r {
	case 'd', 's', 'w', 'D', 'S', 'W':
		p.next()
		c := perl(byte(r|0x20), p.ascii)
		if r < 'a' {
			c.negate()
		}
		p.spend(c, at)
		return c, true
	case 'p', 'P':
		p.next()
		name := ""
		switch {
		case p.take("{"):
			var ok bool
			if name, _, ok = strings.Cut(p.src[p.pos:], "}"); !ok {
				p.fail(at, "unclosed name of a class")
			}
			p.pos += len(name) + 1
		case p.more():
			name = string(p.next())
		}
		not := r == 'P'
		if strings.HasPrefix(name, "^") {
			name, not = name[1:], !not
		}
		if p.ascii {
			p.fail(at, "\\p needs Unicode, which (?-u) switched off")
		}
		c, ok := property(name)
		if !ok {
			p.fail(at, "unknown Unicode class %.40q", name)
		}
		if p.fold {
			c.fold()
		}
		if not {
			c.negate()
		}
		p.spend(c, at)
		return c, true
	}
	return class{}, false
}

// escapedChar reads an escape that denotes one character, or one byte beyond ASCII in (?-u).
func (p *parser) escapedChar(at int) (r rune, raw bool) {
	switch r := p.next(); r {
	case 'a':
		return '\a', false
	case 'f':
		return '\f', false
	case 't':
		return '\t', false
	case 'n':
		return '\n', false
	case 'r':
		return '\r', false
	case 'v':
		return '\v', false
	case 'x':
		return p.hex(at, 2)
	case 'u':
		return p.hex(at, 4)
	case 'U':
		return p.hex(at, 8)
	default:
		if r >= '1' && r <= '9' {
			p.fail(at, "references to groups are not supported")
		}
		if r >= 0x80 || r|0x20 >= 'a' && r|0x20 <= 'z' || r == '0' || r == '<' || r == '>' {
			p.fail(at, "unknown escape \\%c", r)
		}
		return r, false
	}
}

func (p *parser) hex(at, digits int) (r rune, raw bool) {
	var s string
	if p.take("{") {
		var ok bool
		if s, _, ok = strings.Cut(p.src[p.pos:], "}"); !ok {
			p.fail(at, "unclosed hexadecimal number")
		}
		p.pos += len(s) + 1
	} else {
		s = p.src[p.pos:min(p.pos+digits, len(p.src))]
		if len(s) < digits {
			p.fail(at, "%d hexadecimal digits are needed", digits)
		}
		p.pos += digits
	}
	x, err := strconv.ParseUint(s, 16, 32)
	if err != nil || !utf8.ValidRune(rune(x)) || x > 1<<30 {
		p.fail(at, "%.20q is no character in hexadecimal", s)
	}
	return rune(x), p.ascii && x >= 0x80 && x <= 0xff
}

// bracket reads a class after its "[".
func (p *parser) bracket(at int) class {
	p.enter(at)
	defer func() { p.depth-- }()
	c := class{raw: p.ascii}
	not := p.take("^")
	first := true
	for ; ; first = false {
		p.skip()
		if !p.more() {
			p.fail(at, "unclosed class")
		}
		from := p.pos
		switch {
		case !first && p.take("]"):
			return p.closed(c, not)
		case p.take("&&"):
			p.finish(&c)
			c.and(p.operand(at))
		case p.take("--"):
			if first { // two plain hyphens
				c.add('-', '-')
				continue
			}
			p.finish(&c)
			c.without(p.operand(at))
		case p.take("~~"):
			p.finish(&c)
			d := p.operand(at)
			both := class{spans: append([]span(nil), c.spans...), raw: c.raw}
			both.and(d)
			c.spans = append(c.spans, d.spans...)
			c.tidy()
			c.without(both)
		case p.take("[:"):
			p.posix(&c, from)
		case p.take("["):
			c.spans = append(c.spans, p.bracket(from).spans...)
		default:
			p.member(&c, from)
		}
	}
}

// operand reads the right side of a set operation: what is left of the bracket up to the next operator.
func (p *parser) operand(at int) class {
	d := class{raw: p.ascii}
	for {
		p.skip()
		if !p.more() {
			p.fail(at, "unclosed class")
		}
		rest := p.src[p.pos:]
		if rest[0] == ']' || strings.HasPrefix(rest, "&&") || strings.HasPrefix(rest, "--") || strings.HasPrefix(rest, "~~") {
			p.finish(&d)
			return d
		}
		from := p.pos
		switch {
		case p.take("[:"):
			p.posix(&d, from)
		case p.take("["):
			d.spans = append(d.spans, p.bracket(from).spans...)
		default:
			p.member(&d, from)
		}
	}
}

// finish folds and tidies an operand.
func (p *parser) finish(c *class) {
	if p.fold {
		c.fold()
	}
	c.tidy()
}

func (p *parser) closed(c class, not bool) class {
	p.finish(&c)
	if not {
		c.negate()
	}
	return c
}

// posix reads [:name:] after its "[:", or falls back to a bracket in the bracket.
func (p *parser) posix(c *class, from int) {
	name, _, ok := strings.Cut(p.src[p.pos:], ":]")
	not := strings.HasPrefix(name, "^")
	spans, known := posix[strings.TrimPrefix(name, "^")]
	if !ok || !known {
		p.pos = from + 1
		c.spans = append(c.spans, p.bracket(from).spans...)
		return
	}
	p.pos += len(name) + 2
	d := class{spans: append([]span(nil), spans...), raw: c.raw}
	if not {
		d.negate()
	}
	c.spans = append(c.spans, d.spans...)
}

// member reads a character, a range or an escaped class in a bracket.
func (p *parser) member(c *class, at int) {
	lo, isClass := p.memberChar(c, at)
	if isClass {
		return
	}
	rest := p.src[p.pos:]
	if !strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "-]") || strings.HasPrefix(rest, "--") {
		c.add(lo, lo)
		return
	}
	p.next()
	p.skip()
	if !p.more() {
		p.fail(at, "unclosed class")
	}
	hi, isClass := p.memberChar(&class{}, at)
	if isClass || hi < lo {
		p.fail(at, "bad range of characters")
	}
	c.add(lo, hi)
}

func (p *parser) memberChar(c *class, at int) (r rune, isClass bool) {
	r = p.next()
	if r != '\\' {
		if p.ascii && r >= 0x80 {
			p.fail(at, "a class of bytes cannot hold %q", r)
		}
		return r, false
	}
	if !p.more() {
		p.fail(at, "nothing follows the last backslash")
	}
	if d, ok := p.escapedClass(at); ok {
		c.spans = append(c.spans, d.spans...)
		return 0, true
	}
	r, _ = p.escapedChar(at)
	if p.ascii && r > 0xff {
		p.fail(at, "a class of bytes cannot hold %q", r)
	}
	return r, false
}
