package agent

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/brief"
)

const (
	callTime  = 10 * time.Second       // for an answer
	retryTime = 200 * time.Millisecond // before a call is tried again
	askTime   = 10 * time.Second       // between questions whether jobs are over
)

// call asks the coordinator, whoever leads, until there is an answer or ctx ends. Every question can be asked twice.
func (n *Node) call(ctx context.Context, what string, q, a any) error {
	req, err := json.Marshal(q)
	if err != nil {
		return err
	}
	for {
		reply, err := n.callOnce(ctx, what, req)
		if err == nil {
			return json.Unmarshal(reply, a)
		}
		if r, ok := errors.AsType[*cluster.RemoteError](err); ok && r.Code != brief.CodeDeposed || errors.Is(err, cluster.ErrClosed) || errors.Is(err, cluster.ErrTooLarge) {
			return err
		}
		if !pause(ctx, retryTime) {
			return context.Cause(ctx)
		}
	}
}

func (n *Node) callOnce(ctx context.Context, what string, req []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return n.o.Cluster.Call(ctx, brief.ToCoordinator(n.name, what), req)
}

// pause waits for d. It is false if ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Want is not how a node's agents get work: the node asks for all.
func (e *engagement) Want(context.Context, coordinator.Want) (coordinator.Lease, error) {
	return coordinator.Lease{Over: true}, nil
}

// Follow asks for runs for a reduce attempt.
func (e *engagement) Follow(ctx context.Context, f coordinator.Follow) (a coordinator.Arrivals, err error) {
	err = e.n.call(ctx, brief.Follow, f, &a)
	return a, err
}

// Commit asks for an attempt to count. It does not if the job is over.
func (e *engagement) Commit(ctx context.Context, c coordinator.Commit) (v coordinator.Verdict, err error) {
	return e.verdict(e.n.call(ctx, brief.Commit, c, &v), &v)
}

// Fail reports a failed attempt.
func (e *engagement) Fail(ctx context.Context, f coordinator.Failure) (v coordinator.Verdict, err error) {
	return e.verdict(e.n.call(ctx, brief.Fail, f, &v), &v)
}

func (e *engagement) verdict(err error, v *coordinator.Verdict) (coordinator.Verdict, error) {
	if r, ok := errors.AsType[*cluster.RemoteError](err); ok && r.Code == brief.CodeOver {
		return coordinator.Verdict{Reason: r.Text}, nil
	}
	return *v, err
}

// Beat tells how far attempts are.
func (e *engagement) Beat(ctx context.Context, b coordinator.Beat) error {
	p, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return e.n.o.Cluster.Publish(ctx, brief.ToCoordinator(e.n.name, brief.Beat), p)
}
