package local

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/agent"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/commit"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/internal/tempdir"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/job/jobfile"
	"github.com/millrace/millrace/store"
)

// remoteReaders is how many objects of one slot are read at once from a store at the other end of a network.
const remoteReaders = 16

// places are the stores of a job.
type places struct {
	inputs  []plan.Input
	output  *agent.Output // nil: the job prints
	uri     store.URI     // of the output
	remote  bool          // some input is behind a network
	options store.Options
}

// openPlaces opens the stores that spec names.
func openPlaces(ctx context.Context, spec *job.Spec, schemes store.Schemes) (*places, error) {
	o := &store.Options{
		NoSignRequest: spec.Store.NoSignRequest, RequesterPays: spec.Store.RequesterPays,
		Endpoint: spec.Store.Endpoint, Region: spec.Store.Region,
	}
	p := &places{options: *o}
	for _, in := range spec.Inputs {
		b, u, err := openURI(ctx, in, schemes, o)
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.inputs = append(p.inputs, plan.Input{URI: u, Bucket: b})
		p.remote = p.remote || u.Scheme != "file" && u.Scheme != "mem"
	}
	if spec.Output == "" || spec.Output == "-" {
		return p, nil
	}
	b, u, err := openURI(ctx, spec.Output, schemes, o)
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.output, p.uri = &agent.Output{Bucket: b, Prefix: commit.Dir(u.Prefix)}, u
	if u.Glob != "" {
		return nil, errors.Join(&job.Error{Op: "output", Err: fmt.Errorf("%s is a pattern", spec.Output)}, p.close())
	}
	return p, nil
}

func openURI(ctx context.Context, s string, schemes store.Schemes, o *store.Options) (store.Bucket, store.URI, error) {
	u, err := store.ParseURI(s)
	if err != nil {
		return nil, u, &job.Error{Err: err}
	}
	b, u, err := schemes.Open(ctx, u, o)
	if err != nil {
		return nil, u, &job.Error{Err: err}
	}
	return b, u, nil
}

// mustExist returns an error if an input that yielded nothing names something that is not there.
func (p *places) mustExist(ctx context.Context) error {
	for _, in := range p.inputs {
		if in.URI.Glob != "" {
			continue
		}
		found := false
		for _, err := range in.Bucket.List(ctx, in.URI.Prefix, "") {
			if err != nil {
				return &job.Error{Op: "list", Err: err}
			}
			found = true
			break
		}
		if !found && in.URI.Prefix != "" {
			return &job.Error{Op: "list", Err: fmt.Errorf("%s: %w: nothing lies there", in.URI, store.ErrNotExist)}
		}
	}
	return nil
}

func (p *places) close() (err error) {
	for _, in := range p.inputs {
		err = errors.Join(err, in.Bucket.Close())
	}
	if p.output != nil {
		err = errors.Join(err, p.output.Bucket.Close())
	}
	return err
}

// open makes all that the job needs before it starts.
func (r *running) open(ctx context.Context) error {
	r.openPool()
	embedded := r.embed()
	var err error
	if r.places, err = openPlaces(ctx, r.spec, r.opts.Schemes); err != nil {
		return err
	}
	r.then(r.places.close)
	code, err := r.code(ctx)
	if err != nil {
		return err
	}
	slots := r.slots()
	if r.graph != nil {
		slots = 1
		if err := r.loadGroups(ctx); err != nil {
			return err
		}
	}
	if r.area, err = r.workArea(ctx); err != nil {
		return err
	}
	if r.places.output == nil {
		r.printer = &printer{
			w: r.opts.Stdout, limit: r.spec.Limit, stop: r.cancel, order: r.opts.Sorted,
			tasks: make(map[job.TaskID]*printed), next: job.MapTask(0),
		}
		r.then(r.printer.close)
	}
	dir, err := r.spillDir()
	if err != nil {
		return err
	}
	j := agent.Job{
		Sender: coordinator.Sender{Job: r.id, Epoch: epoch, Node: nodeName(), Incarnation: 1},
		Hello:  r.hello(), Code: code, Inputs: r.places.inputs, Plan: plan.Open(r.area), Output: r.places.output,
		SpillDir: dir, Pool: r.pool, Graph: r.graph, Slots: slots, Check: r.spec.Deterministic == job.Check, Module: r.module,
	}
	if r.printer != nil {
		j.Printer = r.printer
	}
	if w := r.opts.Where; w != nil {
		for _, in := range r.places.inputs {
			d, err := w.Disk(ctx, in.Bucket)
			if err != nil {
				return &job.Error{Op: "disks", Err: err}
			}
			j.Disks = append(j.Disks, d)
		}
	}
	if r.places.remote {
		j.Readers = remoteReaders
	}
	r.agent = agent.New(ctx, j, client{r})
	r.then(r.agent.Close)
	claimErr := r.take(ctx)
	return errors.Join(claimErr, embedded())
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

// take claims the output.
func (r *running) take(ctx context.Context) error {
	out := r.places.output
	if out == nil {
		return nil
	}
	var err error
	r.claim, err = commit.Take(ctx, out.Bucket, r.places.uri.Prefix, r.id, &commit.Options{
		Name: r.spec.Output, Overwrite: r.spec.Overwrite, Step: r.opts.Step,
		Published: func(n, of int) {
			r.published.Store(int64(n))
			r.parts.Store(int64(of))
		},
	})
	if err != nil {
		return err
	}
	r.then(func() error { return r.claim.Release(context.WithoutCancel(ctx)) })
	if r.spec.Single != "" {
		out.Pieces = commit.Pieces(r.id)
	}
	up := r.claim.Uploads()
	out.Record, out.Discard = up.Record, up.Discard
	return nil
}

// code opens the program's file, if it has one. What it returns of a module is its machine code.
func (r *running) code(ctx context.Context) (*os.File, error) {
	if r.graph != nil || r.opts.InProcess != nil || r.spec.Program.Engine == job.Builtin {
		return nil, nil
	}
	f, err := os.Open(r.spec.Program.Path)
	if err != nil {
		return nil, &job.Error{Op: "program", Err: err}
	}
	if r.spec.Program.Engine == job.Wasm {
		return r.machineCode(ctx, f)
	}
	r.then(f.Close)
	return f, nil
}

// workArea returns where the plan is kept: with the output, else in the work URI, else in a directory of this job alone.
func (r *running) workArea(ctx context.Context) (plan.Area, error) {
	if out := r.places.output; out != nil {
		return plan.BucketArea(out.Bucket, out.Prefix+commit.PlanDir), nil
	}
	if r.spec.Work != "" {
		o := r.places.options
		b, u, err := openURI(ctx, r.spec.Work, r.opts.Schemes, &o)
		if err != nil {
			return nil, err
		}
		r.then(b.Close)
		return plan.BucketArea(b, commit.Dir(u.Prefix)+store.Key("plan-"+r.id+"/")), nil
	}
	dir, err := tempdir.New("millrace-plan-")
	if err != nil {
		return nil, err
	}
	a := plan.NewDirArea(dir.Path)
	r.then(func() error { return errors.Join(a.Close(), dir.Close()) })
	return a, nil
}

// spillDir returns the directory where records lie while the job runs: the work URI if it is one, else $TMPDIR, else /var/tmp: /tmp may
// be in memory.
func (r *running) spillDir() (string, error) {
	if r.spec.Work != "" {
		u, err := store.ParseURI(r.spec.Work)
		if err != nil {
			return "", &job.Error{Err: err}
		}
		if dir := filepath.Join(u.Bucket, string(u.Prefix)); u.Scheme == "file" {
			return dir, os.MkdirAll(dir, 0o777)
		}
	}
	if dir := os.Getenv("TMPDIR"); dir != "" {
		return dir, nil
	}
	if unix.Access("/var/tmp", unix.W_OK|unix.X_OK) == nil {
		return "/var/tmp", nil
	}
	return os.TempDir(), nil
}

func (r *running) hello() runner.Hello {
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.id)) // digests are compared within a job only
	hello := runner.Hello{
		Version: runner.Version, Engine: r.spec.Program.Engine, Name: r.spec.Program.Name, Args: r.spec.Program.Args,
		Params: r.spec.Params, OKExit: r.spec.OKExit, Limits: r.spec.Limits, Isolation: r.spec.Isolation, Reducer: r.spec.Reducer, Format: r.spec.Format, Compress: r.spec.Compress,
		DigestKey: h.Sum64(), Seed: seed(&r.spec.Program, r.spec.Params), Insecure: r.spec.Insecure,
	}
	for _, in := range r.places.inputs {
		root := in.URI
		root.Prefix, root.Glob, root.Exact = "", "", false
		s := root.String()
		if !strings.HasSuffix(s, "/") {
			s += "/"
		}
		hello.Inputs = append(hello.Inputs, runner.Input{Root: s, Base: len(in.URI.Base())})
	}
	return hello
}

// reducers returns how many partitions the job has.
func (r *running) reducers() (int, error) {
	mapOnly, err := r.agent.MapOnly()
	if err != nil {
		return 0, &job.Error{Op: r.spec.Program.Name, Err: err}
	}
	switch {
	case mapOnly && r.spec.Reducers > 0:
		return 0, &job.Error{Op: r.spec.Program.Name, Err: errors.New("the program does not reduce: give no number of reducers, or name a stock reducer")}
	case mapOnly && r.spec.Format.IsTable():
		return 0, &job.Error{Op: r.spec.Program.Name, Err: fmt.Errorf("format %s: the program prints lines, which have no columns: name a reducer", r.spec.Format)}
	case mapOnly:
		return 0, nil
	}
	return max(r.spec.Reducers, 1), nil
}

// tolerance returns how many failed objects the job commits with.
func (r *running) tolerance() (func(failed, total int64) bool, error) {
	t, err := jobfile.ParseTolerance(r.spec.Tolerate)
	if err != nil {
		return nil, &job.Error{Op: "tolerate", Err: err}
	}
	return t.Allows, nil
}

func (r *running) slots() int {
	if r.spec.Slots > 0 {
		return r.spec.Slots
	}
	return runtime.NumCPU()
}

// program is what people are told about the code.
func (r *running) program() job.Program {
	p := r.spec.Program
	if p.Name == "" && r.graph == nil {
		p.Name = filepath.Base(p.Path)
	}
	p.Path = ""
	return p
}

// discard gives up pending output of an attempt that does not count. What is left is found by its record.
func (r *running) discard(ctx context.Context, h store.Handle) error {
	if r.places.output == nil {
		return nil
	}
	return r.places.output.Bucket.Discard(ctx, h)
}

func nodeName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}
