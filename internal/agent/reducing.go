package agent

import (
	"context"
	"errors"
	"time"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
)

// reduce hands the runs of one partition to the runner and takes its results.
func (t *try) reduce(ctx context.Context) (*coordinator.Result, error) {
	room, err := t.spill()
	if err != nil {
		return nil, err
	}
	start := runner.Reduce{Attempt: t.lease.Attempt, Spill: room}
	if err := t.link.conn.SendJSON(runner.KindReduce, start, t.file); err != nil {
		t.link.dead = true
		return nil, t.link.died(err)
	}
	hctx, stop := context.WithCancel(ctx)
	handed := make(chan error, 1)
	in := &input{t: t, vectors: make(map[job.TaskID]uint64)}
	if t.a.job.Network != nil {
		in.fetcher = newFetcher(hctx, t)
	}
	go func() { handed <- in.hand(hctx) }()
	done, err := t.serve(ctx)
	stop()
	if err != nil && t.link.dead {
		t.link.hang() // nobody takes what is still to be sent
	}
	herr := <-handed
	if in.fetcher != nil {
		herr = errors.Join(herr, in.fetcher.close())
	}
	if in.late != nil {
		in.late.Stop()
	}
	switch {
	case errors.Is(herr, errGone):
		t.link.dead = t.link.dead || err == nil
		return nil, errGone
	case err == nil && herr != nil:
		return nil, t.broken("report before the end of the runs", herr)
	case herr != nil && !errors.Is(herr, context.Canceled) && !t.link.dead:
		return nil, herr // that of the runner follows from it
	case err != nil:
		return nil, err
	}
	if err := t.file.Close(); err != nil { // it holds nothing any more
		return nil, err
	}
	t.file = nil
	result, err := t.result(ctx, done)
	if err == nil {
		result.Vector = coordinator.Merged(in.vectors)
	}
	return result, err
}

// errGone says that the coordinator does not want the attempt any more.
var errGone = errors.New("the attempt is not wanted any more")

// patience is how long a runner may take to give up an attempt, after which it is ended.
const patience = 2 * time.Second
