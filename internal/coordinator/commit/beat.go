package commit

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// beat raises the claim's beat until ctx ends or the claim is lost.
func (c *Claim) beat(ctx context.Context) {
	defer close(c.beaten)
	last := time.Now()
	tick := time.NewTicker(Beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// A request that hangs must not keep the job from noticing that its time is up.
		try, cancel := context.WithDeadline(ctx, last.Add(Lease))
		err := c.check(try)
		lost := err != nil && c.Err() != nil
		if err == nil {
			err = c.put(try, func(d *claimDoc) { d.Beat++ })
		}
		cancel()
		switch {
		case ctx.Err() != nil || lost:
			return
		case err == nil:
			last = time.Now()
		case time.Since(last) >= Lease:
			_ = c.lose(fmt.Errorf("%w: no beat for %v: %w", ErrLost, Lease, err))
			return
		}
	}
}

// check asks the store whether the claim is still there and nobody took it over. If so, the claim is lost.
func (c *Claim) check(ctx context.Context) error {
	if err := c.Err(); err != nil {
		return err
	}
	there := false
	for obj, err := range c.out.bucket.List(ctx, c.out.work(claimPrefix), "") {
		if err != nil {
			return err
		}
		there = there || obj.Key == c.out.work(c.name)
	}
	others, graves, err := c.out.claims(ctx, c.name)
	if err != nil {
		return err
	}
	for _, doc := range others {
		if slices.Contains(doc.Took, c.name) {
			return c.lose(fmt.Errorf("%w: taken over by job %s (%v)", ErrLost, doc.Job, doc.Owner))
		}
	}
	if slices.Contains(graves, c.name) {
		return c.lose(fmt.Errorf("%w: taken over after a long silence", ErrLost))
	}
	if !there {
		return c.lose(fmt.Errorf("%w: somebody removed it", ErrLost))
	}
	return nil
}

// lose records why the claim is lost and returns that.
func (c *Claim) lose(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		close(c.lost)
	}
	return c.err
}
