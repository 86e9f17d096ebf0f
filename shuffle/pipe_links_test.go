package shuffle_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/shuffle"
	"github.com/millrace/millrace/shuffle/shuffletest"
)

// A meeting makes links between two ends, over a line, as often as they like.
type meeting struct {
	t        testing.TB
	line     *shuffletest.Line
	patience time.Duration
	links    chan shuffle.Link // for the reader
	left     chan struct{}     // closed when the reader is over

	mu   sync.Mutex
	good time.Time // when something came to the reader last, or its first link; zero before
}

// A heard link tells its meeting what comes.
type heard struct {
	shuffle.Link
	m *meeting
}

func (h heard) Receive() (shuffle.Kind, []byte, uint32, error) {
	kind, payload, sum, err := h.Link.Receive()
	if err == nil {
		h.m.mark(true)
	}
	return kind, payload, sum, err
}

// mark counts the patience from now on, if not only the first time.
func (m *meeting) mark(again bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if again || m.good.IsZero() {
		m.good = time.Now()
	}
}

// late returns when a reader has waited for long enough, if a writer was there before.
func (m *meeting) late() <-chan time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.good.IsZero() {
		return nil
	}
	return time.After(time.Until(m.good.Add(m.patience)))
}

func (m *meeting) writer(context.Context) (shuffle.Link, error) {
	w, near := halfUnix(m.t, shuffle.ReaderFrames(), shuffle.WriterFrames())
	r, far := halfUnix(m.t, shuffle.WriterFrames(), shuffle.ReaderFrames())
	m.line.Connect(near, far)
	err := error(syscall.EPIPE)
	select {
	case m.links <- r:
		return w, nil
	case <-m.left:
	case <-time.After(m.patience):
	}
	return nil, errors.Join(err, w.Close(), r.Close())
}

func (m *meeting) reader(ctx context.Context) (shuffle.Link, error) {
	late := m.late()
	select {
	case l := <-m.links:
		m.mark(false)
		return heard{l, m}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-late: // which links that are dead at once do not put off
		return nil, errors.New("nobody came")
	}
}

// A netpipe that outlives its sockets.
func TestResumingPipe(t *testing.T) {
	t.Parallel()
	open := func(t testing.TB, l *shuffletest.Line, hurry shuffletest.Timing) (shuffle.PipeWriter, shuffle.PipeReader) {
		m := &meeting{t: t, line: l, patience: hurry.Patience, links: make(chan shuffle.Link), left: make(chan struct{})}
		w := shuffle.NewPipeWriter(nil, &shuffle.PipeOptions{Silence: hurry.Silence, Redial: m.writer})
		r := shuffle.NewPipeReader(nil, &shuffle.PipeOptions{Silence: hurry.Silence, Redial: m.reader, Over: func() { close(m.left) }})
		return w, r
	}
	shuffletest.TestPipe(t, shuffletest.Transport{
		Open: func(t testing.TB, writers int) (w []shuffle.PipeWriter, r shuffle.PipeReader) {
			var from []shuffle.PipeReader
			for range writers {
				l := &shuffletest.Line{}
				t.Cleanup(l.Close)
				pw, pr := open(t, l, shuffletest.Timing{Silence: time.Minute, Patience: time.Minute})
				w, from = append(w, pw), append(from, pr)
			}
			return w, shuffle.Join(from...)
		},
		Wire: func(t testing.TB, l *shuffletest.Line, hurry shuffletest.Timing) (shuffle.PipeWriter, shuffle.PipeReader) {
			return open(t, l, hurry)
		},
		Resumes: true,
	})
}

// A muffled link passes no beats.
type muffled struct{ shuffle.Link }

func (m muffled) Send(kind shuffle.Kind, payload []byte, sum uint32) error {
	if kind == shuffle.Beat {
		return nil
	}
	return m.Link.Send(kind, payload, sum)
}

func TestBeats(t *testing.T) {
	const silence = 30 * time.Second
	ends := func(w, r shuffle.Link) (shuffle.PipeWriter, shuffle.PipeReader) {
		o := &shuffle.PipeOptions{Silence: silence}
		pw, pr := shuffle.NewPipeWriter(w, o), shuffle.NewPipeReader(r, o)
		if err := errors.Join(pr.Open(context.Background()), pw.Open(context.Background())); err != nil {
			t.Fatal(err)
		}
		return pw, pr
	}
	t.Run("idle ends stay", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, r := ends(shuffle.MemLinks())
			go func() {
				time.Sleep(20 * silence)
				w.Write([]byte("x"))
				w.Close()
			}()
			begun := time.Now()
			if got, err := io.ReadAll(r); string(got) != "x" || err != nil || time.Since(begun) != 20*silence {
				t.Errorf("got %q, %v after %v", got, err, time.Since(begun))
			}
			r.Close()
		})
	})
	t.Run("a reader that does not read is there", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, r := ends(shuffle.MemLinks())
			wrote := make(chan error, 1)
			go func() { _, err := w.Write(make([]byte, 8<<20)); wrote <- errors.Join(err, w.Close()) }()
			time.Sleep(20 * silence)
			if n, err := io.Copy(io.Discard, onlyReader{r}); n != 8<<20 || err != nil {
				t.Errorf("got %d bytes, %v", n, err)
			}
			if err := <-wrote; err != nil {
				t.Error(err)
			}
			r.Close()
		})
	})
	t.Run("a silent writer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			wl, rl := shuffle.MemLinks()
			w, r := ends(muffled{wl}, rl)
			begun := time.Now()
			_, err := r.Read(make([]byte, 1))
			if took := time.Since(begun); !errors.Is(err, io.ErrUnexpectedEOF) || took < silence || took > 2*silence {
				t.Errorf("got %v after %v", err, took)
			}
			w.Abort("end of test")
		})
	})
	t.Run("a silent reader", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			wl, rl := shuffle.MemLinks()
			w, r := ends(wl, muffled{rl})
			begun := time.Now()
			_, err := w.Write(make([]byte, 8<<20))
			if took := time.Since(begun); !errors.Is(err, syscall.EPIPE) || took < silence || took > 2*silence {
				t.Errorf("got %v after %v", err, took)
			}
			w.Abort("end of test")
			r.Close()
		})
	})
}

type onlyReader struct{ io.Reader }
