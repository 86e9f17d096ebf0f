package pattern

import (
	"encoding/binary"
	"errors"
	"unicode"
	"unicode/utf8"
)

// An inst is an instruction of a program over bytes.
type inst struct {
	op   instOp
	look look
	a, b int32 // successors; of instBytes: its steps are prog.steps[a:b]; of instSave: a is the successor, b the register
}

type instOp byte

const (
	instMatch instOp = iota
	instSplit        // goes on at a, or else at b
	instLook         // goes on at a if look holds
	instSave         // notes the position
	instBytes        // takes one byte
	instFail         // goes nowhere
)

// A step takes a byte of lo to hi and goes on at next.
type step struct {
	lo, hi byte
	next   int32
}

// A prog is a compiled pattern. It is immutable.
type prog struct {
	insts []inst
	steps []step
	start int32
	looks [6]bool // which assertions it makes
}

// bounds are how large a program may be, and the tables of its dfa.
type bounds struct {
	insts, steps int
	fuel         int // nodes compiled, repetitions counted
	table        int // entries of the table; the sets and keys of its states take as much again, each
}

var (
	large = bounds{200_000, 1_000_000, 2_000_000, 2 << 20} // about 16 MB, and three times 8 MiB
	small = bounds{20_000, 100_000, 200_000, 1 << 15}      // about 3 MB, and three times 128 KiB
)

const maxSmall = 64 << 10 // bytes of a pattern

var errTooLarge = errors.New("pattern: too large when compiled")

type compiler struct {
	prog
	bounds
	nodes map[string]int32 // instBytes of the class being compiled, by their steps
	key   []byte
}

// compile compiles n, whose span (or that of its group) is the match.
func compile(n *node, b bounds) (*prog, error) {
	c := &compiler{bounds: b, nodes: make(map[string]int32)}
	end := c.emit(inst{op: instMatch})
	if hasGroup(n) {
		c.start = c.node(n, end)
	} else {
		c.start = c.node(&node{op: opGroup, subs: []*node{n}}, end)
	}
	if c.spent() {
		return nil, errTooLarge
	}
	return &c.prog, nil
}

func hasGroup(n *node) bool {
	if n.op == opGroup {
		return true
	}
	return n.op == opCat && len(n.subs) == 3 && n.subs[1].op == opGroup
}

func (c *compiler) spent() bool {
	return c.fuel < 0 || len(c.prog.insts) > c.bounds.insts || len(c.prog.steps) > c.bounds.steps
}

func (c *compiler) emit(i inst) int32 {
	c.prog.insts = append(c.prog.insts, i)
	return int32(len(c.prog.insts) - 1)
}

// node compiles n so that it goes on at next, and returns where it begins.
func (c *compiler) node(n *node, next int32) int32 {
	if c.fuel--; c.spent() {
		return next
	}
	switch n.op {
	case opEmpty:
		return next
	case opClass:
		return c.class(&n.class, next)
	case opAssert:
		c.looks[n.look] = true
		return c.emit(inst{op: instLook, look: n.look, a: next})
	case opGroup:
		end := c.emit(inst{op: instSave, a: next, b: 1})
		return c.emit(inst{op: instSave, a: c.node(n.subs[0], end), b: 0})
	case opCat:
		for i := len(n.subs) - 1; i >= 0; i-- {
			next = c.node(n.subs[i], next)
		}
		return next
	case opAlt:
		at := c.node(n.subs[len(n.subs)-1], next)
		for i := len(n.subs) - 2; i >= 0; i-- {
			at = c.emit(inst{op: instSplit, a: c.node(n.subs[i], next), b: at})
		}
		return at
	}
	return c.repeat(n, next)
}

func (c *compiler) repeat(n *node, next int32) int32 {
	sub := n.subs[0]
	at := next
	if n.max < 0 {
		loop := c.emit(inst{op: instSplit})
		c.split(loop, c.node(sub, loop), next, n.lazy)
		at = loop
	} else {
		for range n.max - n.min {
			if c.spent() {
				return at
			}
			opt := c.emit(inst{op: instSplit})
			c.split(opt, c.node(sub, at), next, n.lazy)
			at = opt
		}
	}
	for range n.min {
		if c.spent() {
			return at
		}
		at = c.node(sub, at)
	}
	return at
}

func (c *compiler) split(at, more, leave int32, lazy bool) {
	if lazy {
		more, leave = leave, more
	}
	c.prog.insts[at].a, c.prog.insts[at].b = more, leave
}

// class compiles a class: its characters' UTF-8 as a trie whose common ends are shared.
func (c *compiler) class(cl *class, next int32) int32 {
	if len(cl.spans) == 0 {
		return c.emit(inst{op: instFail})
	}
	clear(c.nodes)
	if cl.raw {
		var steps []step
		for _, s := range cl.spans {
			steps = append(steps, step{byte(s.lo), byte(s.hi), next})
		}
		return c.bytes(steps)
	}
	var seqs []sequence
	for _, s := range cl.spans {
		seqs = sequences(seqs, s.lo, s.hi)
	}
	return c.trie(seqs, 0, next)
}

// trie compiles seqs, which agree in their first depth bytes.
func (c *compiler) trie(seqs []sequence, depth int, next int32) int32 {
	var steps []step
	for i := 0; i < len(seqs); {
		s := &seqs[i]
		j := i + 1
		for j < len(seqs) && seqs[j].lo[depth] == s.lo[depth] && seqs[j].hi[depth] == s.hi[depth] {
			j++
		}
		to := next
		if s.n > depth+1 {
			to = c.trie(seqs[i:j], depth+1, next)
		}
		if n := len(steps); n > 0 && steps[n-1].next == to && steps[n-1].hi+1 == s.lo[depth] {
			steps[n-1].hi = s.hi[depth]
		} else {
			steps = append(steps, step{s.lo[depth], s.hi[depth], to})
		}
		i = j
	}
	return c.bytes(steps)
}

// bytes returns an instruction with those steps, an old one of the same class if there is one.
func (c *compiler) bytes(steps []step) int32 {
	c.key = c.key[:0]
	for _, s := range steps {
		c.key = append(c.key, s.lo, s.hi)
		c.key = binary.LittleEndian.AppendUint32(c.key, uint32(s.next))
	}
	if at, ok := c.nodes[string(c.key)]; ok {
		return at
	}
	from := int32(len(c.prog.steps))
	c.prog.steps = append(c.prog.steps, steps...)
	at := c.emit(inst{op: instBytes, a: from, b: int32(len(c.prog.steps))})
	c.nodes[string(c.key)] = at
	return at
}

// A sequence is a range of characters with UTF-8 of n bytes, each byte within lo to hi independently of the others.
type sequence struct {
	lo, hi [4]byte
	n      int
}

// sequences appends the sequences of the characters lo to hi, in order.
func sequences(seqs []sequence, lo, hi rune) []sequence {
	for _, last := range []rune{0x7f, 0x7ff, 0xd7ff, 0xffff} {
		if lo <= last && hi > last {
			seqs = sequences(seqs, lo, last)
			lo = last + 1
			if lo == 0xd800 {
				lo = 0xe000
			}
			if lo > hi {
				return seqs
			}
		}
	}
	if lo > hi || hi > unicode.MaxRune {
		return seqs
	}
	n := utf8.RuneLen(hi)
	for i := 1; i < n; i++ { // make the last i bytes full ranges
		mask := rune(1)<<(6*i) - 1
		if lo&^mask != hi&^mask {
			if lo&mask != 0 {
				return sequences(sequences(seqs, lo, lo|mask), (lo|mask)+1, hi)
			}
			if hi&mask != mask {
				return sequences(sequences(seqs, lo, hi&^mask-1), hi&^mask, hi)
			}
		}
	}
	s := sequence{n: n}
	utf8.EncodeRune(s.lo[:], lo)
	utf8.EncodeRune(s.hi[:], hi)
	return append(seqs, s)
}
