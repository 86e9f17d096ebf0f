package server

import (
	"context"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/job"
)

// machine returns the machine of the job. If it goes on with a sealed plan, that is summed up.
func (d *Driver) machine(ctx context.Context, conf coordinator.Config) (*coordinator.Machine, *plan.Summary, error) {
	r := d.w.Replay
	if r == nil {
		return coordinator.New(conf), nil, nil
	}
	if r.Plan == "" {
		m, err := coordinator.Resume(conf, r, nil)
		return m, nil, err
	}
	splits, err := plan.Load(ctx, d.area, r.Plan)
	if err != nil {
		return nil, nil, err
	}
	s := &plan.Summary{Digest: r.Plan, Splits: len(splits), Archived: r.Listed.Archived, Markers: r.Listed.Markers}
	for i := range splits {
		s.Objects += int64(splits[i].Objects)
		s.Bytes += splits[i].Bytes
	}
	d.listed.Store(s.Objects)
	d.bytes.Store(s.Bytes)
	d.listDone.Store(true)
	if len(d.w.Spec.Groups) > 0 {
		whole, err := gang(splits)
		if err != nil {
			return nil, nil, err
		}
		splits = []job.Split{whole}
	}
	m, err := coordinator.Resume(conf, r, splits)
	return m, s, err
}

// comeBack is how long nodes that keep runs of the job have to be heard of after a takeover, until what they keep is made again: an agent learns of its new
// leader within half a lease, or stops what it does.
const comeBack = 2 * cluster.MemberLease

// await tells the coordinator of a job that was taken over of nodes that are there, and of those that do not come back.
func (d *Driver) await(ctx context.Context, c *coordinator.Coordinator) error {
	began := time.Now()
	for ctx.Err() == nil {
		away, err := c.Away(ctx)
		if err != nil || len(away) == 0 {
			return nil // it is over, or all are there
		}
		if d.w.Members != nil {
			for _, m := range d.w.Members() {
				if slices.Contains(away, m.Node) {
					_ = c.Tell(ctx, coordinator.Noted{Node: m.Node, Zone: m.Labels["zone"], Slots: m.Slots, Incarnation: m.Incarnation, Now: time.Now()})
				}
			}
		}
		if time.Since(began) > comeBack {
			for _, node := range away {
				if !d.member(node) {
					_ = c.Tell(ctx, coordinator.Lost{Node: node, Now: time.Now()})
				}
			}
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil
}

func (d *Driver) member(node string) bool {
	return d.w.Members != nil && slices.ContainsFunc(d.w.Members(), func(m cluster.Present) bool { return m.Node == node })
}
