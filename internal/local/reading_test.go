package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

// A flaky bucket fails the first reads of one object.
type flaky struct {
	store.Bucket
	key   store.Key
	err   error
	times atomic.Int64
}

func (b *flaky) Open(ctx context.Context, key store.Key, etag string, off, n int64) (io.ReadCloser, error) {
	if key == b.key && b.times.Add(-1) >= 0 {
		return nil, b.err
	}
	return b.Bucket.Open(ctx, key, etag, off, n)
}

func (b *flaky) ReadWhole(ctx context.Context, o store.Object, dst []byte) error {
	if o.Key == b.key && b.times.Add(-1) >= 0 {
		return b.err
	}
	r, err := b.Bucket.Open(ctx, o.Key, o.ETag, 0, o.Size)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.ReadFull(r, dst)
	return err
}

func TestReadErrors(t *testing.T) {
	line := "word" + strings.Repeat(" ", 95) + "\n"
	for _, size := range []int{100, 5 << 20} {
		for _, c := range []struct {
			err    error
			times  int64
			ended  string // error of the job
			failed int64
		}{
			{store.ErrChanged, 1, "", 1},
			{store.ErrNotExist, 1, "", 1},
			{errors.New("line is dead"), 3, "", 0},
			{errors.New("line is dead"), 1 << 40, ".16 on ", 0},
			{store.ErrThrottled, 20, "", 0},
		} {
			m := mem.New()
			for i := range 200 {
				if _, err := m.Bucket("in").Put(t.Context(), store.Key(fmt.Sprintf("%03d", i)), []byte("word\n")); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := m.Bucket("in").Put(t.Context(), "x", []byte(strings.Repeat(line, size/len(line)))); err != nil {
				t.Fatal(err)
			}
			open := m.Opener()
			res, err := local.Run(t.Context(), &job.Spec{Inputs: []string{"mem:in/"}, Output: "mem:out", Slots: 2}, &local.Options{
				InProcess: count(),
				Schemes: store.Schemes{"mem": func(ctx context.Context, u store.URI, o *store.Options) (store.Bucket, store.URI, error) {
					b, u, err := open(ctx, u, o)
					if err == nil && u.Bucket == "in" {
						f := &flaky{Bucket: b, key: "x", err: c.err}
						f.times.Store(c.times)
						b = f
					}
					return b, u, err
				}},
			})
			name := fmt.Sprintf("%v, %d times, %d bytes", c.err, c.times, size)
			if p := m.Bucket("out").Pending(); p != 0 {
				t.Errorf("%s: %d pending", name, p)
			}
			if c.ended != "" {
				if err == nil || !strings.Contains(err.Error(), c.ended) {
					t.Errorf("%s: got %v", name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			words := 200 + (1-c.failed)*int64(size/len(line))
			if got := read(t, m.Bucket("out"), "part-r-00000"); got != fmt.Sprintf("word\t%d\n", words) {
				t.Errorf("%s: got %q, want %d", name, got, words)
			}
			if res.Counters.Failed != c.failed || res.Counters.Objects != 201 {
				t.Errorf("%s: got %+v", name, res.Counters)
			}
		}
	}
}
