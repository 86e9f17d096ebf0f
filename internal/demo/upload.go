// Package demo fills stores with generated mail, for the demonstration and for benchmarks.
package demo

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/mailgen"
	"github.com/millrace/millrace/store"
)

// uploads is how many objects are written at once.
const uploads = 16

// Upload writes mails 0 to n-1 into b and returns what they hold, ordered by number. Done is raised by one for each.
func Upload(ctx context.Context, b store.Bucket, gen *mailgen.Generator, n int, done *atomic.Int64) (*mailgen.Truth, error) {
	truths := make([]mailgen.Truth, uploads)
	eg, ctx := errgroup.WithContext(ctx)
	for w := range uploads {
		eg.Go(func() error {
			var body []byte
			for i := w * n / uploads; i < (w+1)*n/uploads; i++ {
				body = gen.Append(body[:0], i, &truths[w])
				if _, err := b.Put(ctx, store.Key(gen.Key(i)), body); err != nil {
					return err
				}
				done.Add(1)
			}
			return nil
		})
	}
	if err := eg.Wait(); err != nil {
		return nil, err
	}
	var truth mailgen.Truth
	for i := range truths {
		truth.Add(&truths[i])
	}
	return &truth, nil
}
