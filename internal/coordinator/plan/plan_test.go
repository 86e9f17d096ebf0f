package plan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A listing is a bucket that lists what it was given, as it was given, and keeps what is put.
type listing struct {
	store.Bucket // nil: what a plan does not need
	objects      []store.Object

	mu  sync.Mutex
	put map[store.Key][]byte
}

func (l *listing) List(ctx context.Context, prefix, after store.Key) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		for _, o := range l.objects {
			if err := ctx.Err(); err != nil {
				yield(store.Object{}, err)
				return
			}
			if strings.HasPrefix(string(o.Key), string(prefix)) && o.Key > after && !yield(o, nil) {
				return
			}
		}
	}
}

func (l *listing) Put(_ context.Context, key store.Key, body []byte) (store.Object, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.put == nil {
		l.put = map[store.Key][]byte{}
	}
	l.put[key] = slices.Clone(body)
	return store.Object{Key: key, Size: int64(len(body))}, nil
}

func (l *listing) Open(_ context.Context, key store.Key, _ string, off, n int64) (io.ReadCloser, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.put[key]
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, store.ErrNotExist)
	}
	b = b[min(off, int64(len(b))):]
	return io.NopCloser(bytes.NewReader(b[:min(n, int64(len(b)))])), nil
}

var day = time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)

func object(key string, size int64) store.Object {
	return store.Object{Key: store.Key(key), Size: size, ETag: "e-" + key, Modified: day}
}

func uri(s string) store.URI {
	u, err := store.ParseURI(s)
	if err != nil {
		panic(err)
	}
	return u
}

var errSink = errors.New("sink is full")

// build plans the inputs and reads every split back.
func build(ctx context.Context, area Area, inputs []Input, o *Options) ([]job.Split, []Object, *Summary, error) {
	var splits []job.Split
	var objects []Object
	r := Open(area)
	sum, err := Build(ctx, inputs, area, o, func(s job.Split) error {
		splits = append(splits, s)
		list, err := r.Split(ctx, s) // it must be readable when it is announced
		objects = append(objects, list...)
		return err
	})
	return splits, objects, sum, err
}
