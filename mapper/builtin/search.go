package builtin

import (
	"bytes"
	"errors"
)

// errEnough ends the search of an object early.
var errEnough = errors.New("enough")

// A search is the state of the search of one object. Offsets are into the text of the last scan, which begins with the
// lines that scan asked to keep.
type search struct {
	*grepper
	out   Emitter
	count int64 // matching lines
	print printer

	text    []byte
	line    int64 // number of the line that begins at lineAt
	lineAt  int
	printed int  // end of the last line printed
	any     bool // a line was printed
	after   int  // lines of context still to print behind printed
}

func (s *search) reset(g *grepper, name string, out Emitter) {
	s.grepper, s.out = g, out
	s.count, s.line, s.lineAt, s.printed, s.any, s.after = 0, 1, 0, 0, false, 0
	s.print.reset(g, name)
}

// release lets go of the object.
func (s *search) release() {
	s.text, s.out = nil, nil
	s.matcher.Reset(nil)
}

// scan searches text[from:], whole lines that follow what was scanned before. It returns how many bytes at the start of
// text are not needed any more.
func (s *search) scan(text []byte, from int, last bool) (done int, err error) {
	s.text = text
	s.matcher.Reset(text)
	for at := from; at < len(text); {
		start, end, ok := s.matcher.Next(at)
		if !ok {
			start, end = len(text), len(text)
		}
		if s.Invert {
			err = s.others(at, start)
		} else if ok {
			err = s.match(start, end)
		}
		if err != nil {
			return 0, err
		}
		at = end + 1
	}
	if err := s.context(len(text)); err != nil || last {
		return len(text), err
	}
	keep := s.back(len(text), s.Before)
	s.number(keep)
	s.lineAt = 0
	s.printed = max(s.printed-keep, 0)
	return keep, nil
}

// others takes the lines of text[at:end] as matching.
func (s *search) others(at, end int) error {
	for at < end {
		stop := s.endOf(at)
		if err := s.match(at, stop); err != nil {
			return err
		}
		at = stop + 1
	}
	return nil
}

// endOf returns the end of the line that begins at at, without its line feed.
func (s *search) endOf(at int) int {
	if n := bytes.IndexByte(s.text[at:], '\n'); n >= 0 {
		return at + n
	}
	return len(s.text)
}

// match takes the line text[start:end] as matching.
func (s *search) match(start, end int) error {
	switch {
	case s.Files:
		s.count = 1
		return errEnough
	case s.Count:
		if s.count++; s.count == int64(s.MaxCount) {
			return errEnough
		}
		return nil
	case s.JSON:
		s.count++
		s.number(start)
		s.print.json(s.line, s.text[start:end])
		if s.count == int64(s.MaxCount) {
			return errEnough
		}
		return s.flush(false)
	}
	if err := s.context(start); err != nil {
		return err
	}
	over := s.MaxCount > 0 && s.count >= int64(s.MaxCount)
	from := start
	if s.Before > 0 && !over {
		from = max(s.back(start, s.Before), s.printed)
	}
	if (s.Before > 0 || s.After > 0) && (s.any && from > s.printed || !s.any && s.Separate) {
		s.print.separator()
	}
	for from < start {
		stop := s.endOf(from)
		s.put(from, stop, false)
		from = stop + 1
	}
	s.put(start, end, true)
	if over {
		s.after--
	} else {
		s.count++
		s.after = s.After
	}
	if s.MaxCount > 0 && s.count >= int64(s.MaxCount) && s.after == 0 {
		return errEnough
	}
	return s.flush(false)
}

// context prints what is left of the context behind the last line printed, up to end.
func (s *search) context(end int) error {
	for s.after > 0 && s.printed < end {
		s.put(s.printed, s.endOf(s.printed), false)
		s.after--
	}
	if s.after == 0 && s.MaxCount > 0 && s.count >= int64(s.MaxCount) {
		return errEnough
	}
	return s.flush(false)
}

// put prints a line.
func (s *search) put(start, end int, match bool) {
	s.number(start)
	s.print.line(s.line, s.text[start:end], match)
	s.any = true
	s.printed = end + 1
}

// number counts lines up to the one that begins at at, which is no earlier than any before.
func (s *search) number(at int) {
	if at > s.lineAt && !s.NoNumber {
		s.line += int64(bytes.Count(s.text[s.lineAt:at], newline))
	}
	s.lineAt = at
}

var newline = []byte{'\n'}

// back returns the start of the n-th line before the line start at at.
func (s *search) back(at, n int) int {
	for ; n > 0 && at > 0; n-- {
		at = bytes.LastIndexByte(s.text[:at-1], '\n') + 1
	}
	return at
}

// flush emits what was printed if it is much, or in any case.
func (s *search) flush(all bool) error {
	if len(s.print.buf) == 0 || !all && len(s.print.buf) < 32<<10 {
		return nil
	}
	err := s.out.Text(s.print.buf)
	s.print.empty()
	return err
}

// finish prints what is known at the end only, and counts.
func (s *search) finish() error {
	if s.count == 0 {
		return nil
	}
	switch {
	case s.Files:
		s.print.name()
	case s.Count:
		s.print.count(s.count)
	}
	s.out.Count("matching_lines", s.count)
	s.out.Count("matching_objects", 1)
	return s.flush(true)
}
