package sandbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

// FuzzLimits has a guest read and write whatever, in calls of several buffers and in laps, under whatever limits, and holds what it is allowed and
// what is reported against a model. Each three bytes of calls are one: what, and two sizes.
func FuzzLimits(f *testing.F) {
	f.Add([]byte{2, 20, 3, 40, 0, 4, 0, 7}, []byte{0, 3, 9, 1, 5, 5, 2, 200, 1, 3, 0, 0, 1, 9, 9, 0, 30, 3})
	f.Add([]byte{0, 0, 0, 0, 0, 9, 2, 0}, []byte{2, 10, 1, 2, 11, 0, 2, 3, 4, 2, 255, 255})
	f.Add([]byte{1, 1, 1, 1, 1, 1, 1, 1}, bytes.Repeat([]byte{3, 0, 0, 1, 250, 250, 1, 250, 250, 0, 7, 7}, 20))
	f.Fuzz(func(t *testing.T, limits, calls []byte) {
		if len(limits) < 8 {
			return
		}
		m := newModel(limits)
		for n := 0; len(calls) >= 3 && n < 400; n++ {
			m.call(t, calls[0], int(calls[1]), int(calls[2]))
			calls = calls[3:]
		}
		m.compare(t)
	})
}

// A model is a guest with its host, and what the host should know of it.
type model struct {
	host   *host
	memory []byte
	laps   *Laps
	stdin  *dribble
	out    bytes.Buffer
	limits Limits

	report  Report
	seen    uint64 // lap
	base    Report // when it began
	log     []byte
	written []byte // that passed
	passed  bool   // a limit
}

// A dribble is a stream that gives at most so many bytes at once.
type dribble struct{ atOnce, left int }

func (d *dribble) Read(p []byte) (int, error) {
	n := min(len(p), d.atOnce, d.left)
	if n == 0 {
		return 0, io.EOF
	}
	d.left -= n
	return n, nil
}

// newModel takes small limits, of which 0 is the default, and the stream's.
func newModel(b []byte) *model {
	h, memory := hostOf(1 << 18)
	h.instance.guest.interpreted = true // so that a run that is ended panics with errEnd
	m := &model{
		host: h, memory: memory, stdin: &dribble{1 + int(b[5])*9, int(b[6]) * 50},
		limits: Limits{
			Reads: int64(b[0]), ReadBytes: int64(b[1]) * 7, Writes: int64(b[2]), Output: int64(b[3]) * 11,
			Log: int64(b[4]), LogLines: int64(b[7] & 15),
		}.withDefaults(),
	}
	if b[7]&16 != 0 {
		m.laps = NewLaps()
	}
	state := freshHost()
	streams := &Streams{Stdin: m.stdin, Stdout: &m.out, Laps: m.laps}
	h.reset(h.instance, &Run{}, newMeter(streams, m.limits), &state)
	return m
}

// call has the guest do one thing, with buffers of these sizes, and one without room between them.
func (m *model) call(t *testing.T, kind byte, a, b int) {
	if kind%8 == 7 { // large ones
		kind, a, b = kind/8, a*500, b*500
	}
	buffers := []int{a, 0, b}
	at := 4096
	for i, n := range buffers {
		binary.LittleEndian.PutUint32(m.memory[8*i:], uint32(at))
		binary.LittleEndian.PutUint32(m.memory[8*i+4:], uint32(n))
		for j := range n {
			m.memory[at+j] = "\nlines"[(a+b+j)%max(1, min(6, a))]
		}
		at += n
	}
	var want error
	args := []uint64{0, 0, uint64(len(buffers)), 1000}
	do := m.host.fdWrite
	switch kind % 4 {
	case 0:
		want = m.reads(buffers)
		do = m.host.fdRead
	case 1:
		want = m.writes(buffers)
		args[0] = 1
	case 2:
		for p := range m.pieces(buffers) {
			m.log = append(m.log, p...)
		}
		args[0] = 2
	case 3:
		if m.laps != nil {
			if a&1 == 0 {
				m.laps.Begin()
			} else {
				m.laps.Rest()
			}
		}
		return
	}
	m.host.failed = nil
	got := func() (err error) {
		defer func() {
			if p := recover(); p == errEnd {
				err = m.host.failed
			} else if p != nil {
				panic(p)
			}
		}()
		if e := do(args); e != success {
			t.Fatalf("call %d answers %d", kind%4, e)
		}
		return nil
	}()
	if fmt.Sprint(got) != fmt.Sprint(want) || got != nil && !errors.Is(got, ErrLimit) {
		t.Errorf("call %d of %v after %+v under %+v: %v, want %v", kind%4, buffers, m.report, m.limits, got, want)
	}
}

// pieces yields the buffers.
func (m *model) pieces(buffers []int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		at := 4096
		for _, n := range buffers {
			if !yield(m.memory[at : at+n]) {
				return
			}
			at += n
		}
	}
}

// lap starts to count anew when another lap has begun.
func (m *model) lap() {
	if now := m.laps.lap(); now != m.seen {
		m.seen, m.base = now, m.report
	}
}

// reads returns how a read of the buffers ends.
func (m *model) reads(buffers []int) error {
	left := m.stdin.left
	for _, n := range buffers {
		if n == 0 {
			continue
		}
		m.lap()
		got := min(n, left, m.stdin.atOnce, maxRead)
		left -= got
		m.report.Reads++
		m.report.ReadBytes += int64(got)
		switch {
		case got == 0:
		case m.limits.Reads > 0 && m.report.Reads-m.base.Reads > m.limits.Reads:
			m.passed = true
			return fmt.Errorf("guest stdin limit: more than %s", calls(m.limits.Reads))
		case m.limits.ReadBytes > 0 && m.report.ReadBytes-m.base.ReadBytes > m.limits.ReadBytes:
			m.passed = true
			return fmt.Errorf("guest stdin limit: more than %s", byteText(m.limits.ReadBytes))
		}
		if got < n {
			break
		}
	}
	return nil
}

// writes returns how a write of the buffers ends.
func (m *model) writes(buffers []int) error {
	most := m.limits.Output
	if m.laps != nil {
		most += lapSlack
	}
	for p := range m.pieces(buffers) {
		m.lap()
		m.report.Writes++
		m.report.WriteBytes += int64(len(p))
		switch {
		case m.report.WriteBytes-m.base.WriteBytes > most:
			m.passed = true
			return fmt.Errorf("guest output limit: more than %s", byteText(m.limits.Output))
		case m.limits.Writes > 0 && m.report.Writes-m.base.Writes > m.limits.Writes:
			m.passed = true
			return fmt.Errorf("guest stdout limit: more than %s", calls(m.limits.Writes))
		}
		m.written = append(m.written, p...)
	}
	return nil
}

// compare holds what the host reports against what was done.
func (m *model) compare(t *testing.T) {
	from := max(len(m.log)-int(m.limits.Log), 0)
	kept := string(m.log[from:])
	for lines := strings.SplitAfter(strings.TrimSuffix(kept, "\n"), "\n"); int64(len(lines)) > m.limits.LogLines; lines = lines[1:] {
		from += len(lines[0])
	}
	want := m.report
	want.LogLines = countLines(string(m.log))
	want.LogDropped = want.LogLines - countLines(string(m.log[from:]))
	want.Log = string(m.log[from:])
	if from > 0 {
		want.Log = "…" + want.Log
	}
	if got := m.host.meter.report(); !reflect.DeepEqual(got, want) {
		t.Errorf("under %+v: reported %+v, want %+v", m.limits, got, want)
	}
	if !bytes.Equal(m.out.Bytes(), m.written) {
		t.Errorf("%d bytes were written, want %d", m.out.Len(), len(m.written))
	}
	if m.laps != nil && m.laps.Passed() != m.passed {
		t.Errorf("a limit was passed: %t", m.laps.Passed())
	}
}
