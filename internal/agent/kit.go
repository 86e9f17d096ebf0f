package agent

import (
	"context"
	"errors"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/codecache"
	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/internal/coordinator/commit"
	"github.com/millrace/millrace/internal/locate"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// remoteReaders is how many objects of one slot are read at once from a store at the other end of a network.
const remoteReaders = 16

// KitOptions say how a node gets the programs of a job. The zero value of a field means its default.
type KitOptions struct {
	Pool      *Pool            // of runners, as [PoolFor] makes it for the job; stays the caller's. nil: one of the kit's own
	Cache     *codecache.Cache // of compiled modules; nil: the user's own
	Where     *locate.Config   // says which objects lie on disks of this node; nil: none
	InProcess *job.Job         // is the program, and runs in this process without a jail
	// Open opens the file of a program; nil: that at its path.
	Open func(ctx context.Context, p *job.Program) (*os.File, error)
}

// A Kit is what a node has of the programs of one job: runners that stand ready, and code. It is made before the job's agent, and closed after it.
type Kit struct {
	spec    *job.Spec
	o       KitOptions
	pool    *Pool
	graph   *Graph   // of a job of groups; nil: it is none
	code    *os.File // nil: there is none
	module  *os.File // of a program that is to be interpreted as well; nil: none is
	closers []func() error
}

// NewKit gets runners for a job on their way: nothing else takes as long to be ready. The kit notes the digest of the program in spec, unless it is there.
func NewKit(spec *job.Spec, o KitOptions) *Kit {
	k := &Kit{spec: spec, o: o}
	if k.o.Open == nil {
		k.o.Open = func(_ context.Context, p *job.Program) (*os.File, error) { return os.Open(p.Path) }
	}
	if len(spec.Groups) > 0 {
		k.openGroups()
		return k
	}
	if k.pool = o.Pool; k.pool != nil {
		return k
	}
	if o.InProcess != nil {
		k.pool = NewPool(InProcess(o.InProcess))
	} else {
		k.pool = PoolFor(spec)
	}
	k.then(k.pool.Close)
	k.pool.Fill(1)
	return k
}

// then has f called when the kit is closed, before what was given earlier.
func (k *Kit) then(f func() error) { k.closers = append(k.closers, f) }

// Close lets go of runners and files.
func (k *Kit) Close() (err error) {
	for i := len(k.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, k.closers[i]())
	}
	k.closers = nil
	return err
}

// Load opens the programs. Modules are compiled, unless the cache has them.
func (k *Kit) Load(ctx context.Context) error {
	if k.graph != nil {
		return k.loadGroups(ctx)
	}
	p := &k.spec.Program
	if k.o.InProcess != nil || p.Engine == job.Builtin {
		return nil
	}
	f, err := k.o.Open(ctx, p)
	if err != nil {
		return &job.Error{Op: "program", Err: err}
	}
	if p.Engine == job.Wasm {
		k.code, err = k.machineCode(ctx, f)
		return err
	}
	k.then(f.Close)
	k.code = f
	return nil
}

// Job returns what an agent needs to work for the job, whose programs are loaded: all but Sender, Plan, Printer and Slots.
func (k *Kit) Job(ctx context.Context, id string, p *brief.Places) (Job, error) {
	dir, err := spillDir(k.spec)
	if err != nil {
		return Job{}, err
	}
	hello := k.hello(id, p)
	if k.graph != nil {
		for i := range k.graph.Groups {
			group := &k.graph.Groups[i]
			g := k.spec.Groups[group.Name]
			group.Hello = groupHello(hello, group, &g)
		}
	}
	j := Job{
		Hello: hello, Code: k.code, Inputs: p.Inputs, SpillDir: dir, Pool: k.pool, Graph: k.graph,
		Check: k.spec.Deterministic == job.Check, Module: k.module,
	}
	if p.Remote {
		j.Readers = remoteReaders
	}
	if k.o.Where != nil {
		for _, in := range p.Inputs {
			d, err := k.o.Where.Disk(ctx, in.Bucket)
			if err != nil {
				return Job{}, &job.Error{Op: "disks", Err: err}
			}
			j.Disks = append(j.Disks, d)
		}
	}
	if p.Output != nil {
		up := &commit.Uploads{Bucket: p.Output, Prefix: p.Prefix(), Job: id}
		j.Output = &Output{Bucket: p.Output, Prefix: p.Prefix(), Record: up.Record, Discard: up.Discard}
		if k.spec.Single != "" {
			j.Output.Pieces = commit.Pieces(id)
		}
	}
	return j, nil
}

// spillDir returns the directory where records lie while the job runs: the work URI if it is one, else $TMPDIR, else /var/tmp: /tmp may
// be in memory.
func spillDir(spec *job.Spec) (string, error) {
	if spec.Work != "" {
		u, err := store.ParseURI(spec.Work)
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

// hello returns what runners are told of the job.
func (k *Kit) hello(id string, p *brief.Places) runner.Hello {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // digests are compared within a job only
	s := k.spec
	hello := runner.Hello{
		Version: runner.Version, Engine: s.Program.Engine, Name: s.Program.Name, Args: s.Program.Args,
		Params: s.Params, OKExit: s.OKExit, Limits: s.Limits, Isolation: s.Isolation, Reducer: s.Reducer, Format: s.Format, Compress: s.Compress,
		DigestKey: h.Sum64(), Seed: seed(&s.Program, s.Params), Insecure: s.Insecure,
	}
	for _, in := range p.Inputs {
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
