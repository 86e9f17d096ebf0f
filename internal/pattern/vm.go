package pattern

import "unicode/utf8"

// A vm runs a program on one line and finds the leftmost match that the pattern prefers. It needs no more memory than
// the program, and time in proportion to program and line. It is not safe for concurrent use.
type vm struct {
	prog       *prog
	cur, after threads
	stack      []thread
	poll       func() // see Options
}

// A thread is an instruction that was reached, and the span that was noted on the way.
type thread struct {
	at         int32
	start, end int
}

// threads are ordered by preference; each instruction is in it once.
type threads struct {
	list []thread
	seen []uint32
	gen  uint32
}

func newVM(p *prog) *vm {
	return &vm{prog: p, cur: threads{seen: make([]uint32, len(p.insts))}, after: threads{seen: make([]uint32, len(p.insts))}}
}

func (t *threads) reset() {
	t.list = t.list[:0]
	if t.gen++; t.gen == 0 {
		clear(t.seen)
		t.gen = 1
	}
}

// match finds the first match in line that begins at from or behind.
func (v *vm) match(line []byte, from int) (start, end int, ok bool) {
	v.cur.reset()
	for i := from; ; i++ {
		if i&63 == 0 && v.poll != nil {
			v.poll()
		}
		if !ok {
			v.add(&v.cur, thread{v.prog.start, -1, -1}, line, i)
		} else if len(v.cur.list) == 0 {
			return start, end, true
		}
		v.after.reset()
	step:
		for _, t := range v.cur.list {
			switch in := &v.prog.insts[t.at]; in.op {
			case instMatch:
				start, end, ok = t.start, t.end, true
				break step // the others are preferred less
			case instBytes:
				if i < len(line) {
					if to, found := v.prog.step(in, line[i]); found {
						v.add(&v.after, thread{to, t.start, t.end}, line, i+1)
					}
				}
			}
		}
		v.cur, v.after = v.after, v.cur
		if i >= len(line) {
			return start, end, ok
		}
	}
}

// add adds what is reached from t at position i without a byte.
func (v *vm) add(set *threads, t thread, line []byte, i int) {
	v.stack = append(v.stack[:0], t)
	for len(v.stack) > 0 {
		t := v.stack[len(v.stack)-1]
		v.stack = v.stack[:len(v.stack)-1]
		if set.seen[t.at] == set.gen {
			continue
		}
		set.seen[t.at] = set.gen
		switch in := &v.prog.insts[t.at]; in.op {
		case instSplit:
			v.stack = append(v.stack, thread{in.b, t.start, t.end}, thread{in.a, t.start, t.end})
		case instSave:
			if in.b == 0 {
				t.start = i
			} else {
				t.end = i
			}
			t.at = in.a
			v.stack = append(v.stack, t)
		case instLook:
			if holds(in.look, line, i) {
				t.at = in.a
				v.stack = append(v.stack, t)
			}
		case instBytes, instMatch:
			set.list = append(set.list, t)
		}
	}
}

// holds decides an assertion at position i of line.
func holds(l look, line []byte, i int) bool {
	switch l {
	case lineStart:
		return i == 0
	case lineEnd:
		return i == len(line)
	case wordBoundary, notWordBoundary:
		if inside(line, i) {
			return false
		}
		before, _ := utf8.DecodeLastRune(line[:i])
		after, _ := utf8.DecodeRune(line[i:])
		return (isWord(before) != isWord(after)) == (l == wordBoundary)
	}
	before := i > 0 && line[i-1] < 0x80 && isWord(rune(line[i-1]))
	after := i < len(line) && line[i] < 0x80 && isWord(rune(line[i]))
	return (before != after) == (l == asciiBoundary)
}

// inside reports whether position i is between the bytes of a character.
func inside(line []byte, i int) bool {
	if i == len(line) || utf8.RuneStart(line[i]) {
		return false
	}
	for j := i - 1; j >= 0 && j >= i-3; j-- {
		if utf8.RuneStart(line[j]) {
			_, n := utf8.DecodeRune(line[j:])
			return n > i-j
		}
	}
	return false
}
