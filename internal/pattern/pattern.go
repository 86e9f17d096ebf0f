// Package pattern finds the lines of a text that match regular expressions, quickly, with the syntax and the meaning that
// ripgrep 13 gives them: Rust's regex crate with Unicode, on bytes that need not be valid UTF-8, one line at a time.
//
//	.  [^a]  \W  …     match a character in valid UTF-8, never a stray byte (but (?-u:.) does)
//	\d \w \s \b        are Unicode's
//	^  $  \A  \z       are the start and end of a line; a carriage return before its end belongs to the line
//
// What it does about speed, in the order in which a text meets it:
//
//	texts that every match holds     bytes.IndexByte for their rarest byte; often all that is needed
//	a dfa built while it runs        over the candidate line, or the whole text if there are no such texts
//	a vm with a list of threads      where the dfa cannot tell (\b beside bytes beyond ASCII), and to find spans
//
// All take time in proportion to the text, whatever the pattern.
package pattern

// Options say how patterns are meant.
type Options struct {
	Fixed bool // as plain text
	Fold  bool // by simple case folding
	Word  bool // between characters that belong to no word

	// Small refuses patterns that are longer than 64 KiB or take more than about 3 MB, and keeps what is built while searching
	// below 1 MB. See Size.
	Small bool
	// Poll, if not nil, is called again and again while a search takes time, at least once in some milliseconds but for
	// bytes that cost a nanosecond each. It may end the search by a panic; the Matcher is of no use then.
	Poll func()
}

// A Matcher finds lines that match. It has memory of its own and is not safe for concurrent use.
type Matcher struct {
	prog    *prog
	dfa     *dfa
	vm      *vm
	finders []*finder
	exact   bool // an occurrence of a text is a match
	text    []byte
}

// Compile returns a Matcher of the lines that match one of patterns. Its error is one line: a *SyntaxError, or
// that the pattern is too large.
func Compile(patterns []string, o Options) (*Matcher, error) {
	b := large
	if o.Small {
		b = small
	}
	var branches []*node
	budget := maxSpans
	for _, s := range patterns {
		if o.Small && len(s) > maxSmall {
			return nil, errTooLarge
		}
		n := literal(s, o.Fold)
		if !o.Fixed {
			var err error
			if n, err = parse(s, o.Fold, &budget); err != nil {
				return nil, err
			}
		}
		branches = append(branches, n)
	}
	n := alt(branches)
	if o.Word {
		n = word(n)
	}
	p, err := compile(n, b)
	if err != nil {
		return nil, err
	}
	m := &Matcher{prog: p, dfa: newDFA(p, b.table), vm: newVM(p)}
	m.dfa.poll, m.vm.poll = o.Poll, o.Poll
	if m.dfa.begin == matched {
		return m, nil
	}
	set, exact := required(n)
	for _, l := range set {
		f := newFinder(l)
		f.poll = o.Poll
		m.finders = append(m.finders, f)
	}
	m.exact = exact
	return m, nil
}

// word returns (?:^|\W)(n)(?:$|\W), as ripgrep does.
func word(n *node) *node {
	c := perl('w', false)
	c.negate()
	other := new(parser).classNode(c)
	return &node{op: opCat, subs: []*node{
		alt([]*node{{op: opAssert, look: lineStart}, other}),
		{op: opGroup, subs: []*node{n}},
		alt([]*node{{op: opAssert, look: lineEnd}, other}),
	}}
}

// Reset makes text the text that Next searches. It is neither copied nor changed.
func (m *Matcher) Reset(text []byte) {
	m.text = text
	for _, f := range m.finders {
		f.reset(text)
	}
}

// Next returns the first line at or behind at that matches, without its line feed; at is the start of a line, and no
// smaller than in calls before. ok is false if there is none. An empty line is no line at the end of the text.
func (m *Matcher) Next(at int) (from, to int, ok bool) {
	for at < len(m.text) {
		i, sure := m.candidate(at)
		if i < 0 {
			return 0, 0, false
		}
		from, to = lineOf(m.text, at, i)
		if sure || m.line(m.text[from:to]) {
			return from, to, true
		}
		at = to + 1
	}
	return 0, 0, false
}

// candidate returns an index in the first line that may match, -1 if there is none. The line matches if sure.
func (m *Matcher) candidate(at int) (i int, sure bool) {
	if len(m.finders) == 0 {
		return m.dfa.find(m.text, at)
	}
	i = len(m.text)
	for _, f := range m.finders {
		i = min(i, f.next(at))
	}
	if i == len(m.text) {
		return -1, false
	}
	return i, m.exact
}

// line reports whether one line matches.
func (m *Matcher) line(line []byte) bool {
	match, ok := m.dfa.line(line)
	if !ok {
		_, _, match = m.vm.match(line, 0)
	}
	return match
}

// Size returns the bytes of memory that m takes at most, about.
func (m *Matcher) Size() int {
	return 100*len(m.prog.insts) + 8*len(m.prog.steps) + 16*m.dfa.limit
}

// Spans appends the matches in line, which holds no line feed, to dst: from the left, none within another.
func (m *Matcher) Spans(line []byte, dst [][2]int) [][2]int {
	for p := (place{}); ; {
		start, end, ok := m.span(line, &p)
		if !ok {
			return dst
		}
		dst = append(dst, [2]int{start, end})
	}
}

// A place is where the search for matches in a line goes on. That of its start is zero.
type place struct {
	at   int
	last int // the end of the last match, and 1 more; 0: there was none
}

// span returns the next match in line, and moves p behind it.
func (m *Matcher) span(line []byte, p *place) (start, end int, ok bool) {
	for p.at <= len(line) {
		if start, end, ok = m.vm.match(line, p.at); !ok {
			break
		}
		p.at = end
		if start == end {
			p.at++
			if end+1 == p.last || inside(line, end) {
				continue
			}
		}
		p.last = end + 1
		return start, end, true
	}
	return 0, 0, false
}
