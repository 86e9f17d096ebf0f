package pattern

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// A dfa finds lines that match, by subset construction as bytes are seen. Its table is bounded: when it is full it is
// built anew. It is not safe for concurrent use.
//
// A state is a set of instructions before their assertions are decided, with what is known of the byte before. The
// assertions are decided when the next byte is seen, so that a match is noticed one byte late at most; a line feed, or the end
// of the text, is a byte for that purpose. Unicode's word boundaries are left to the vm: a line where a byte
// beyond ASCII is met answers quit.
type dfa struct {
	prog    *prog
	classes [256]byte // of bytes that nothing tells apart
	reps    []byte    // a byte of each class
	stride  int32     // columns in a row of next
	eol     byte      // class of the line feed
	quits   bool      // a byte beyond ASCII ends it

	next  []int32    // state and class of byte → state, or an answer; states are offsets of rows
	sets  []dfaState // by row
	ids   map[string]int32
	limit int       // entries of next, and instructions in sets
	held  int       // instructions in sets
	begin int32     // at the start of a line
	idle  int32     // in a line, nothing matched yet; == begin if there are no assertions
	still [256]byte // 1: bytes that stay in begin, if begin == idle

	stack     []int32
	seen      []uint32 // generation in which an instruction was added
	gen       uint32
	set, half []int32
	key       []byte
	poll      func() // see Options
}

type dfaState struct {
	insts []int32
	start bool // of a line
	word  bool // a word character of ASCII is before
}

// Answers in dfa.next beside states.
const (
	unknown = -1
	matched = -2
	quit    = -3
)

func newDFA(p *prog, limit int) *dfa {
	d := &dfa{prog: p, limit: limit, seen: make([]uint32, len(p.insts)), ids: make(map[string]int32)}
	d.quits = p.looks[wordBoundary] || p.looks[notWordBoundary]
	d.classify()
	d.reset()
	return d
}

// classify finds the classes of bytes that the program does not tell apart.
func (d *dfa) classify() {
	var edge [257]bool
	cut := func(lo, hi byte) { edge[lo], edge[int(hi)+1] = true, true }
	for _, s := range d.prog.steps {
		cut(s.lo, s.hi)
	}
	cut('\n', '\n')
	if l := d.prog.looks; l[wordBoundary] || l[notWordBoundary] || l[asciiBoundary] || l[notASCIIBoundary] {
		for _, s := range posix["word"] {
			cut(byte(s.lo), byte(s.hi))
		}
		cut(0, 0x7f)
	}
	for b := range 256 {
		if b == 0 || edge[b] {
			d.reps = append(d.reps, byte(b))
		}
		d.classes[b] = byte(len(d.reps) - 1)
	}
	d.stride = int32(len(d.reps))
	d.eol = d.classes['\n']
}

// reset forgets all states.
func (d *dfa) reset() {
	clear(d.sets)
	d.next, d.sets, d.held = d.next[:0], d.sets[:0], 0
	clear(d.ids)
	d.begin = d.state(nil, true, false)
	d.idle = d.state(nil, false, false)
	if d.begin >= 0 && d.begin == d.idle {
		for b := range 256 {
			d.still[b] = bit(d.compute(d.begin, d.classes[b]) == d.begin)
		}
	}
}

// find returns the index of a byte in the first line of text[at:] that matches, or of its line feed; at is the start
// of a line. If ok is false, n is the index of a byte in a line that find cannot decide. n < 0: no line matches.
func (d *dfa) find(text []byte, at int) (n int, ok bool) {
	if at >= len(text) {
		return -1, true
	}
	s := d.begin
	if s == matched { // the empty string matches
		return at, true
	}
	// begin is offset 0, so that one comparison finds what needs care: an answer, or a state to skip bytes in.
	next, classes := d.next, &d.classes
	skip := d.begin == d.idle
	for i := at; i < len(text); i++ {
		if s == 0 && skip {
			if i = d.skip(text, i); i == len(text) {
				break
			}
		}
		t := next[s+int32(classes[text[i]])]
		for t > 0 {
			s = t
			if i++; i == len(text) {
				break
			}
			t = next[s+int32(classes[text[i]])]
		}
		if i == len(text) {
			break
		}
		if t == unknown {
			t = d.compute(s, classes[text[i]])
			next = d.next
		}
		switch t {
		case matched:
			return i, true
		case quit:
			return i, false
		}
		s = t
	}
	last := len(text) - 1
	if text[last] == '\n' {
		return -1, true
	}
	t := d.next[s+int32(d.eol)]
	if t == unknown {
		t = d.compute(s, d.eol)
	}
	if t == matched {
		return last, true
	}
	return -1, true
}

// skip returns the first index at or behind i of a byte that leaves begin.
func (d *dfa) skip(text []byte, i int) int {
	still := &d.still
	for ; i+4 <= len(text); i += 4 {
		q := text[i : i+4 : i+4]
		if still[q[0]]&still[q[1]]&still[q[2]]&still[q[3]] == 0 {
			break
		}
	}
	for i < len(text) && still[text[i]] != 0 {
		i++
	}
	return i
}

// line reports whether line, which holds no line feed, matches. If ok is false, it cannot tell.
func (d *dfa) line(line []byte) (match, ok bool) {
	switch {
	case d.begin == matched:
		return true, true
	case len(line) == 0:
		t := d.next[d.begin+int32(d.eol)]
		if t == unknown {
			t = d.compute(d.begin, d.eol)
		}
		return t == matched, true
	}
	n, ok := d.find(line, 0)
	return n >= 0, ok
}

// state returns the state of the instructions in set and the program's start.
func (d *dfa) state(set []int32, start, word bool) int32 {
	l := &d.prog.looks
	start = start && l[lineStart]
	word = word && (l[wordBoundary] || l[notWordBoundary] || l[asciiBoundary] || l[notASCIIBoundary])
	d.open()
	for _, i := range set {
		d.add(i, nil)
	}
	d.add(d.prog.start, nil)
	for _, i := range d.half {
		if d.prog.insts[i].op == instMatch {
			return matched
		}
	}
	slices.Sort(d.half)
	d.key = append(d.key[:0], bit(start)|bit(word)<<1)
	for _, i := range d.half {
		d.key = binary.LittleEndian.AppendUint32(d.key, uint32(i))
	}
	if id, ok := d.ids[string(d.key)]; ok {
		return id
	}
	id := int32(len(d.next))
	for range d.stride {
		d.next = append(d.next, unknown)
	}
	d.sets = append(d.sets, dfaState{slices.Clone(d.half), start, word})
	d.ids[string(d.key)] = id
	d.held += len(d.half)
	return id
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// open begins a new set in d.half.
func (d *dfa) open() {
	d.half = d.half[:0]
	if d.gen++; d.gen == 0 {
		clear(d.seen)
		d.gen = 1
	}
}

// add adds to d.half what is reached from instruction i without a byte. Assertions are kept where holds is nil.
func (d *dfa) add(i int32, holds *[6]bool) {
	d.stack = append(d.stack[:0], i)
	for len(d.stack) > 0 {
		i := d.stack[len(d.stack)-1]
		d.stack = d.stack[:len(d.stack)-1]
		if d.seen[i] == d.gen {
			continue
		}
		d.seen[i] = d.gen
		switch in := &d.prog.insts[i]; in.op {
		case instSplit:
			d.stack = append(d.stack, in.b, in.a)
		case instSave:
			d.stack = append(d.stack, in.a)
		case instLook:
			if holds == nil {
				d.half = append(d.half, i)
			} else if holds[in.look] {
				d.stack = append(d.stack, in.a)
			}
		case instBytes, instMatch:
			d.half = append(d.half, i)
		}
	}
}

// compute finds where state s goes at a byte of class c, and notes it.
func (d *dfa) compute(s int32, c byte) int32 {
	if d.poll != nil {
		d.poll()
	}
	b := d.reps[c]
	if len(d.next) > d.limit || d.held > d.limit {
		// Begin anew. The caller's state s is made again; nothing else refers to old states.
		old := d.sets[s/d.stride]
		d.reset()
		s = d.state(old.insts, old.start, old.word)
	}
	from := d.sets[s/d.stride]
	t := d.move(from, b)
	d.next[s+int32(c)] = t
	return t
}

func (d *dfa) move(from dfaState, b byte) int32 {
	if d.quits && b >= 0x80 {
		return quit
	}
	word := b < 0x80 && isWord(rune(b))
	boundary := from.word != word
	holds := [6]bool{lineStart: from.start, lineEnd: b == '\n', wordBoundary: boundary, notWordBoundary: !boundary,
		asciiBoundary: boundary, notASCIIBoundary: !boundary}
	d.open()
	for _, i := range from.insts {
		d.add(i, &holds)
	}
	d.set = d.set[:0]
	for _, i := range d.half {
		in := &d.prog.insts[i]
		if in.op == instMatch {
			return matched
		}
		if to, ok := d.prog.step(in, b); ok {
			d.set = append(d.set, to)
		}
	}
	if b == '\n' {
		return d.begin
	}
	return d.state(d.set, false, word)
}

// step returns where an instBytes goes at b.
func (p *prog) step(in *inst, b byte) (int32, bool) {
	for _, s := range p.steps[in.a:in.b] {
		if b <= s.hi {
			return s.next, b >= s.lo
		}
	}
	return 0, false
}

// lineOf returns the line of text that index i is in, without its line feed. No line before at is looked at.
func lineOf(text []byte, at, i int) (from, to int) {
	from = at + bytes.LastIndexByte(text[at:i], '\n') + 1
	if n := bytes.IndexByte(text[i:], '\n'); n >= 0 {
		return from, i + n
	}
	return from, len(text)
}
