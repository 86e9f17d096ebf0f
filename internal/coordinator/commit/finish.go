package commit

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// Finish publishes what was decided and returns the manifest. After an error it may be called again, by this or any
// later process: what is done already is done again or passed over. An ErrLost says that another process does it.
func (c *Claim) Finish(ctx context.Context) (*job.Manifest, error) {
	if c.decision == nil {
		return nil, c.out.wrap(fmt.Errorf("finish: nothing was decided"))
	}
	err := c.check(ctx) // of another job now is what would be swept
	var m *job.Manifest
	if err == nil {
		m, err = c.out.finish(ctx, c.decision, c.name)
	}
	if err != nil {
		return nil, c.out.wrap(err)
	}
	return m, nil
}

// finish goes forward from a decision to its end: the manifest, and nothing left in the work directory but the claim
// named self, whose holder calls.
func (o *output) finish(ctx context.Context, d *Decision, self string) (*job.Manifest, error) {
	m, found, err := o.manifest(ctx)
	if err != nil {
		return nil, err
	}
	if m == nil || m.Job != d.Job {
		if found {
			// Nobody shall read the old manifest while its parts are replaced one by one.
			o.step("finish: delete the old manifest")
			if err := o.bucket.Delete(ctx, o.prefix+manifestName); err != nil {
				return nil, err
			}
		}
		if m, err = o.publish(ctx, d); err != nil {
			return nil, err
		}
		if err := o.deleteAll(ctx, d.Delete); err != nil {
			return nil, err
		}
		o.step("finish: write the manifest")
		if err := o.write(ctx, o.prefix+manifestName, m); err != nil {
			return nil, err
		}
	}
	if err := o.sweep(ctx, self, d); err != nil {
		return nil, err
	}
	o.step("finish: delete the decision")
	if err := o.bucket.Delete(ctx, o.work(decisionName)); err != nil {
		return nil, err
	}
	o.step("finish: done")
	return m, nil
}

// publish makes all parts visible and returns the manifest that names them.
func (o *output) publish(ctx context.Context, d *Decision) (*job.Manifest, error) {
	m := d.Manifest
	m.Parts = make([]job.Part, len(d.Parts))
	m.Failed = make([]job.Part, len(d.Failed))
	var mu sync.Mutex
	done, all := 0, len(d.Parts)+len(d.Failed)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	one := func(p Part, to *job.Part) {
		g.Go(func() error {
			o.step("finish: publish a part")
			obj, err := o.bucket.Publish(ctx, p.Pending)
			if err != nil {
				return fmt.Errorf("publish %s: %w", p.Pending.Key, err)
			}
			*to = job.Part{
				Key:     string(p.Pending.Key[len(o.prefix):]),
				Size:    p.Pending.Size,
				SHA256:  p.Pending.SHA256,
				ETag:    obj.ETag,
				Records: p.Records,
				Pieces:  p.Pieces,
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			if o.opts.Published != nil {
				o.opts.Published(done, all)
			}
			return nil
		})
	}
	for i, p := range d.Parts {
		one(p, &m.Parts[i])
	}
	for i, p := range d.Failed {
		one(p, &m.Failed[i])
	}
	return &m, g.Wait()
}

func (o *output) deleteAll(ctx context.Context, keys []store.Key) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, key := range keys {
		g.Go(func() error {
			o.step("finish: delete an old part")
			return o.bucket.Delete(ctx, key)
		})
	}
	return g.Wait()
}
