package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	if t.lease.Partitions > 0 {
		if t.file, err = newRun(); err != nil {
			return nil, err
		}
		files = append(files, t.file)
	}
	if t.a.check != nil {
		t.sample = t.a.check.sample(t)
	}
	m := runner.Map{Attempt: t.lease.Attempt, Partitions: t.lease.Partitions}
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

// maxIndex bounds the table of a run's sections.
const maxIndex = 64 << 20

// sealRun makes the runner's file immutable and reads its table.
func (t *try) sealRun(d *runner.Done, r *coordinator.Result) error {
	if err := seal(t.file); err != nil {
		return fmt.Errorf("seal run: %w", err)
	}
	info, err := t.file.Stat()
	if err != nil {
		return err
	}
	if d.IndexLength < 0 || d.IndexLength > maxIndex || d.IndexOffset < 0 || d.IndexOffset > info.Size()-d.IndexLength {
		return t.broken("table of sections", nil)
	}
	b := make([]byte, d.IndexLength)
	if _, err := io.ReadFull(io.NewSectionReader(t.file, d.IndexOffset, d.IndexLength), b); err != nil {
		return err
	}
	t.run1 = &run{file: t.file}
	if err := json.Unmarshal(b, &t.run1.sections); err != nil {
		return t.broken("table of sections", err)
	}
	if n := len(t.run1.sections); n != t.lease.Partitions {
		return t.broken(fmt.Sprintf("%d sections for %d partitions", n, t.lease.Partitions), nil)
	}
	for _, s := range t.run1.sections {
		if s.Offset < 0 || s.Length < 0 || s.Offset > d.IndexOffset-s.Length {
			return t.broken("section outside its run", nil)
		}
	}
	r.Vector, r.Shuffle = vector(t.run1.sections), d.IndexOffset
	return nil
}

// reduce hands the sections of one partition to the runner and takes its results.
func (t *try) reduce(ctx context.Context) (*coordinator.Result, error) {
	type part struct {
		tag     string
		section shuffle.Section
		data    io.Reader
	}
	var parts []part
	for _, r := range t.lease.Runs {
		kept, err := t.a.runs.get(r.Attempt, r.Vector)
		if err != nil {
			return nil, err
		}
		s, data, err := kept.section(t.lease.Partition)
		if err != nil {
			return nil, err
		}
		if s.Emitted > 0 {
			parts = append(parts, part{r.Attempt.String(), s, data})
		}
	}
	ours, theirs, err := shuffle.SocketPair()
	if err != nil {
		return nil, err
	}
	err = t.link.conn.SendJSON(runner.KindReduce, runner.Reduce{Attempt: t.lease.Attempt, Sections: len(parts)}, theirs)
	err = errors.Join(err, theirs.Close())
	if err != nil {
		t.link.dead = true
		return nil, errors.Join(t.link.died(err), ours.Close())
	}
	w, err := shuffle.NewUnixWriter(ours)
	if err != nil {
		return nil, err
	}
	pctx, stop := context.WithCancel(ctx)
	sent := make(chan error, 1)
	go func() {
		err := w.Open(pctx)
		for i := 0; i < len(parts) && err == nil; i++ {
			p := &parts[i]
			err = shuffle.WriteSection(w, p.tag, p.data, p.section)
		}
		if err != nil {
			_ = w.Abort(err.Error()) // the runner learns why, if it is still there
		} else {
			err = w.Close()
		}
		sent <- err
	}()
	done, err := t.serve(ctx)
	stop()
	serr := <-sent
	if err != nil {
		return nil, err
	}
	if serr != nil {
		return nil, t.broken("report before the end of the sections", serr)
	}
	return t.result(ctx, done)
}
