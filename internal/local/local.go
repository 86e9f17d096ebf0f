// Package local runs a whole job in one process and its runners: an embedded cluster, a coordinator and an agent,
// the same ones that run on many machines.
package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/agent"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/codecache"
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/locate"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/internal/server"
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
	// Pool, if not nil, gives the job its runners; made by [agent.PoolFor] for a job of the same jail. It stays the caller's.
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
	r := &running{spec: &normal, opts: opts, id: newID(), node: nodeName()}
	r.driver = server.NewDriver(server.Work{
		Job: r.id, Epoch: epoch, Spec: &normal, Schemes: opts.Schemes, Began: time.Now(),
		Stdout: opts.Stdout, Sorted: opts.Sorted, MaxRequests: opts.MaxRequests, Approve: opts.Approve,
		Committed: opts.Committed, Step: opts.Step,
	})
	if opts.Progress != nil {
		opts.Progress(r.driver.Progress)
	}
	began := time.Now()
	result, err := r.run(ctx)
	err = errors.Join(err, r.close())
	if err != nil {
		if cause := context.Cause(ctx); ctx.Err() != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
		return nil, err
	}
	result.Elapsed = time.Since(began)
	return result, nil
}

// newID returns the name of a new job.
func newID() string {
	var b [6]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// A running is one job under way.
type running struct {
	spec *job.Spec
	opts *Options
	id   string
	node string

	driver  *server.Driver
	kit     *agent.Kit
	agent   *agent.Agent
	cluster *cluster.Cluster
	closers []func() error
}

// then has f called when the job is closed, before what was given earlier.
func (r *running) then(f func() error) { r.closers = append(r.closers, f) }

func (r *running) close() (err error) {
	for i := len(r.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, r.closers[i]())
	}
	r.closers = nil
	return err
}

// run makes all that the job needs, what takes longest first, and has it driven.
func (r *running) run(ctx context.Context) (*job.Result, error) {
	r.kit = agent.NewKit(r.spec, agent.KitOptions{Pool: r.opts.Pool, Cache: r.opts.Cache, InProcess: r.opts.InProcess, Where: r.opts.Where})
	r.then(r.kit.Close)
	embedded := r.embed()
	r.then(r.driver.Close)
	if err := r.driver.Open(ctx); err != nil {
		return nil, err
	}
	if err := r.kit.Load(ctx); err != nil {
		return nil, err
	}
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	claimErr := r.driver.Claim(ctx)
	if err := errors.Join(claimErr, embedded()); err != nil {
		return nil, err
	}
	desk := server.NewDesk(r.cluster, epoch)
	if err := desk.Serve(ctx); err != nil {
		return nil, err
	}
	defer desk.Close()
	log, err := r.cluster.Log(ctx, r.id)
	if err == nil {
		err = log.Lead(ctx, epoch)
	}
	if err != nil {
		return nil, err
	}
	return r.driver.Run(ctx, log, desk, crew{r})
}

// open makes the agent, whose first runner loads the program at once.
func (r *running) open(ctx context.Context) error {
	j, err := r.kit.Job(ctx, r.id, r.driver.Places())
	if err != nil {
		return err
	}
	j.Sender = coordinator.Sender{Job: r.id, Epoch: epoch, Node: r.node, Incarnation: 1}
	j.Plan, j.Slots = r.driver.Plan(), r.slots()
	if p := r.driver.Printer(); p != nil {
		j.Printer = p
	}
	r.agent = agent.New(ctx, j, client{r})
	r.then(r.agent.Close)
	return nil
}

// embed gets the cluster on its way, and returns a function that waits until it is there.
func (r *running) embed() (wait func() error) {
	wait = sync.OnceValue(func() (err error) {
		r.cluster, err = cluster.Embed(nil)
		return err
	})
	go func() { _ = wait() }() // who needs it learns what was wrong
	r.then(func() error {
		if wait() != nil {
			return nil
		}
		return r.cluster.Close()
	})
	return wait
}

// A crew is the one agent of the job.
type crew struct{ r *running }

func (c crew) MapOnly(context.Context) (bool, error) { return c.r.agent.MapOnly() }

func (c crew) Cuts(ctx context.Context, splits []job.Split, n int) ([][]byte, error) {
	return c.r.agent.Cuts(ctx, splits, n)
}

// Run makes what keeps the program from being started the user's to mend.
func (c crew) Run(ctx context.Context) error {
	err := c.r.agent.Run(ctx)
	var refused runner.Refusal
	if errors.As(err, &refused) || errors.Is(err, sandbox.ErrLayer) {
		return &job.Error{Op: c.r.spec.Program.Name, Err: err}
	}
	return err
}

func (r *running) slots() int {
	switch {
	case len(r.spec.Groups) > 0:
		return 1
	case r.spec.Slots > 0:
		return r.spec.Slots
	}
	return runtime.NumCPU()
}

// nodeName names this node as the cluster wants it.
func nodeName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' {
			return c
		}
		return '-'
	}, name)
}
