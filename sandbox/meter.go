package sandbox

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// A meter stands between a guest and its streams: it counts, it holds the limit of the output and keeps the end of the log.
type meter struct {
	streams *Streams
	limits  Limits

	mu     sync.Mutex // stderr of a native guest comes on another goroutine
	counts Report
	log    logTail
}

func newMeter(s *Streams, l Limits) *meter {
	return &meter{streams: s, limits: l, log: logTail{max: int(l.Log)}}
}

// report returns the counts and the log so far.
func (m *meter) report() Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.counts
	r.Log = m.log.String()
	return r
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// read reads stdin.
func (m *meter) read(p []byte) (int, error) {
	if m.streams.Stdin == nil {
		return 0, io.EOF
	}
	n, err := m.streams.Stdin.Read(p)
	m.mu.Lock()
	m.counts.Reads++
	m.counts.ReadBytes += int64(n)
	m.mu.Unlock()
	if err != nil && err != io.EOF {
		err = fmt.Errorf("stdin of the guest: %w", err)
	}
	return n, err
}

// write passes on what the guest writes to stdout.
func (m *meter) write(p []byte) (int, error) {
	m.mu.Lock()
	m.counts.Writes++
	m.counts.WriteBytes += int64(len(p))
	total := m.counts.WriteBytes
	m.mu.Unlock()
	if total > m.limits.Output {
		return 0, fmt.Errorf("guest output %w: more than %s", ErrLimit, byteText(m.limits.Output))
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
