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

// An input is what a reduce attempt has of its runs.
type input struct {
	t       *try
	vectors map[job.TaskID]uint64 // of the runs that came
	waiting []part                // not yet handed to the runner
	count   int                   // sections of these
	handed  int                   // sections that are
	late    *time.Timer           // ends a runner that does not give up
	fetcher *fetcher              // of runs of other nodes; nil: there are none
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

// askAgain is how long a reduce attempt that was told of all runs, and fetches them, lets pass until it asks whether some were made again.
const askAgain = time.Second

// follow hands over the runs of the lease, and asks the coordinator for those that were not there yet.
func (in *input) follow(ctx context.Context) error {
	a := in.t.lease.Arrivals
	q := newQuery(ctx, in)
	defer q.close()
	for {
		if err := in.take(&a); err != nil {
			return err
		}
		all, err := in.fetched()
		if err != nil {
			return err
		}
		if a.All && all {
			break
		}
		if err := in.send(runner.MaxRuns - in.handed); err != nil {
			return err
		}
		if a, err = q.next(a); err != nil {
			return err
		}
		if a.Gone {
			return errGone
		}
	}
	if err := in.t.link.conn.SendUints(runner.KindTotal, uint32(in.handed+in.count)); err != nil {
		return err
	}
	return in.send(in.count)
}

// A query is a reduce attempt's question for more runs, at most one at a time.
type query struct {
	in    *input
	ctx   context.Context
	stop  context.CancelFunc
	heard chan reply // nil: nothing is asked
}

type reply struct {
	coordinator.Arrivals
	err error
}

func newQuery(ctx context.Context, in *input) *query {
	q := &query{in: in}
	q.ctx, q.stop = context.WithCancel(ctx)
	return q
}

// close waits for the question that nobody waits for any more.
func (q *query) close() {
	q.stop()
	if q.heard != nil {
		<-q.heard
	}
}

// ask asks for what came after a.
func (q *query) ask(a coordinator.Arrivals) {
	t := q.in.t
	f := coordinator.Follow{Sender: t.a.job.Sender, Attempt: t.lease.Attempt, Next: a.Next}
	if q.in.fetcher != nil {
		f.Missing = q.in.fetcher.missing()
		if q.in.fetcher.astray() {
			f.Next = 0 // to be told of all nodes again
		}
	}
	heard := make(chan reply, 1)
	q.heard = heard
	go func() {
		a, err := t.a.coord.Follow(q.ctx, f)
		heard <- reply{a, err}
	}()
}

// next returns what came after a: more runs, or none while others are fetched.
func (q *query) next(a coordinator.Arrivals) (coordinator.Arrivals, error) {
	var came <-chan struct{}
	if q.in.fetcher != nil {
		came = q.in.fetcher.wake
	}
	var again <-chan time.Time
	switch {
	case q.heard != nil:
	case a.All:
		again = time.After(askAgain)
	default:
		q.ask(a)
	}
	a.Runs = nil
	for {
		select {
		case r := <-q.heard:
			q.heard = nil
			return r.Arrivals, r.err
		case <-came:
			return a, nil
		case <-again:
			q.ask(a)
		case <-q.ctx.Done():
			return a, context.Cause(q.ctx)
		}
	}
}

// take takes runs: from those that this node keeps, or to be fetched. One that was made again is as good as the one before, unless that did not come.
func (in *input) take(a *coordinator.Arrivals) error {
	t := in.t
	var others []coordinator.Run
	for _, r := range a.Runs {
		if v, ok := in.vectors[r.Attempt.Task]; ok {
			if v != r.Vector {
				return fmt.Errorf("run %s: its vector is %x, that of a run before is %x", r.Attempt, r.Vector, v)
			}
			if in.fetcher == nil {
				continue
			}
			if old, coming := in.fetcher.has(r.Attempt.Task); !coming || old == r {
				continue
			}
		}
		in.vectors[r.Attempt.Task] = r.Vector
		if s := &t.a.job.Sender; in.fetcher != nil && (r.Node != s.Node || r.Incarnation != s.Incarnation) {
			others = append(others, r)
			continue
		}
		kept, err := t.a.runs.get(r.Attempt, r.Vector)
		if err != nil {
			return err
		}
		if in.fetcher != nil {
			in.fetcher.forget(r.Attempt.Task)
		}
		in.add(r.Attempt, part{kept.file, runner.Runs{Sections: kept.partition(t.lease.Partition)}})
	}
	if in.fetcher != nil {
		in.fetcher.want(others, a.Addresses)
	}
	return nil
}

// fetched takes what came from other nodes, and reports whether all has.
func (in *input) fetched() (all bool, err error) {
	if in.fetcher == nil {
		return true, nil
	}
	came, all, err := in.fetcher.take()
	for _, c := range came {
		in.add(c.attempt, c.part)
	}
	return all, err
}

// add takes what an attempt has of the partition.
func (in *input) add(a job.AttemptID, p part) {
	if len(p.Sections) == 0 {
		return
	}
	in.t.give(a)
	in.count += len(p.Sections)
	for s := range slices.Chunk(p.Sections, runner.MaxRuns) {
		in.waiting = append(in.waiting, part{p.file, runner.Runs{Name: a.String(), Sections: s}})
	}
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
