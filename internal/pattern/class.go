package pattern

import (
	"cmp"
	"slices"
	"sync"
	"unicode"
)

// A span is the characters lo to hi.
type span struct{ lo, hi rune }

// A class is a set of characters, or of bytes if raw. Its spans are ordered and do not touch each other once it is tidy.
type class struct {
	spans []span
	raw   bool
}

func (c *class) add(lo, hi rune) { c.spans = append(c.spans, span{lo, hi}) }

func (c *class) table(t *unicode.RangeTable) {
	for _, r := range t.R16 {
		c.strided(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	for _, r := range t.R32 {
		c.strided(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
}

func (c *class) strided(lo, hi, stride rune) {
	if stride == 1 {
		c.add(lo, hi)
		return
	}
	for r := lo; r <= hi; r += stride {
		c.add(r, r)
	}
}

// top returns the last member that the class could have.
func (c *class) top() rune {
	if c.raw {
		return 0xff
	}
	return unicode.MaxRune
}

// tidy orders and merges the spans. No character of UTF-8 is a surrogate.
func (c *class) tidy() {
	slices.SortFunc(c.spans, func(a, b span) int { return cmp.Compare(a.lo, b.lo) })
	out := c.spans[:0]
	for _, s := range c.spans {
		if n := len(out); n > 0 && s.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, s.hi)
			continue
		}
		out = append(out, s)
	}
	c.spans = out
}

func (c *class) negate() {
	c.tidy()
	var out []span
	next := rune(0)
	for _, s := range c.spans {
		if s.lo > next {
			out = append(out, span{next, s.lo - 1})
		}
		next = s.hi + 1
	}
	if next <= c.top() {
		out = append(out, span{next, c.top()})
	}
	c.spans = out
}

// without removes the characters of d.
func (c *class) without(d class) {
	c.negate()
	c.spans = append(c.spans, d.spans...)
	c.negate()
}

// and keeps the characters that are in d, too.
func (c *class) and(d class) {
	c.negate()
	d = class{spans: slices.Clone(d.spans), raw: d.raw}
	d.negate()
	c.spans = append(c.spans, d.spans...)
	c.negate()
}

// fold adds what differs from a member by case only.
func (c *class) fold() {
	c.tidy()
	for _, s := range slices.Clone(c.spans) {
		if c.raw {
			for r := s.lo; r <= s.hi; r++ {
				if r|0x20 >= 'a' && r|0x20 <= 'z' {
					c.add(r^0x20, r^0x20)
				}
			}
			continue
		}
		if s.hi-s.lo < 256 {
			for r := s.lo; r <= s.hi; r++ {
				for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
					c.add(f, f)
				}
			}
			continue
		}
		cased := casedRunes()
		at, _ := slices.BinarySearch(cased, s.lo)
		for ; at < len(cased) && cased[at] <= s.hi; at++ {
			r := cased[at]
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				c.add(f, f)
			}
		}
	}
	c.tidy()
}

// casedRunes returns all characters that differ from another one by case only, ordered.
var casedRunes = sync.OnceValue(func() []rune {
	var cased []rune
	for r := rune(0); r < 0x20000; r++ {
		if unicode.SimpleFold(r) != r {
			cased = append(cased, r)
		}
	}
	return cased
})
