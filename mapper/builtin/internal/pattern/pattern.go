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
	var branches []*node
	budget := maxSpans
	for _, s := range patterns {
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
	p, err := compile(n)
	if err != nil {
		return nil, err
	}
	m := &Matcher{prog: p, dfa: newDFA(p), vm: newVM(p)}
	if m.dfa.begin == matched {
		return m, nil
	}
	set, exact := required(n)
	for _, l := range set {
		m.finders = append(m.finders, newFinder(l))
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

// Spans appends the matches in line, which holds no line feed, to dst: from the left, none within another.
func (m *Matcher) Spans(line []byte, dst [][2]int) [][2]int {
	last := -1
	for at := 0; at <= len(line); {
		start, end, ok := m.vm.match(line, at)
		if !ok {
			break
		}
		at = end
		if start == end {
			at++
			if end == last || inside(line, end) {
				continue
			}
		}
		last = end
		dst = append(dst, [2]int{start, end})
	}
	return dst
}
