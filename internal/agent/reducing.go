package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
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
	go func() { handed <- in.hand(hctx) }()
	done, err := t.serve(ctx)
	stop()
	if err != nil && t.link.dead {
		t.link.hang() // nobody takes what is still to be sent
	}
	herr := <-handed
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

// An input is what a reduce attempt has of its runs.
type input struct {
	t       *try
	vectors map[job.TaskID]uint64 // of the runs that came
	waiting []part                // not yet handed to the runner
	count   int                   // sections of these
	handed  int                   // sections that are
	late    *time.Timer           // ends a runner that does not give up
}

// A part is what one map attempt has of a partition, or a piece of it.
type part struct {
	file *os.File
	runner.Runs
}

// hand gives the runner the runs that it is to merge, as mappers end. If it cannot give all, it has the runner give up.
func (in *input) hand(ctx context.Context) error {
	err := in.follow(ctx)
	if err == nil {
		return nil
	}
	conn := in.t.link.conn
	if errors.Is(err, errGone) {
		in.late = time.AfterFunc(patience, in.t.link.hang)
	}
	return errors.Join(err, conn.Send(runner.KindGone, nil))
}

// follow hands over the runs of the lease, and asks the coordinator for those that were not there yet.
func (in *input) follow(ctx context.Context) error {
	t := in.t
	for a := t.lease.Arrivals; ; {
		if err := in.take(a.Runs); err != nil {
			return err
		}
		if a.All {
			break
		}
		if err := in.send(runner.MaxRuns - in.handed); err != nil {
			return err
		}
		var err error
		a, err = t.a.coord.Follow(ctx, coordinator.Follow{Sender: t.a.job.Sender, Attempt: t.lease.Attempt, Next: a.Next})
		if err != nil {
			return err
		}
		if a.Gone {
			return errGone
		}
	}
	if err := t.link.conn.SendUints(runner.KindTotal, uint32(in.handed+in.count)); err != nil {
		return err
	}
	return in.send(in.count)
}

// take takes runs from those that this node keeps. One that was made again is as good as the one before.
func (in *input) take(runs []coordinator.Run) error {
	t := in.t
	for _, r := range runs {
		if v, ok := in.vectors[r.Attempt.Task]; ok {
			if v != r.Vector {
				return fmt.Errorf("run %s: its vector is %x, that of a run before is %x", r.Attempt, r.Vector, v)
			}
			continue
		}
		kept, err := t.a.runs.get(r.Attempt, r.Vector)
		if err != nil {
			return err
		}
		in.vectors[r.Attempt.Task] = r.Vector
		sections := kept.partition(t.lease.Partition)
		if len(sections) == 0 {
			continue
		}
		t.give(r.Attempt)
		in.count += len(sections)
		for s := range slices.Chunk(sections, runner.MaxRuns) {
			in.waiting = append(in.waiting, part{kept.file, runner.Runs{Name: r.Attempt.String(), Sections: s}})
		}
	}
	return nil
}

// send sends what waits to the runner, at most so many sections.
func (in *input) send(most int) error {
	for len(in.waiting) > 0 && len(in.waiting[0].Sections) <= most {
		p := &in.waiting[0]
		if err := in.t.link.conn.SendJSON(runner.KindRuns, p.Runs, p.file); err != nil {
			return err
		}
		n := len(p.Sections)
		in.waiting, in.count, in.handed, most = in.waiting[1:], in.count-n, in.handed+n, most-n
	}
	return nil
}
