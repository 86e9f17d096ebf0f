package pattern

// An op is what a node of a parsed pattern is.
type op byte

const (
	opEmpty  op = iota // matches the empty string
	opClass            // one character (or byte) of class
	opAssert           // look, an assertion about a position
	opCat              // subs, one after another
	opAlt              // one of subs, the first preferred
	opRepeat           // subs[0], min to max times (max < 0: no limit)
	opGroup            // subs[0], whose span is the match
)

// A look is an assertion.
type look byte

const (
	lineStart look = iota // ^ and \A: lines are matched one by one
	lineEnd               // $ and \z
	wordBoundary
	notWordBoundary
	asciiBoundary // of (?-u:\b)
	notASCIIBoundary
)

type node struct {
	op       op
	class    class
	look     look
	subs     []*node
	min, max int
	lazy     bool
}

var empty = &node{op: opEmpty}

func cat(subs []*node) *node {
	kept := subs[:0]
	for _, n := range subs {
		if n.op != opEmpty {
			kept = append(kept, n)
		}
	}
	switch len(kept) {
	case 0:
		return empty
	case 1:
		return kept[0]
	}
	return &node{op: opCat, subs: kept}
}

func alt(subs []*node) *node {
	if len(subs) == 1 {
		return subs[0]
	}
	return &node{op: opAlt, subs: subs}
}
