package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/internal/coordinator/commit"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/tempdir"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/job/jobfile"
	"github.com/millrace/millrace/placement"
	"github.com/millrace/millrace/store"
)

// A Work is what a Driver drives.
type Work struct {
	Job     string
	Epoch   uint64    // of this coordinator
	Spec    *job.Spec // validated; the driver reads it until it is closed
	Schemes store.Schemes
	Began   time.Time

	// Locate, if not nil, returns who knows where the objects of an input lie, or nil.
	Locate func(ctx context.Context, u store.URI, b store.Bucket) (plan.Locator, error)
	Stdout io.Writer // where a job without output prints
	Sorted bool      // print in the order of keys, not as found

	// MaxRequests, if not 0, is how many requests to the store the job may need without being asked for: when the plan
	// passes it, no further work begins until the plan is complete and Approve agrees.
	MaxRequests int64
	Approve     func(requests int64) error

	// Blocks, if not nil, is where the plan of a job lies that has neither output nor work URI; nil: in a directory of this process.
	Blocks plan.Area
	// Replay, if not nil, is the log of a job that had another coordinator before: the job goes on where it ends, and a claim of its own at its output is taken
	// over. The driver takes it.
	Replay *coordinator.Replay
	// Members returns who is a member of the cluster; nil: nobody else is.
	Members func() []cluster.Present

	Quarantine func(coordinator.Quarantine) // if not nil, is told of nodes that fail
	Revoke     func(coordinator.Revoke)     // if not nil, tells a node that an attempt is not wanted any more

	Committed func(r job.AttemptReport) // if not nil, is told of each attempt that counts
	Step      func(name string)         // if not nil, is called at each step of committing, by name. Tests stop the world there.
}

// A Crew are the agents of a job, as its driver needs them.
type Crew interface {
	// MapOnly reports whether the program has nothing to reduce.
	MapOnly(ctx context.Context) (bool, error)
	// Cuts returns the borders between n partitions of about the same size, by a sample of the plan.
	Cuts(ctx context.Context, splits []job.Split, n int) ([][]byte, error)
	// Run works until the coordinator says that the job is over; an error ends the job. It may return at once if others work.
	Run(ctx context.Context) error
}

// A Driver takes one job to its end: it claims the output, plans, has a coordinator decide, and publishes. Its methods are called in the order Open,
// Claim, Run, Close; Places, Brief and Progress at any time between.
type Driver struct {
	w       Work
	places  *brief.Places
	area    plan.Area
	claim   *commit.Claim
	printer *printer
	closers []func() error
	stop    atomic.Pointer[context.CancelCauseFunc]
	leave   bool // the next coordinator goes on: what lies at the output stays

	coord     atomic.Pointer[coordinator.Coordinator]
	listed    atomic.Int64
	bytes     atomic.Int64
	listDone  atomic.Bool
	published atomic.Int64
	parts     atomic.Int64
	ended     atomic.Int64 // nanoseconds after the beginning
}

// NewDriver returns a driver that has done nothing yet.
func NewDriver(w Work) *Driver { return &Driver{w: w} }

// Open opens the stores of the job, and the place of its plan.
func (d *Driver) Open(ctx context.Context) (err error) {
	if d.places, err = brief.Open(ctx, d.w.Spec, d.w.Schemes); err != nil {
		return err
	}
	d.then(d.places.Close)
	if d.area = d.places.Area(d.w.Job, d.planName()); d.area == nil {
		d.area = d.w.Blocks
	}
	if d.area == nil {
		dir, err := tempdir.New("millrace-plan-")
		if err != nil {
			return err
		}
		a := plan.NewDirArea(dir.Path)
		d.area = a
		d.then(func() error { return errors.Join(a.Close(), dir.Close()) })
	}
	if d.places.Output == nil {
		d.printer = &printer{
			w: d.w.Stdout, limit: d.w.Spec.Limit, stop: d.cancel, order: d.w.Sorted,
			tasks: make(map[job.TaskID]*printed), next: job.MapTask(0),
		}
		d.then(d.printer.close)
	}
	return nil
}

// planName is that of the job's plan: the epoch of the coordinator that began it.
func (d *Driver) planName() string {
	if r := d.w.Replay; r != nil && r.Plan != "" {
		return strconv.FormatUint(r.Begun, 10)
	}
	return strconv.FormatUint(d.w.Epoch, 10)
}

// Places returns the stores of the job, which Open has opened. They stay the driver's.
func (d *Driver) Places() *brief.Places { return d.places }

// Plan returns the reader of the job's plan.
func (d *Driver) Plan() *plan.Reader { return plan.Open(d.area) }

// A Printer shows the text of a job's tasks. What an earlier attempt of a task has shown is not shown again.
type Printer interface {
	Print(a job.AttemptID, text []byte, more bool) error
	End(a job.AttemptID) error
	Done(a job.AttemptID) error
}

// Printer returns who prints for a job without output, nil for another one.
func (d *Driver) Printer() Printer {
	if d.printer == nil {
		return nil
	}
	return d.printer
}

// Brief returns what agents are told of the job, but for where its programs are.
func (d *Driver) Brief() brief.Brief {
	b := brief.Brief{Job: d.w.Job, Epoch: d.w.Epoch, Spec: *d.w.Spec}
	if d.places.Area(d.w.Job, "") != nil {
		b.Plan = d.planName()
	}
	return b
}

// Claim claims the output. What an earlier coordinator of the job had decided there is finished.
func (d *Driver) Claim(ctx context.Context) (err error) {
	if d.places.Output == nil {
		return nil
	}
	d.claim, err = commit.Take(ctx, d.places.Output, d.places.URI.Prefix, d.w.Job, &commit.Options{
		Name: d.w.Spec.Output, Overwrite: d.w.Spec.Overwrite, Step: d.w.Step, Succeeds: d.w.Replay != nil,
		Published: func(n, of int) {
			d.published.Store(int64(n))
			d.parts.Store(int64(of))
		},
	})
	if err != nil {
		return err
	}
	d.then(func() error {
		if d.leave {
			d.claim.Leave()
			return nil
		}
		return d.claim.Release(context.WithoutCancel(ctx))
	})
	return nil
}

// Leave has Close leave everything at the output as it lies, for the next coordinator of the job.
func (d *Driver) Leave() { d.leave = true }

// then has f called when the driver is closed, before what was given earlier.
func (d *Driver) then(f func() error) { d.closers = append(d.closers, f) }

// Close ends the job if it has not ended, and lets go of all that it has.
func (d *Driver) Close() (err error) {
	d.ended.Store(int64(time.Since(d.w.Began)))
	for i := len(d.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, d.closers[i]())
	}
	d.closers = nil
	return err
}

// cancel ends a job that runs.
func (d *Driver) cancel(cause error) {
	if stop := d.stop.Load(); stop != nil {
		(*stop)(cause)
	}
}

// Run runs the job to its end. Cancelling ctx cancels the job: before the decision nothing of it stays visible. Agents are answered at the desk.
func (d *Driver) Run(ctx context.Context, log *cluster.Log, desk *Desk, crew Crew) (*job.Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.stop.Store(&cancel)
	result, err := d.run(ctx, log, desk, crew)
	if err != nil {
		if cause := context.Cause(ctx); ctx.Err() != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
		return nil, err
	}
	return result, nil
}

func (d *Driver) run(ctx context.Context, log *cluster.Log, desk *Desk, crew Crew) (*job.Result, error) {
	if d.claim != nil {
		if m := d.claim.Finished(); m != nil && (!d.w.Spec.Overwrite || m.Job == d.w.Job) {
			return &job.Result{Manifest: *m, Resumed: true}, nil
		}
	}
	reducers, err := d.reducers(ctx, crew)
	if err != nil {
		return nil, err
	}
	tolerates, err := d.tolerance()
	if err != nil {
		return nil, err
	}
	l := jobLog{log, d.w.Epoch}
	conf := coordinator.Config{Job: d.w.Job, Epoch: d.w.Epoch, Reducers: reducers, Tolerates: tolerates, Patience: placement.DefaultPatience, Alone: d.printer != nil}
	m, resumed, err := d.machine(ctx, conf)
	if err != nil {
		return nil, err
	}
	seat := desk.entry(d.w.Job, d.w.Spec, d.w.Began)
	c := coordinator.Start(context.WithoutCancel(ctx), m, coordinator.Options{
		Log: l, Discard: d.discard, Committed: d.committed, Waiting: seat.offer, Quarantine: d.w.Quarantine, Revoke: d.w.Revoke,
	})
	defer c.Close()
	d.coord.Store(c)
	seat.begin(context.WithoutCancel(ctx), c)
	defer seat.end()
	outcome, summary, err := d.work(ctx, c, reducers, crew, resumed)
	if err != nil {
		return nil, err
	}
	seat.settle()
	return d.finish(ctx, l, outcome, summary, reducers)
}

// A jobLog writes the log of a job as its only coordinator.
type jobLog struct {
	log   *cluster.Log
	epoch uint64
}

func (l jobLog) Append(ctx context.Context, record []byte) error {
	err := l.log.Append(ctx, l.epoch, record)
	if err != nil {
		return errors.Join(errJobLog, err)
	}
	return nil
}

// errJobLog says that a record may not be in the log: what the job has made stays, for whoever goes on with it.
var errJobLog = errors.New("the job log was not written")

// write appends a record that is not the coordinator's own.
func (l jobLog) write(ctx context.Context, r *coordinator.Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return l.Append(ctx, b)
}

// errEnough ends a job that has printed all that was asked for.
var errEnough = errors.New("enough was printed")

// work plans and has the agents work until the job needs no more, or can have none.
func (d *Driver) work(ctx context.Context, c *coordinator.Coordinator, reducers int, crew Crew, resumed *plan.Summary) (*coordinator.Outcome, *plan.Summary, error) {
	wctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// Whatever goes wrong is told to the coordinator, which knows whether it still matters.
	failed := func(err error) {
		if err != nil {
			_ = c.Tell(context.WithoutCancel(ctx), coordinator.Stopped{Cause: err})
		}
	}
	defer context.AfterFunc(ctx, func() { failed(context.Cause(ctx)) })()
	if d.claim != nil {
		go func() {
			select {
			case <-d.claim.Lost():
				failed(d.claim.Err())
			case <-wctx.Done():
			}
		}()
	}
	var wg sync.WaitGroup
	summary := resumed
	if err := c.Tell(ctx, coordinator.Started{}); err != nil {
		return nil, nil, err
	}
	wg.Go(func() {
		if resumed != nil {
			failed(d.await(wctx, c))
			return
		}
		s, err := d.plan(wctx, c, reducers, crew)
		if err != nil {
			failed(err)
			return
		}
		summary = s
	})
	wg.Go(func() { failed(crew.Run(wctx)) })
	<-c.Ended()
	outcome, err := c.Outcome()
	if err != nil {
		stop(err)
	}
	wg.Wait()
	if err != nil && !errors.Is(err, errEnough) {
		return nil, nil, err
	}
	if summary == nil { // it ended before the plan was complete
		summary = &plan.Summary{}
	}
	return &outcome, summary, nil
}

// plan lists the inputs and hands the splits to the coordinator as they come.
func (d *Driver) plan(ctx context.Context, c *coordinator.Coordinator, reducers int, crew Crew) (*plan.Summary, error) {
	var held []job.Split
	var requests int64
	groups := len(d.w.Spec.Groups) > 0
	byRange := d.w.Spec.Partition == job.ByRange && reducers > 1
	o, err := PlanOptions(ctx, d.w.Spec, d.places, reducers, d.w.Sorted, d.w.Locate)
	if err != nil {
		return nil, err
	}
	s, err := plan.Build(ctx, d.places.Inputs, d.area, o, func(s job.Split) error {
		d.listed.Add(int64(s.Objects))
		d.bytes.Add(s.Bytes)
		if requests += int64(s.Objects); byRange || groups || d.w.MaxRequests > 0 && requests > d.w.MaxRequests {
			held = append(held, s)
			return nil
		}
		return c.Tell(ctx, coordinator.Planned{Split: s})
	})
	if err != nil {
		return nil, err
	}
	d.listDone.Store(true)
	if s.Objects == 0 {
		if err := d.places.MustExist(ctx); err != nil {
			return nil, err
		}
	}
	if d.w.MaxRequests > 0 && s.Requests > d.w.MaxRequests {
		if err := d.w.Approve(s.Requests); err != nil {
			return nil, err
		}
	}
	if byRange {
		cuts, err := crew.Cuts(ctx, held, reducers)
		if err == nil {
			err = c.Tell(ctx, coordinator.Cut{Keys: cuts})
		}
		if err != nil {
			return nil, err
		}
	}
	if groups {
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
	return s, c.Tell(ctx, coordinator.Sealed{Digest: s.Digest, Listed: coordinator.Listed{Archived: s.Archived, Markers: s.Markers}})
}

// PlanOptions returns how a job is planned, which prints in the order of keys if it is sorted.
func PlanOptions(ctx context.Context, s *job.Spec, p *brief.Places, reducers int, sorted bool, locate func(context.Context, store.URI, store.Bucket) (plan.Locator, error)) (*plan.Options, error) {
	o := &plan.Options{
		Include: s.Include, Exclude: s.Exclude, ModifiedSince: s.ModifiedSince,
		Split: s.Split, Reducers: reducers, Output: p.Output != nil,
		// Records are sorted whatever splits they come from; text stands in the order of tasks, and members of groups read in the order of the plan.
		Ordered: reducers == 0 && (p.Output != nil || sorted) || len(s.Groups) > 0,
	}
	if locate == nil {
		return o, nil
	}
	for _, in := range p.Inputs {
		l, err := locate(ctx, in.URI, in.Bucket)
		if err != nil {
			return nil, &job.Error{Op: "locate", Err: err}
		}
		o.Locators = append(o.Locators, l)
	}
	return o, nil
}

// gang returns the one task of a job of groups, which is made of these splits.
func gang(splits []job.Split) (job.Split, error) {
	if len(splits) > coordinator.MaxGang {
		return job.Split{}, &job.Error{Op: "plan", Err: fmt.Errorf("the input has %d splits: a job of groups works on at most %d", len(splits), coordinator.MaxGang)}
	}
	whole := job.Split{Task: job.MapTask(0), Gang: splits}
	for _, s := range splits {
		whole.Objects += s.Objects
		whole.Bytes += s.Bytes
	}
	return whole, nil
}

// reducers returns how many partitions the job has.
func (d *Driver) reducers(ctx context.Context, crew Crew) (int, error) {
	s := d.w.Spec
	mapOnly, err := crew.MapOnly(ctx)
	if err != nil {
		return 0, &job.Error{Op: s.Program.Name, Err: err}
	}
	switch {
	case mapOnly && s.Reducers > 0:
		return 0, &job.Error{Op: s.Program.Name, Err: errors.New("the program does not reduce: give no number of reducers, or name a stock reducer")}
	case mapOnly && s.Format.IsTable():
		return 0, &job.Error{Op: s.Program.Name, Err: fmt.Errorf("format %s: the program prints lines, which have no columns: name a reducer", s.Format)}
	case mapOnly:
		return 0, nil
	}
	return max(s.Reducers, 1), nil
}

// tolerance returns how many failed objects the job commits with.
func (d *Driver) tolerance() (func(failed, total int64) bool, error) {
	t, err := jobfile.ParseTolerance(d.w.Spec.Tolerate)
	if err != nil {
		return nil, &job.Error{Op: "tolerate", Err: err}
	}
	return t.Allows, nil
}

// program is what people are told about the code.
func (d *Driver) program() job.Program {
	p := d.w.Spec.Program
	if p.Name == "" && len(d.w.Spec.Groups) == 0 {
		p.Name = filepath.Base(p.Path)
	}
	p.Path = ""
	return p
}

// discard gives up pending output of an attempt that does not count. What is left is found by its record.
func (d *Driver) discard(ctx context.Context, h store.Handle) error {
	if d.places.Output == nil {
		return nil
	}
	return d.places.Output.Discard(ctx, h)
}

func (d *Driver) committed(c *coordinator.Committed) {
	if d.w.Committed != nil {
		d.w.Committed(job.AttemptReport{Attempt: c.Attempt, Node: c.Node, Counters: c.Result.Counters})
	}
}
