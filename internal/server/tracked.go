package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/job/jobfile"
)

// A tracked is a job that a leader knows.
type tracked struct {
	t      *term
	id     string
	spec   *job.Spec
	began  time.Time
	ask    submission          // what of it is not in spec; zero after a takeover
	again  bool                // a coordinator before this one had it
	replay *coordinator.Replay // its log, then

	ctx  context.Context // until it is cancelled, or the term ends
	stop context.CancelCauseFunc
	done chan struct{} // closed when it has ended

	driver atomic.Pointer[Driver]
	diary  diary
	mu     sync.Mutex
	ended  *coordinator.Ended
	failed *coordinator.Ended // is in the log already
	text   *output            // of a job that prints
	offers []func()           // what ends the offers of its programs
}

// endTime bounds the writing of the last record.
const endTime = 10 * time.Second

// maxResult bounds what of a result is kept in the log.
const maxResult = 512 << 10

func (t *term) track(id string, spec *job.Spec, began time.Time) *tracked {
	j := &tracked{t: t, id: id, spec: spec, began: began, done: make(chan struct{})}
	j.ctx, j.stop = context.WithCancelCause(t.ctx)
	t.jobs[id] = j
	return j
}

func (j *tracked) status() Status {
	j.mu.Lock()
	ended := j.ended
	j.mu.Unlock()
	if ended != nil {
		s := Status{Job: j.id, Name: ended.Name, State: Succeeded, Began: ended.Began, Took: int64(ended.Took), Error: ended.Error}
		switch {
		case ended.Cancelled:
			s.State = Cancelled
		case ended.Error != "":
			s.State = Failed
		default:
			s.Result = new(job.Result)
			_ = json.Unmarshal(ended.Result, s.Result) // we wrote it
		}
		return s
	}
	s := Status{Job: j.id, Name: j.spec.Name, State: Accepted, Began: j.began, Took: int64(time.Since(j.began))}
	if d := j.driver.Load(); d != nil {
		s.State, s.Progress = Running, d.Progress()
	}
	return s
}

// submit takes a job.
func (t *term) submit(_ context.Context, q *submission) (*accepted, error) {
	spec := q.Spec
	if spec.Format == "" {
		spec.Format = job.Text
	}
	if err := check(&spec, q.Job); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return nil, errDeposed
	}
	if t.jobs[q.Job] != nil {
		return nil, fmt.Errorf("there is a job %s already", q.Job)
	}
	j := t.track(q.Job, &spec, time.Now())
	j.ask = *q
	a := &accepted{Epoch: t.epoch, Origin: t.s.origin}
	var wait func() error
	err := func() (err error) {
		if a.Programs, wait, err = j.receive(); err != nil {
			return err
		}
		if brief.Prints(&spec) {
			a.Text, err = j.print()
		}
		return err
	}()
	if err != nil {
		j.stop(err)
		delete(t.jobs, q.Job)
		return nil, err
	}
	j.diary.add(Happening{At: j.began, What: JobAccepted})
	t.wg.Go(func() { j.run(wait) })
	return a, nil
}

// check says why a job cannot be taken.
func check(s *job.Spec, id string) error {
	if err := jobfile.Validate(s); err != nil {
		return err
	}
	if len(id) < 8 || len(id) > 40 {
		return fmt.Errorf("job %.50q: not a name of one", id)
	}
	if brief.Prints(s) && len(s.Groups) > 0 {
		return errors.New("a job of groups on a cluster needs an output")
	}
	programs := []job.Program{s.Program}
	for _, g := range s.Groups {
		programs = append(programs, g.Program)
	}
	for _, p := range programs {
		switch {
		case p.Path != "":
			return fmt.Errorf("program %s: a path means nothing on a cluster", p.Path)
		case (p.Engine == job.Wasm || p.Engine == job.Native) && !brief.IsDigest(p.Digest):
			return fmt.Errorf("program %s: it has no digest", p.Name)
		}
	}
	return nil
}

// run takes the job to its end, or as far as this leader gets.
func (j *tracked) run(wait func() error) {
	defer j.stop(nil)
	var log *cluster.Log
	result, err := func() (*job.Result, error) {
		if err := wait(); err != nil {
			return nil, err
		}
		var err error
		if log, err = j.lead(); err != nil {
			return nil, err
		}
		return j.drive(log)
	}()
	j.release(err)
	if err != nil && j.t.ctx.Err() != nil {
		return // the next leader goes on
	}
	e := j.failed
	if e == nil {
		e = j.end(result, err)
		if log != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(j.t.ctx), endTime)
			defer cancel()
			if werr := (jobLog{log, j.t.epoch}).end(ctx, e); werr != nil { // what it came to is at its output
				j.t.s.o.Log.Error("job log", "job", j.id, "error", werr)
			}
		}
	}
	j.mu.Lock()
	j.ended = e
	j.mu.Unlock()
	close(j.done)
	j.t.living.Delete(j.id)
	j.t.over(j.id)
	j.t.happens(j.id, Happening{What: JobEnded, Reason: e.Error, Run: e.Took})
	j.t.s.o.Log.Info("job ended", "job", j.id, "took", e.Took, "error", e.Error)
}

// fails writes down that the job has failed, before anything of it is removed. It is false if there may be another coordinator, to whom all belongs that is there.
func (j *tracked) fails(log *cluster.Log, err error) bool {
	if errors.Is(err, coordinator.ErrSucceeded) {
		return false
	}
	if errors.Is(err, errJobLog) && !errors.Is(err, cluster.ErrTooLarge) { // the next term reads what is there
		j.t.end(fmt.Errorf("job %s: %w: %w", j.id, cluster.ErrDeposed, err))
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(j.t.ctx), endTime)
	defer cancel()
	j.failed = j.end(nil, err)
	return jobLog{log, j.t.epoch}.end(ctx, j.failed) == nil
}

// replay reads a log that this coordinator leads.
func replay(ctx context.Context, log *cluster.Log) (*coordinator.Replay, error) {
	r := new(coordinator.Replay)
	for e, err := range log.Read(ctx) {
		if err != nil {
			return nil, err
		}
		if err := r.Take(e.Lead, e.Data); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// lead opens the log of the job. Its first record is the spec.
func (j *tracked) lead() (*cluster.Log, error) {
	log, err := j.t.s.o.Cluster.Log(j.ctx, j.id)
	if err == nil {
		err = log.Lead(j.ctx, j.t.epoch)
	}
	switch {
	case err == nil && j.again:
		j.replay, err = replay(j.ctx, log)
	case err == nil:
		err = jobLog{log, j.t.epoch}.write(j.ctx, &coordinator.Record{Spec: j.spec, Began: j.began})
	}
	if err != nil {
		return nil, fmt.Errorf("job log: %w", err)
	}
	return log, nil
}

// revoke tells a node that an attempt of the job is not wanted any more.
func (j *tracked) revoke(r coordinator.Revoke) {
	news, err := json.Marshal(brief.Revocation{Job: j.id, Epoch: j.t.epoch, Attempt: r.Attempt})
	if err == nil {
		err = j.t.s.o.Cluster.Publish(context.WithoutCancel(j.t.ctx), brief.ToNode(r.Node, brief.Revoke), news)
	}
	if err != nil {
		j.t.s.o.Log.Warn("revoke", "job", j.id, "node", r.Node, "error", err)
	}
}

// drive has the job driven.
func (j *tracked) drive(log *cluster.Log) (result *job.Result, err error) {
	w := Work{
		Job: j.id, Epoch: j.t.epoch, Spec: j.spec, Schemes: j.t.s.o.Schemes, Began: j.began, Locate: j.t.s.locate,
		Sorted: j.ask.Sorted, MaxRequests: j.ask.MaxRequests, Replay: j.replay, Members: j.t.s.view.Members,
		Approve: func(n int64) error {
			return fmt.Errorf("the job needs about %d requests, more than %d: allow them with --max-requests", n, j.ask.MaxRequests)
		},
	}
	w.Revoke = j.revoke
	w.Quarantine = func(q coordinator.Quarantine) {
		j.t.s.o.Log.Warn("node gets no work of a job", "job", j.id, "node", q.Node, "reason", q.Reason, "for", q.For)
	}
	if j.text != nil {
		w.Stdout = j.text
		area, err := newKeptArea(j)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, area.Close()) }()
		w.Blocks = area
	}
	d := NewDriver(w)
	j.driver.Store(d)
	defer func() {
		if j.t.ctx.Err() != nil || err != nil && !j.fails(log, err) {
			d.Leave()
		}
		err = errors.Join(err, d.Close())
	}()
	if err := d.Open(j.ctx); err != nil {
		return nil, err
	}
	if j.again {
		if err := j.collect(j.ctx); err != nil {
			return nil, err
		}
	}
	e := j.t.desk.entry(j.id, j.spec, j.began)
	defer e.end()
	b := d.Brief()
	b.Origin, b.Programs = j.t.s.origin, j.offer()
	if b.Plan == "" {
		b.Blocks = j.t.s.o.Data.Address()
	}
	if p := d.Printer(); p != nil {
		e.texts = newTexts(j.ctx, j.t.s.o.Data, p, j.id, j.t.epoch)
		defer e.texts.close()
	}
	e.tell(&b)
	c := newCrew(j.ctx, j.t, j)
	if err := d.Claim(j.ctx); err != nil {
		return nil, err
	}
	return d.Run(j.ctx, log, j.t.desk, c)
}

// end says what the job came to.
func (j *tracked) end(r *job.Result, err error) *coordinator.Ended {
	e := &coordinator.Ended{Name: j.spec.Name, Began: j.began, Took: time.Since(j.began)}
	if err != nil {
		e.Error, e.Cancelled = err.Error(), errors.Is(err, errCancelled)
		return e
	}
	r.Elapsed = e.Took
	if e.Result, err = json.Marshal(r); err != nil || len(e.Result) > maxResult {
		short := *r
		short.Parts, short.Failed, short.Partitions = nil, nil, nil // the manifest has them
		e.Result, err = json.Marshal(&short)
	}
	if err != nil {
		e.Error = err.Error()
	}
	return e
}

// end writes the last record.
func (l jobLog) end(ctx context.Context, e *coordinator.Ended) error {
	return l.write(ctx, &coordinator.Record{Ended: e})
}
