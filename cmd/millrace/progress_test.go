package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/job"
)

func TestPlain(t *testing.T) {
	p := &progress{noun: "match"}
	tests := []struct {
		s    job.Progress
		want string
	}{
		{job.Progress{Phase: job.Listing, Listed: 1500}, "list  0/1,500+ objects, 0 bytes, 0 objects/s, 0 bytes/s, 0 matches"},
		{job.Progress{Phase: job.Mapping, Listed: 400, ListDone: true, Objects: 100, Bytes: 2048, Records: 1, Failed: 2, Elapsed: 2 * time.Second},
			"map  100/400 objects, 2.0 KiB, 50 objects/s, 1.0 KiB/s, 1 match, 2 failed, ETA 6.0 s"},
		{job.Progress{Phase: job.Reducing, Reduces: 1, ReduceTotal: 4, ShuffleBytes: 1 << 20}, "reduce  1/4 partitions, 1.0 MiB shuffled"},
		{job.Progress{Phase: job.Committing, Published: 3, PublishTotal: 4}, "commit  3/4 parts published"},
		{job.Progress{Phase: job.Committing}, "commit"},
	}
	for _, tt := range tests {
		if got := p.plain(tt.s); got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}

func TestBar(t *testing.T) {
	var out strings.Builder
	p := &progress{screen: &screen{stderr: &out, width: 40}, noun: "record"}
	show := p.bar()
	for i := range 11 {
		out.Reset()
		show(job.Progress{Phase: job.Mapping, Listed: 10, ListDone: true, Objects: int64(i)})
		line := strings.TrimSuffix(strings.TrimPrefix(out.String(), "\r"), "\x1b[K")
		if n := len([]rune(line)); n > 39 {
			t.Errorf("line of %d columns: %q", n, line)
		}
		if want := fmt.Sprintf("%d%% ", min(i, 9)*10); !strings.HasPrefix(line, want) {
			t.Errorf("at %d: got %q, want it to start with %q", i, line, want)
		}
	}
	out.Reset()
	show(job.Progress{Phase: job.Reducing, ReduceTotal: 2})
	if !strings.HasPrefix(out.String(), "\r0% ") || !strings.Contains(out.String(), "reduce") {
		t.Errorf("a new phase: got %q", out.String())
	}
}

// A syncBuilder may be written to by several goroutines.
type syncBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuilder) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func TestProgressJSON(t *testing.T) {
	defer goleak.VerifyNone(t)
	out := new(syncBuilder)
	p := newProgress("json", newScreen(out, out, false), "record")
	p.start(func() job.Progress { return job.Progress{Job: "x", Phase: job.Done, Objects: 3} })
	p.stop()
	var got job.Progress
	if err := json.Unmarshal([]byte(out.b.String()), &got); err != nil || got.Objects != 3 || got.Phase != job.Done {
		t.Errorf("got %q, %v", out.b.String(), err)
	}
}

// Lines and the line of progress on one terminal: the one is taken away for the other.
func TestScreen(t *testing.T) {
	var tty strings.Builder
	s := &screen{stdout: &tty, stderr: &tty, width: 80, shared: true}
	s.line("50%")
	_, _ = s.Write([]byte("a line\n"))
	s.line("60%")
	_, _ = s.Write([]byte("half a"))
	s.line("70%") // not in the middle of a line
	_, _ = s.Write([]byte(" line\n"))
	s.print("a note")
	s.done()
	want := "\r50%\x1b[K" + "\r\x1b[K" + "a line\n" + "\r60%\x1b[K" + "\r\x1b[K" + "half a line\n" + "a note\n"
	if tty.String() != want {
		t.Errorf("got  %q\nwant %q", tty.String(), want)
	}
}

func TestAsk(t *testing.T) {
	for answer, agreed := range map[string]bool{"y\n": true, "Yes\n": true, "n\n": false, "\n": false, "": false} {
		var tty strings.Builder
		s := &screen{stdout: &tty, stderr: &tty}
		err := s.ask(context.Background(), strings.NewReader(answer), "Go on? ")
		if (err == nil) != agreed {
			t.Errorf("answer %q: got %v, want agreement %v", answer, err, agreed)
		}
		if tty.String() != "Go on? " {
			t.Errorf("asked %q", tty.String())
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errCancelled)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	s := &screen{stderr: new(strings.Builder)}
	if err := s.ask(ctx, r, "Go on? "); !errors.Is(err, errCancelled) {
		t.Errorf("cancelled: got %v", err)
	}
}
