package local

import (
	"context"
	"encoding/json"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/brief"
)

// A client is the coordinator of a job as its agent reaches it, once the cluster is there.
type client struct{ r *running }

func (c client) Want(ctx context.Context, w coordinator.Want) (l coordinator.Lease, err error) {
	err = c.call(ctx, brief.Want, w, &l)
	return l, err
}

func (c client) Follow(ctx context.Context, f coordinator.Follow) (a coordinator.Arrivals, err error) {
	err = c.call(ctx, brief.Follow, f, &a)
	return a, err
}

func (c client) Commit(ctx context.Context, m coordinator.Commit) (v coordinator.Verdict, err error) {
	err = c.call(ctx, brief.Commit, m, &v)
	return v, err
}

func (c client) Fail(ctx context.Context, f coordinator.Failure) (v coordinator.Verdict, err error) {
	err = c.call(ctx, brief.Fail, f, &v)
	return v, err
}

func (c client) Beat(ctx context.Context, b coordinator.Beat) error {
	p, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return c.r.cluster.Publish(ctx, brief.ToCoordinator(c.r.node, brief.Beat), p)
}

func (c client) call(ctx context.Context, what string, q, a any) error {
	req, err := json.Marshal(q)
	if err != nil {
		return err
	}
	reply, err := c.r.cluster.Call(cluster.WithEpoch(ctx, epoch), brief.ToCoordinator(c.r.node, what), req)
	if err != nil {
		return err
	}
	return json.Unmarshal(reply, a)
}
