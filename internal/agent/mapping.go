package agent

import (
	"context"
	"errors"
	"os"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/shuffle"
)

// mapSplit feeds the objects of a split to the runner and takes what they become.
func (t *try) mapSplit(ctx context.Context) (*coordinator.Result, error) {
	var err error
	if t.objects, err = t.a.job.Plan.Split(ctx, *t.lease.Split); err != nil {
		return nil, err
	}
	var files []*os.File
	var room int64
	if t.lease.Partitions > 0 {
		if room, err = t.spill(); err != nil {
			return nil, err
		}
		files = append(files, t.file)
	}
	if t.a.check != nil {
		t.sample = t.a.check.sample(t)
	}
	m := runner.Map{Attempt: t.lease.Attempt, Partitions: t.lease.Partitions, Cuts: t.lease.Cuts, Spill: room}
	done, err := t.mapObjects(ctx, &m, files...)
	if err != nil {
		return nil, err
	}
	if len(t.sample) > 0 {
		if err := t.a.check.run(ctx, t); err != nil {
			return nil, err
		}
	}
	result, err := t.result(ctx, done)
	if err != nil || t.file == nil {
		return result, err
	}
	return result, t.sealRun(done, result)
}

// mapObjects has the runner map the objects and takes what they become.
func (t *try) mapObjects(ctx context.Context, m *runner.Map, files ...*os.File) (*runner.Done, error) {
	if err := t.link.conn.SendJSON(runner.KindMap, m, files...); err != nil {
		t.link.dead = true
		return nil, t.link.died(err)
	}
	fctx, stop := context.WithCancel(ctx)
	fed := make(chan error, 1)
	go func() {
		err := t.feed(fctx)
		if err != nil {
			t.link.conn.Hang() // the runner waits for objects that will not come
		}
		fed <- err
	}()
	done, err := t.serve(ctx)
	stop()
	ferr := <-fed
	switch {
	case err == nil && ferr != nil:
		return nil, t.broken("report before the end of the split", ferr)
	case ferr != nil && !errors.Is(ferr, errPipe) && !errors.Is(ferr, context.Canceled):
		t.link.dead = true // it was hung up on
		return nil, ferr
	case err != nil:
		t.link.dead = t.link.dead || ferr != nil
		return nil, err
	}
	return done, nil
}

// spill makes the attempt's file and returns how many bytes it may take, 0 meaning any number.
func (t *try) spill() (room int64, err error) {
	t.file, err = newSpill(t.a.job.SpillDir)
	return t.a.runs.room(t.a.job.Hello.Limits.Spill), err
}

// maxIndex bounds the table of a run's sections.
const maxIndex = 256 << 20

// sealRun reads the table of what the runner wrote. From here on it is what the table says, or it is corrupt.
func (t *try) sealRun(d *runner.Done, r *coordinator.Result) error {
	info, err := t.file.Stat()
	if err != nil {
		return err
	}
	if d.IndexLength < 0 || d.IndexLength > maxIndex || d.IndexOffset < 0 || d.IndexOffset > info.Size()-d.IndexLength {
		return t.broken("table of sections", nil)
	}
	b := make([]byte, d.IndexLength)
	if _, err := t.file.ReadAt(b, d.IndexOffset); err != nil {
		return err
	}
	t.run1 = &run{file: t.file, size: info.Size()}
	if t.run1.sections, err = shuffle.ParseTable(b, t.lease.Partitions, d.IndexOffset); err != nil {
		return t.broken("table of sections", err)
	}
	r.Vector, r.Shuffle = vector(t.run1.sections), d.IndexOffset
	return nil
}
