package runner

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/shuffle"
)

// A slow is a guest that takes its time after each piece of its input, and emits a record.
type slow struct {
	takes  time.Duration
	limits sandbox.Limits // of its run
}

func (s *slow) Close() error { return nil }

func (s *slow) Run(ctx context.Context, r *sandbox.Run) (report sandbox.Report, err error) {
	s.limits = r.Limits
	out := guest.NewAnswers(r.Stdout)
	for piece := make([]byte, 64<<10); err == nil; {
		if _, err = r.Stdin.Read(piece); err != nil {
			break
		}
		select {
		case <-time.After(s.takes):
		case <-ctx.Done():
			return report, context.Cause(ctx)
		}
		err = out.Record([]byte("k"), nil)
	}
	if err != io.EOF {
		return report, err
	}
	return report, errors.Join(out.OK(), out.Flush())
}

// A reduce may take much longer than what limits say of an object, and emit and read more, as long as it reads on.
func TestLongReduce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := job.Limits{Wall: 60 * time.Second, Output: 10, Reads: 1, ReadBytes: 1, Writes: 1, Memory: 1 << 20}
		for _, tt := range []struct {
			takes time.Duration
			err   string
		}{{55 * time.Second, ""}, {70 * time.Second, "guest wall clock limit: 1m0s"}} {
			g := &slow{takes: tt.takes}
			p := &sdkProgram{guestProgram: guestProgram{guest: g, limits: limits}}
			started, results, working := 0, 0, false
			begin := time.Now()
			_, err := p.reduce(t.Context(), largeGroup(t), func(b bool) {
				if working = b; b {
					started++
				}
			}, func(_, _ []byte) error { results++; return nil })
			switch {
			case tt.err != "":
				if err == nil || !strings.Contains(err.Error(), tt.err) || !errors.Is(err, sandbox.ErrLimit) {
					t.Errorf("%v for each piece: got %v, want %s", tt.takes, err, tt.err)
				}
			case err != nil:
				t.Errorf("%v for each piece: %v", tt.takes, err)
			case results < 10 || started < results || !working || time.Since(begin) < 10*tt.takes:
				t.Errorf("%d results of %d pieces in %v", results, started, time.Since(begin))
			}
			want := sandbox.Limits{Memory: 1 << 20, Output: math.MaxInt64}
			g.limits.Wall, g.limits.CPU = 0, 0 // laps have them
			if g.limits != want {
				t.Errorf("limits are %+v, want %+v", g.limits, want)
			}
		}
	})
}

// largeGroup returns a merge of 1 MB of values of one key.
func largeGroup(t *testing.T) *shuffle.Merger {
	t.Helper()
	var file strings.Builder
	s := shuffle.NewSorter(&shuffle.SorterOptions{Budget: 4 << 20})
	defer s.Close()
	s.Start(&file, 0)
	for range 1000 {
		if err := s.Add([]byte("k"), make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	sections, err := s.Seal()
	if err != nil {
		t.Fatal(err)
	}
	return shuffle.Merge([]*shuffle.RunReader{shuffle.NewRunReader(strings.NewReader(file.String()), &shuffle.RunOptions{Expect: &sections[0]})}, nil)
}
