package commit

import (
	"context"
	"slices"
	"time"
)

// A grave says that a claim was taken over though its process may live.
type grave struct {
	Version int       `json:"version"`
	Dug     time.Time `json:"dug"`
	Closed  bool      `json:"closed"` // there was no decision of that claim then, and its uploads are gone
}

// graveTime is how long a grave stays: longer than any process stands still and goes on.
const graveTime = 30 * 24 * time.Hour

// bury writes the grave of the claim of that name.
func (o *output) bury(ctx context.Context, name string, closed bool) error {
	return o.write(ctx, o.work(name+graveSuffix), &grave{1, time.Now().UTC(), closed})
}

// grave reads the grave of the claim of that name. It returns store.ErrNotExist if there is none.
func (o *output) grave(ctx context.Context, name string) (grave, error) {
	var g grave
	err := o.read(ctx, o.work(name+graveSuffix), maxSmall, &g)
	return g, err
}

// close closes the graves of all claims but that of d, the decision that was found, before what is left of them is swept.
func (c *Claim) close(ctx context.Context, d *Decision) error {
	for _, name := range slices.Compact(slices.Sorted(slices.Values(c.taken))) {
		if d != nil && name == d.Claim {
			continue
		}
		if g, err := c.out.grave(ctx, name); err == nil && g.Closed {
			continue
		}
		c.out.step("claim: close a grave")
		if err := c.out.bury(ctx, name, true); err != nil {
			return err
		}
	}
	return nil
}
