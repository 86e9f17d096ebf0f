package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
)

// A meter stands between a guest and its streams: it counts, it holds the limits of the channels and keeps the end of the log.
type meter struct {
	streams *Streams
	limits  Limits

	mu     sync.Mutex // stderr of a native guest comes on another goroutine
	counts Report
	lap    uint64 // to which base belongs
	base   Report // counts when that lap began
	log    logTail
	open   bool // the last line of the log has not ended
}

func newMeter(s *Streams, l Limits) *meter {
	return &meter{streams: s, limits: l, log: logTail{max: int(l.Log)}}
}

// report returns the counts and the log so far.
func (m *meter) report() Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.counts
	if m.open {
		r.LogLines++
	}
	r.Log = lastLines(m.log.String(), m.limits.LogLines)
	r.LogDropped = max(r.LogLines-countLines(r.Log), 0)
	return r
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// used returns the counts of the lap under way. The caller holds mu.
func (m *meter) used() Report {
	if lap := m.streams.Laps.lap(); lap != m.lap {
		m.lap, m.base = lap, m.counts
	}
	u := m.counts
	u.Reads -= m.base.Reads
	u.ReadBytes -= m.base.ReadBytes
	u.Writes -= m.base.Writes
	u.WriteBytes -= m.base.WriteBytes
	return u
}

// over returns the error of a limit that was passed.
func (m *meter) over(what, limit string) error {
	if m.streams.Laps != nil {
		m.streams.Laps.passed.Store(true)
	}
	return fmt.Errorf("guest %s %w: more than %s", what, ErrLimit, limit)
}

func calls(n int64) string {
	if n == 1 {
		return "1 call"
	}
	return fmt.Sprintf("%d calls", n)
}

// read reads stdin.
func (m *meter) read(p []byte) (int, error) {
	if m.streams.Stdin == nil {
		return 0, io.EOF
	}
	n, err := m.streams.Stdin.Read(p)
	m.mu.Lock()
	u := m.used() // input that begins a lap belongs to it
	m.counts.Reads++
	m.counts.ReadBytes += int64(n)
	m.mu.Unlock()
	u.Reads++
	u.ReadBytes += int64(n)
	switch l := &m.limits; {
	case err != nil && err != io.EOF:
		err = fmt.Errorf("stdin of the guest: %w", err)
	case n == 0:
	case l.Reads > 0 && u.Reads > l.Reads:
		return 0, m.over("stdin", calls(l.Reads))
	case l.ReadBytes > 0 && u.ReadBytes > l.ReadBytes:
		return 0, m.over("stdin", byteText(l.ReadBytes))
	}
	return n, err
}

// write passes on what the guest writes to stdout.
func (m *meter) write(p []byte) (int, error) {
	m.mu.Lock()
	u := m.used()
	m.counts.Writes++
	m.counts.WriteBytes += int64(len(p))
	m.mu.Unlock()
	u.Writes++
	u.WriteBytes += int64(len(p))
	if m.streams.Laps != nil {
		u.WriteBytes -= lapSlack
	}
	switch l := &m.limits; {
	case u.WriteBytes > l.Output:
		return 0, m.over("output", byteText(l.Output))
	case l.Writes > 0 && u.Writes > l.Writes:
		return 0, m.over("stdout", calls(l.Writes))
	}
	if m.streams.Stdout == nil {
		return len(p), nil
	}
	n, err := m.streams.Stdout.Write(p)
	if err != nil {
		err = fmt.Errorf("stdout of the guest: %w", err)
	}
	return n, err
}

// note keeps what the guest writes to stderr.
func (m *meter) note(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(p) > 0 {
		m.counts.LogLines += int64(bytes.Count(p, []byte{'\n'}))
		m.open = p[len(p)-1] != '\n'
	}
	return m.log.Write(p)
}

// stdin, stdout and stderr are those of a guest whose run is stopped by what they find wrong.
func (m *meter) stdin(stop context.CancelCauseFunc) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		n, err := m.read(p)
		if err != nil && err != io.EOF {
			stop(err)
		}
		return n, err
	})
}

func (m *meter) stdout(stop context.CancelCauseFunc) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		n, err := m.write(p)
		if err != nil {
			stop(err)
		}
		return n, err
	})
}

func (m *meter) stderr() io.Writer { return writerFunc(m.note) }

// countLines returns the lines in s, of which the last one need not end.
func countLines(s string) int64 {
	n := int64(strings.Count(s, "\n"))
	if s != "" && s[len(s)-1] != '\n' {
		n++
	}
	return n
}

// lastLines returns the last n lines of a log, behind "…" if that is not all.
func lastLines(log string, n int64) string {
	for i := len(log) - 1; i > 0; i-- {
		if log[i-1] != '\n' {
			continue
		}
		if n--; n == 0 {
			return "…" + log[i:]
		}
	}
	return log
}

// A logTail keeps the last max bytes written to it.
type logTail struct {
	max  int
	buf  []byte // holds at most 2*max
	lost bool
}

func (t *logTail) Write(p []byte) (int, error) {
	n := len(p)
	if len(p) > t.max {
		p, t.lost = p[len(p)-t.max:], true
	}
	if len(t.buf)+len(p) > 2*t.max {
		keep := t.max - len(p)
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-max(keep, 0):]...)
		t.lost = true
	}
	t.buf = append(t.buf, p...)
	return n, nil
}

// String returns what was kept. A log that lost its beginning starts with "…".
func (t *logTail) String() string {
	b, lost := t.buf, t.lost
	if len(b) > t.max {
		b, lost = b[len(b)-t.max:], true
	}
	if lost {
		return "…" + string(b)
	}
	return string(b)
}
