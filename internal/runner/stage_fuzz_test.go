package runner

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/format"
	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
)

// FuzzRecords has a mapper emit whatever records, text and counters under whatever limits, object after object, and holds what it is allowed and what is kept of it
// against a model.
func FuzzRecords(f *testing.F) {
	f.Add([]byte{40, 3, 0}, []byte{0, 1, 1, 'k', 'v', 1, 3, 'a', '\n', 'b', 2, 1, 'n', 0, 9, 9, 3, 0, 0, 0})
	f.Add([]byte{0, 2, 1}, []byte{0, 2, 3, 'a', 0, 255, '\n', '\\', 0, 0, 0, 0, 0, 0})
	f.Add([]byte{255, 39, 0, 0, 1}, []byte{5, 1, 1, 'k', 'v', 9, 5, 1, 1, 'k', 'v', 255, 0, 1, 1, 'k', 'v', 3})
	f.Add([]byte{255, 39, 0, 0, 0}, []byte{5, 1, 1, 'k', 'v', 9})
	f.Add([]byte{9, 9, 2}, []byte{4, 255, 1, 2, 1, 'x', 2, 1, 'y'})
	f.Fuzz(func(t *testing.T, l, b []byte) {
		limits := script(l)
		s := &stage{
			limits:  job.Limits{Output: int64(limits.pick(256)) * 3, Records: int64(limits.pick(40))},
			types:   guest.Description{Key: guest.String, Acc: guest.String},
			textual: limits.pick(2) == 1,
			counts:  make(map[string]int64),
		}
		if limits.pick(2) == 1 {
			s.format = job.JSONL
		}
		s.repeats = !s.textual && limits.pick(3) > 0
		m := emitted{counts: make(map[string]int64)}
		for steps := script(b); len(steps) > 0; {
			m.step(t, s, &steps)
		}
		m.compare(t, s)
	})
}

// An emitted is what an object has emitted so far.
type emitted struct {
	records [][2]string
	text    []byte
	n       int64 // records and lines
	counts  map[string]int64
}

func (m *emitted) step(t *testing.T, s *stage, b *script) {
	var err error
	switch b.pick(6) {
	case 0:
		k, v := b.pick(24), b.pick(24)
		key, value := b.take(k), b.take(v)
		err = s.Record(key, value)
		m.add(s, key, value)
		clear(key) // the stage has a copy
		clear(value)
	case 1:
		p := b.take(b.pick(40))
		err = s.Text(p)
		m.text = append(m.text, p...)
		m.n += int64(bytes.Count(p, []byte("\n")))
	case 2:
		m.count(s, string(b.take(b.pick(12))), int64(b.pick(256)))
		return
	case 3:
		m.compare(t, s)
		s.reset()
		*m = emitted{counts: make(map[string]int64)}
		return
	case 4: // many counters, and one with a long name
		for i := range b.pick(256) * 2 {
			m.count(s, fmt.Sprint("counter ", i), 1)
		}
		m.count(s, strings.Repeat("n", maxCounterName+b.pick(2)), 1)
		return
	case 5: // as many equal records as there may be, and one more, are kept at most
		key, value := b.take(b.pick(24)), b.take(b.pick(24))
		n := 2 + int64(b.pick(256))
		if n == 257 {
			n = math.MaxInt64
		}
		if err = s.Records(key, value, n); !s.repeats {
			if !errors.Is(err, guest.ErrProtocol) {
				t.Errorf("equal records without leave: %v", err)
			}
			return
		}
		for over := false; n > 0 && !over; n-- {
			m.add(s, key, value)
			over = m.over(s)
		}
		clear(key)
		clear(value)
	}
	if m.over(s) != (err != nil) || err != nil && !errors.Is(err, sandbox.ErrLimit) {
		t.Errorf("%d bytes, %d records and lines of %+v: %v", m.size(), m.n, s.limits, err)
	}
}

// add emits a record.
func (m *emitted) add(s *stage, key, value []byte) {
	m.n++
	if s.textual {
		m.text = append(m.text, line(s.format, key, value)...)
	} else {
		m.records = append(m.records, [2]string{string(key), string(value)})
	}
}

// size returns the bytes that were emitted.
func (m *emitted) size() int64 {
	size := int64(len(m.text))
	for _, r := range m.records {
		size += int64(8 + len(r[0]) + len(r[1]))
	}
	return size
}

func (m *emitted) over(s *stage) bool { return m.size() > s.limits.Output || m.n > s.limits.Records }

func (m *emitted) count(s *stage, name string, n int64) {
	s.Count(name, n)
	if _, ok := m.counts[name]; ok || len(m.counts) < maxCounters && len(name) <= maxCounterName {
		m.counts[name] += n
	}
}

// line is a record as it is printed, by another way than the stage's for what is plain.
func line(f job.Format, key, value []byte) []byte {
	plain := func(b []byte) bool {
		return !bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`\"<>&`, r) })
	}
	switch {
	case !plain(key) || !plain(value):
		return format.AppendLine(nil, f, guest.String, guest.String, key, value)
	case f == job.JSONL:
		return fmt.Appendf(nil, "{\"key\":%q,\"value\":%q}\n", key, value)
	}
	return fmt.Appendf(nil, "%s\t%s\n", key, value)
}

// compare holds what the stage has against what was emitted.
func (m *emitted) compare(t *testing.T, s *stage) {
	var got [][2]string
	if err := s.each(func(key, value []byte, n int64) error {
		for range n {
			got = append(got, [2]string{string(key), string(value)})
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(m.records) || !bytes.Equal(s.text, m.text) || s.records+s.lines != m.n {
		t.Errorf("%d records and lines: %q %q, want %d: %q %q", s.records+s.lines, got, s.text, m.n, m.records, m.text)
	}
	if fmt.Sprint(s.counts) != fmt.Sprint(m.counts) {
		t.Errorf("counted %v, want %v", s.counts, m.counts)
	}
}
