package pattern

import (
	"strings"
	"unicode"
)

// A lit is a text of bytes, each of which stands for itself or, in fold, for an ASCII letter in both cases.
type lit struct {
	text string // folded letters in lower case
	fold string // per byte: 0x20 for a folded letter, else 0
}

// Limits of what is gathered from a pattern.
const (
	maxLits    = 24   // texts in a set
	maxLitSize = 64   // bytes of one text
	maxChars   = 8    // characters of a class that is taken apart
	maxLitWork = 4096 // nodes looked at, repetitions counted
)

// A gatherer finds texts that every match holds.
type gatherer struct{ work int }

// required returns a set of texts one of which every match of n holds, nil if there is no good one. exact means
// that a line matches if and only if it holds one of them.
func required(n *node) (set []lit, exact bool) {
	g := &gatherer{work: maxLitWork}
	f := g.find(n)
	if f.exact != nil {
		f.offer(f.exact)
		if f.pure && cost(f.exact) < maxCost {
			return f.exact, true
		}
	}
	return f.best, false
}

// factors are what is known of a node.
type factors struct {
	exact []lit // all texts that the node matches, nil if they are too many
	pure  bool  // it makes no assertion
	best  []lit // one of them is in each match; nil if nothing is known
	cost  float64
}

// offer takes set as the best one if it is.
func (f *factors) offer(set []lit) {
	if c := cost(set); f.best == nil || c < f.cost {
		if c < maxCost {
			f.best, f.cost = set, c
		}
	}
}

func (g *gatherer) find(n *node) factors {
	if g.work--; g.work < 0 {
		return factors{}
	}
	switch n.op {
	case opEmpty:
		return factors{exact: []lit{{}}, pure: true}
	case opAssert:
		return factors{exact: []lit{{}}}
	case opClass:
		return factors{exact: n.class.lits(), pure: true}
	case opGroup:
		return g.find(n.subs[0])
	case opCat:
		parts := make([]factors, len(n.subs))
		for i, s := range n.subs {
			parts[i] = g.find(s)
		}
		return concat(parts)
	case opAlt:
		return g.alternatives(n)
	}
	return g.repeat(n)
}

func concat(parts []factors) factors {
	f := factors{pure: true}
	run := []lit{{}} // the texts since the last part that is not exact
	whole := true
	for _, p := range parts {
		f.pure = f.pure && p.pure
		if p.exact != nil {
			if joined := cross(run, p.exact); joined != nil {
				run = joined
				continue
			}
			f.offer(run)
			run, whole = p.exact, false
			continue
		}
		f.offer(run)
		if p.best != nil {
			f.offer(p.best)
		}
		run, whole = []lit{{}}, false
	}
	if whole {
		f.exact = run
	}
	f.offer(run)
	return f
}

func (g *gatherer) alternatives(n *node) factors {
	f := factors{pure: true, exact: []lit{}}
	union := []lit{}
	for _, s := range n.subs {
		p := g.find(s)
		f.pure = f.pure && p.pure
		if f.exact != nil && p.exact != nil {
			f.exact = append(f.exact, p.exact...)
		} else {
			f.exact = nil
		}
		if p.exact != nil {
			p.offer(p.exact)
		}
		if p.best == nil || union == nil {
			union = nil
			continue
		}
		union = append(union, p.best...)
	}
	if len(f.exact) > maxLits {
		f.exact = nil
	}
	if len(union) > 0 && len(union) <= maxLits {
		f.offer(union)
	}
	return f
}

func (g *gatherer) repeat(n *node) factors {
	sub := g.find(n.subs[0])
	if n.min == 0 {
		if n.max == 1 && sub.exact != nil && len(sub.exact) < maxLits {
			return factors{exact: append([]lit{{}}, sub.exact...), pure: sub.pure}
		}
		return factors{}
	}
	count := min(n.min, maxLitSize)
	parts := make([]factors, count, count+1)
	for i := range parts {
		parts[i] = sub
	}
	if n.max != n.min || count != n.min {
		parts = append(parts, factors{}) // whatever follows
	}
	return concat(parts)
}

// cross returns the texts of a followed by one of b, nil if they are too many.
func cross(a, b []lit) []lit {
	if len(a)*len(b) > maxLits {
		return nil
	}
	out := make([]lit, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			if len(x.text)+len(y.text) > maxLitSize {
				return nil
			}
			out = append(out, lit{x.text + y.text, x.fold + y.fold})
		}
	}
	return out
}

// lits returns the characters of a small class, nil of another.
func (c *class) lits() []lit {
	n := 0
	for _, s := range c.spans {
		if n += int(s.hi-s.lo) + 1; n > maxChars {
			return nil
		}
	}
	has := func(r rune) bool {
		for _, s := range c.spans {
			if s.lo <= r && r <= s.hi {
				return true
			}
		}
		return false
	}
	out := []lit{}
	for _, s := range c.spans {
		for r := s.lo; r <= s.hi; r++ {
			upper := r >= 'A' && r <= 'Z'
			lower := r >= 'a' && r <= 'z'
			switch {
			case upper && has(r|0x20): // comes with its lower case
			case lower && has(r&^0x20):
				out = append(out, lit{string(r), "\x20"})
			case c.raw:
				out = append(out, lit{string([]byte{byte(r)}), "\x00"})
			default:
				t := string(r)
				out = append(out, lit{t, strings.Repeat("\x00", len(t))})
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// String shows the text, folded letters with both cases.
func (l lit) String() string {
	var b strings.Builder
	for i := range len(l.text) {
		if l.fold[i] != 0 {
			b.WriteString("[" + string(unicode.ToUpper(rune(l.text[i]))) + l.text[i:i+1] + "]")
		} else {
			b.WriteByte(l.text[i])
		}
	}
	return b.String()
}
