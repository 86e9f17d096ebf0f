package pattern

import "bytes"

// A Found is a match, or a line that matches: the line is text[From:To], without its line feed; what matched is text[Start:End].
type Found struct{ From, To, Start, End int }

// A Cursor is where in a text Find goes on. That of its start is zero.
type Cursor struct {
	Line int // start of a line
	At   int // in the line, where matches were found already
	Last int // the end of the last of them in the line, and 1 more
}

// Find calls put with the matches in text behind c, lines from the first to the last and each as Spans does; or, if lines, with
// each line that matches, of which nothing is said but where it is. It ends after most calls, and there are no more if it made fewer. It
// moves c behind what it found. Whatever c holds, put is called with places in text.
func (m *Matcher) Find(text []byte, c *Cursor, lines bool, most int, put func(i int, f Found)) int {
	m.Reset(text)
	defer m.Reset(nil)
	n := 0
	for n < most && c.Line >= 0 && c.Line < len(text) {
		p := place{c.At, c.Last}
		from, to := c.Line, len(text)
		if lines || p == (place{}) {
			var ok bool
			if from, to, ok = m.Next(from); !ok {
				c.Line = len(text)
				break
			}
		} else if i := bytes.IndexByte(text[from:], '\n'); i >= 0 {
			to = from + i
		}
		next := min(to+1, len(text))
		if lines {
			put(n, Found{from, to, from, to})
			n++
			*c = Cursor{Line: next}
			continue
		}
		p.at = max(p.at, 0)
		*c = Cursor{Line: next}
		for {
			start, end, ok := m.span(text[from:to], &p)
			if !ok {
				break
			}
			put(n, Found{from, to, from + start, from + end})
			if n++; n == most {
				*c = Cursor{from, p.at, p.last}
				break
			}
		}
	}
	return n
}
