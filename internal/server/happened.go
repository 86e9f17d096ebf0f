package server

import (
	"context"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/brief"
)

// happened tells what happened to an attempt.
func (d *Desk) happened(job string, h Happening) {
	if d.happens != nil {
		d.happens(job, h)
	}
}

// wanted is want, and tells what was leased.
func (d *Desk) wanted(ctx context.Context, w *coordinator.Want) (brief.Assignment, error) {
	a, err := d.want(ctx, w)
	if err == nil && a.Attempt.Task != "" {
		d.happened(a.Job, Happening{What: Leased, Attempt: a.Attempt, Node: w.Node, Queue: a.Queued})
	}
	return a, err
}

// committed is commit, and tells the verdict.
func (d *Desk) committed(ctx context.Context, c *coordinator.Commit) (coordinator.Verdict, error) {
	v, err := d.commit(ctx, c)
	if err == nil {
		n := &c.Result.Counters
		h := Happening{What: Committed, Attempt: c.Attempt, Node: c.Node, Queue: n.Queue, Run: n.Run, Bytes: n.Bytes}
		if !v.Accepted {
			h.What, h.Reason = Refused, v.Reason
		}
		d.happened(c.Job, h)
	}
	return v, err
}

// failed is fail, and tells the failure.
func (d *Desk) failed(ctx context.Context, f *coordinator.Failure) (coordinator.Verdict, error) {
	v, err := d.fail(ctx, f)
	if err == nil {
		h := Happening{What: AttemptFailed, Attempt: f.Attempt, Node: f.Node, Fault: f.Fault, Reason: f.Reason}
		if f.URI != "" {
			h.Reason = f.URI + ": " + f.Reason
		}
		d.happened(f.Job, h)
	}
	return v, err
}

// busy returns how many slots of each node have a task.
func (d *Desk) busy() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := map[string]int{}
	for s := range d.slots {
		n[s.node]++
	}
	return n
}

// queue returns how many tasks wait for a slot, and how many slots have one.
func (d *Desk) queue() (waiting, leases int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.jobs {
		waiting += e.waiting
	}
	return waiting, len(d.slots)
}
