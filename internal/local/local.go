// Package local runs a whole job in one process and its runners: an embedded cluster, a coordinator and an agent,
// the same ones that run on many machines.
package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/agent"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/codecache"
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/commit"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/locate"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/job/jobfile"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/store"
)

// Options are what a job needs beside its Spec.
type Options struct {
	Schemes store.Schemes
	Stdout  io.Writer // where a job without output prints
	Sorted  bool      // print in the order of keys, not as found
	// Where, if not nil, says which objects Run reads from disks of this node, and on which nodes Plan finds them.
	Where *locate.Config
	// Progress, if not nil, is given a source of snapshots before the job starts. The source may be asked at any
	// time, also after the end.
	Progress func(snapshot func() job.Progress)
	// MaxRequests, if not 0, is how many requests to the store a job may need without being asked for: when the plan
	// passes it, no further work begins until the plan is complete and Approve agrees.
	MaxRequests int64
	// Approve is asked with the requests that the whole job needs. An error stops the job.
	Approve func(requests int64) error
	// Pool, if not nil, gives the job its runners; made by [NewPool] for a job of the same jail. It stays the caller's.
	Pool *agent.Pool
	// Cache, if not nil, keeps compiled modules, instead of the user's own cache.
	Cache *codecache.Cache
	// InProcess, if not nil, is the program, and runs in this process without a jail: for tests and debuggers.
	InProcess *job.Job
	// Committed, if not nil, is told of each attempt that counts.
	Committed func(r job.AttemptReport)
	// Step, if not nil, is called at each step of committing, by name. Tests stop the world there.
	Step func(name string)
}

// epoch is that of the one coordinator that a job in one process has.
const epoch = 1

// Run runs the job to its end. Cancelling ctx cancels the job: before the decision nothing of it stays visible.
// The error says who acts: *job.Error is the user's to mend; its text is one line.
func Run(ctx context.Context, spec *job.Spec, opts *Options) (*job.Result, error) {
	normal := *spec
	if normal.Format == "" {
		normal.Format = job.Text
	}
	if opts.InProcess != nil && normal.Program.Name == "" {
		normal.Program.Name = "in process"
	}
	if err := jobfile.Validate(&normal); err != nil {
		return nil, &job.Error{Err: err}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &running{spec: &normal, opts: opts, id: newID(), began: time.Now(), cancel: cancel}
	if opts.Progress != nil {
		opts.Progress(r.progress)
	}
	result, err := r.run(ctx)
	err = errors.Join(err, r.close())
	if err != nil {
		if cause := context.Cause(ctx); ctx.Err() != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
		return nil, err
	}
	result.Elapsed = time.Since(r.began)
	return result, nil
}

// newID returns the name of a new job.
func newID() string {
	var b [6]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// A running is one job under way. Its parts are made in the order of its fields, and closed in the other.
type running struct {
	spec   *job.Spec
	opts   *Options
	id     string
	began  time.Time
	cancel context.CancelCauseFunc

	places  *places
	claim   *commit.Claim
	area    plan.Area
	cluster *cluster.Cluster
	printer *printer
	pool    *agent.Pool
	graph   *agent.Graph // of a job of groups; nil: it is none
	agent   *agent.Agent
	module  *os.File // of a program that is to be interpreted as well; nil: none is
	closers []func() error

	coord     atomic.Pointer[coordinator.Coordinator]
	listed    atomic.Int64
	bytes     atomic.Int64
	listDone  atomic.Bool
	published atomic.Int64
	parts     atomic.Int64
	ended     atomic.Int64 // nanoseconds after the beginning
}

// then has f called when the job is closed, before what was given earlier.
func (r *running) then(f func() error) { r.closers = append(r.closers, f) }

func (r *running) close() (err error) {
	r.ended.Store(int64(time.Since(r.began)))
	for i := len(r.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, r.closers[i]())
	}
	r.closers = nil
	return err
}

func (r *running) run(ctx context.Context) (*job.Result, error) {
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	if r.claim != nil {
		if m := r.claim.Finished(); m != nil && !r.spec.Overwrite {
			return &job.Result{Manifest: *m, Resumed: true}, nil
		}
	}
	reducers, err := r.reducers()
	if err != nil {
		return nil, err
	}
	tolerates, err := r.tolerance()
	if err != nil {
		return nil, err
	}
	log, err := r.cluster.Log(ctx, r.id)
	if err == nil {
		err = log.Lead(ctx, epoch)
	}
	if err != nil {
		return nil, err
	}
	m := coordinator.New(coordinator.Config{Job: r.id, Epoch: epoch, Reducers: reducers, Tolerates: tolerates})
	c := coordinator.Start(context.WithoutCancel(ctx), m, coordinator.Options{Log: jobLog{log}, Discard: r.discard, Committed: r.committed})
	r.coord.Store(c)
	r.then(func() error { c.Close(); return nil })
	stop, err := serve(ctx, r.cluster, r.id, c)
	if err != nil {
		return nil, err
	}
	r.then(func() error { stop(); return nil })
	outcome, summary, err := r.work(ctx, c, reducers)
	if err != nil {
		return nil, err
	}
	return r.finish(ctx, outcome, summary, reducers)
}

// errEnough ends a job that has printed all that was asked for.
var errEnough = errors.New("enough was printed")

// work plans and has the agent work until the job needs no more, or can have none.
func (r *running) work(ctx context.Context, c *coordinator.Coordinator, reducers int) (*coordinator.Outcome, *plan.Summary, error) {
	wctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// Whatever goes wrong is told to the coordinator, which knows whether it still matters.
	failed := func(err error) {
		if err != nil {
			_ = c.Tell(context.WithoutCancel(ctx), coordinator.Stopped{Cause: err})
		}
	}
	defer context.AfterFunc(ctx, func() { failed(context.Cause(ctx)) })()
	if r.claim != nil {
		go func() {
			select {
			case <-r.claim.Lost():
				failed(r.claim.Err())
			case <-wctx.Done():
			}
		}()
	}
	var wg sync.WaitGroup
	summary := &plan.Summary{}
	wg.Go(func() {
		s, err := r.plan(wctx, c, reducers)
		if err != nil {
			failed(err)
			return
		}
		summary = s
	})
	wg.Go(func() { failed(r.startError(r.agent.Run(wctx))) })
	<-c.Ended()
	outcome, err := c.Outcome()
	if err != nil {
		stop(err)
	}
	wg.Wait()
	if err != nil && !errors.Is(err, errEnough) {
		return nil, nil, err
	}
	return &outcome, summary, nil
}

// startError makes what keeps the program from being started the user's to mend.
func (r *running) startError(err error) error {
	var refused runner.Refusal
	if errors.As(err, &refused) || errors.Is(err, sandbox.ErrLayer) {
		return &job.Error{Op: r.spec.Program.Name, Err: err}
	}
	return err
}

// plan lists the inputs and hands the splits to the coordinator as they come.
func (r *running) plan(ctx context.Context, c *coordinator.Coordinator, reducers int) (*plan.Summary, error) {
	var held []job.Split
	var requests int64
	byRange := r.spec.Partition == job.ByRange && reducers > 1
	s, err := plan.Build(ctx, r.places.inputs, r.area, r.planOptions(reducers), func(s job.Split) error {
		r.listed.Add(int64(s.Objects))
		r.bytes.Add(s.Bytes)
		if requests += int64(s.Objects); byRange || r.graph != nil || r.opts.MaxRequests > 0 && requests > r.opts.MaxRequests {
			held = append(held, s)
			return nil
		}
		return c.Tell(ctx, coordinator.Planned{Split: s})
	})
	if err != nil {
		return nil, err
	}
	r.listDone.Store(true)
	if s.Objects == 0 {
		if err := r.places.mustExist(ctx); err != nil {
			return nil, err
		}
	}
	if r.opts.MaxRequests > 0 && s.Requests > r.opts.MaxRequests {
		if err := r.opts.Approve(s.Requests); err != nil {
			return nil, err
		}
	}
	if byRange {
		cuts, err := r.agent.Cuts(ctx, held, reducers)
		if err == nil {
			err = c.Tell(ctx, coordinator.Cut{Keys: cuts})
		}
		if err != nil {
			return nil, err
		}
	}
	if r.graph != nil {
		whole, err := gang(held)
		if err != nil {
			return nil, err
		}
		held = []job.Split{whole}
	}
	for _, split := range held {
		if err := c.Tell(ctx, coordinator.Planned{Split: split}); err != nil {
			return nil, err
		}
	}
	return s, c.Tell(ctx, coordinator.Sealed{Digest: s.Digest})
}

func (r *running) planOptions(reducers int) *plan.Options {
	return &plan.Options{
		Include: r.spec.Include, Exclude: r.spec.Exclude, ModifiedSince: r.spec.ModifiedSince,
		Split: r.spec.Split, Reducers: reducers, Output: r.places.output != nil,
		// Records are sorted whatever splits they come from; text stands in the order of tasks, and members of groups read in the order of the plan.
		Ordered: reducers == 0 && (r.places.output != nil || r.opts.Sorted) || r.graph != nil || len(r.spec.Groups) > 0,
	}
}

// progress describes the job as it stands.
func (r *running) progress() job.Progress {
	p := job.Progress{Phase: job.Listing}
	if c := r.coord.Load(); c != nil {
		p = c.Progress()
	}
	p.Job, p.Elapsed = r.id, time.Since(r.began)
	p.Listed, p.ListedBytes, p.ListDone = r.passes()*r.listed.Load(), r.passes()*r.bytes.Load(), r.listDone.Load()
	p.Published, p.PublishTotal = int(r.published.Load()), int(r.parts.Load())
	if end := r.ended.Load(); end != 0 {
		p.Phase, p.Elapsed = job.Done, time.Duration(end)
	}
	return p
}

func (r *running) committed(c *coordinator.Committed) {
	if r.opts.Committed != nil {
		r.opts.Committed(job.AttemptReport{Attempt: c.Attempt, Node: c.Node, Counters: c.Result.Counters})
	}
}

// finish publishes what the job came to, or has it printed.
func (r *running) finish(ctx context.Context, o *coordinator.Outcome, s *plan.Summary, reducers int) (*job.Result, error) {
	m := job.Manifest{
		Version: 1, Job: r.id, Created: r.began.UTC().Truncate(time.Second),
		Program: r.program(), Groups: r.groups(), Inputs: r.spec.Inputs, Params: r.spec.Params, Reducers: reducers, Format: r.spec.Format, Compress: r.spec.Compress,
		Took: time.Since(r.began), Counters: o.Counters,
	}
	m.Counters.Archived, m.Counters.Markers = s.Archived, s.Markers
	for i := range reducers {
		if p := o.Parts[job.ReduceTask(i)]; p != nil && p.Partition != nil {
			m.Partitions = append(m.Partitions, *p.Partition)
		}
	}
	result := &job.Result{Manifest: m}
	for _, t := range o.Order() {
		for _, f := range o.Parts[t].Names {
			if len(result.FailedNames) < coordinator.MaxNames {
				result.FailedNames = append(result.FailedNames, f)
			}
		}
	}
	if r.claim == nil {
		var err error
		result.Printed, err = r.printer.printed()
		if errors.Is(err, errEnough) {
			err = nil
		}
		return result, err
	}
	d := &commit.Decision{Manifest: m}
	for _, t := range o.Order() {
		p := o.Parts[t]
		if p.Part != nil {
			d.Parts = append(d.Parts, commit.Part{Pending: *p.Part, Records: p.Counters.Output})
		}
		if p.Failed != nil {
			d.Failed = append(d.Failed, commit.Part{Pending: *p.Failed, Records: p.Counters.Failed})
		}
		for _, made := range p.Members {
			if made.Part != nil {
				d.Parts = append(d.Parts, commit.Part{Pending: *made.Part, Records: made.Records})
			}
			if made.Failed != nil {
				d.Failed = append(d.Failed, commit.Part{Pending: *made.Failed, Records: made.Listed})
			}
		}
	}
	if r.spec.Single != "" {
		p, err := r.claim.Assemble(ctx, r.spec.Single, d.Parts)
		if err != nil {
			return nil, err
		}
		d.Parts = []commit.Part{p}
	}
	r.parts.Store(int64(len(d.Parts) + len(d.Failed)))
	if err := r.claim.Decide(ctx, d); err != nil {
		return nil, err
	}
	// From here on the job only goes forward.
	published, err := r.claim.Finish(context.WithoutCancel(ctx))
	if err != nil {
		return nil, &job.Error{Op: fmt.Sprintf("publish %s (decided: run the job again to go on)", r.spec.Output), Err: err}
	}
	result.Manifest = *published
	return result, nil
}
