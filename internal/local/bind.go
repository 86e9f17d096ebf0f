package local

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator"
)

// Subjects of a job's messages, behind its name.
const (
	wantSubject   = ".want"
	followSubject = ".follow"
	commitSubject = ".commit"
	failSubject   = ".fail"
	beatSubject   = ".beat"
)

// serve has the coordinator answer the agents of a cluster until stop is called.
func serve(ctx context.Context, cl *cluster.Cluster, job string, c *coordinator.Coordinator) (stop func(), err error) {
	ctx = context.WithoutCancel(ctx) // agents are answered to the end
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	for subject, h := range map[string]cluster.Handler{
		wantSubject:   handler(c.Want),
		followSubject: handler(c.Follow),
		commitSubject: handler(c.Commit),
		failSubject:   handler(c.Fail),
	} {
		s, err := cl.Serve(ctx, job+subject, h)
		if err != nil {
			stop()
			return nil, err
		}
		stops = append(stops, s)
	}
	s, err := cl.Subscribe(ctx, job+beatSubject, func(ctx context.Context, news []byte) {
		var b coordinator.Beat
		if json.Unmarshal(news, &b) == nil {
			_ = c.Tell(ctx, coordinator.Progressed{Beat: b}) // lost beats do no harm
		}
	})
	if err != nil {
		stop()
		return nil, err
	}
	stops = append(stops, s)
	return stop, nil
}

// handler makes a handler of calls out of a method.
func handler[Q, A any](f func(context.Context, Q) (A, error)) cluster.Handler {
	return func(ctx context.Context, req []byte) ([]byte, error) {
		var q Q
		if err := json.Unmarshal(req, &q); err != nil {
			return nil, err
		}
		a, err := f(ctx, q)
		if err != nil {
			return nil, err
		}
		return json.Marshal(a)
	}
}

// A client is the coordinator of a job as its agent reaches it, once the cluster is there.
type client struct{ r *running }

func (c client) Want(ctx context.Context, w coordinator.Want) (l coordinator.Lease, err error) {
	err = c.call(ctx, wantSubject, w, &l)
	return l, err
}

func (c client) Follow(ctx context.Context, f coordinator.Follow) (a coordinator.Arrivals, err error) {
	err = c.call(ctx, followSubject, f, &a)
	return a, err
}

func (c client) Commit(ctx context.Context, m coordinator.Commit) (v coordinator.Verdict, err error) {
	err = c.call(ctx, commitSubject, m, &v)
	return v, err
}

func (c client) Fail(ctx context.Context, f coordinator.Failure) (v coordinator.Verdict, err error) {
	err = c.call(ctx, failSubject, f, &v)
	return v, err
}

func (c client) Beat(ctx context.Context, b coordinator.Beat) error {
	p, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return c.r.cluster.Publish(ctx, c.r.id+beatSubject, p)
}

func (c client) call(ctx context.Context, subject string, q, a any) error {
	req, err := json.Marshal(q)
	if err != nil {
		return err
	}
	reply, err := c.r.cluster.Call(cluster.WithEpoch(ctx, epoch), c.r.id+subject, req)
	if err != nil {
		return err
	}
	return json.Unmarshal(reply, a)
}

// A jobLog writes the log of a job as its only coordinator.
type jobLog struct{ log *cluster.Log }

func (l jobLog) Append(ctx context.Context, record []byte) error {
	err := l.log.Append(ctx, epoch, record)
	if errors.Is(err, cluster.ErrFenced) {
		return errors.Join(errors.New("another coordinator took over"), err)
	}
	return err
}
