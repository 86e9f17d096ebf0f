package brief

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/millrace/millrace/internal/coordinator/commit"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// Places are the stores of a job. Their methods may be called concurrently, but for Close.
type Places struct {
	Inputs []plan.Input
	Output store.Bucket // nil: the job prints
	URI    store.URI    // of Output
	Remote bool         // some input is behind a network

	work       store.Bucket // where the plan of a job without output lies; nil: nowhere
	workPrefix store.Key
}

// Open opens the stores that spec names. Whoever opens them closes them. An error is the user's to mend.
func Open(ctx context.Context, spec *job.Spec, schemes store.Schemes) (*Places, error) {
	p := &Places{}
	if err := p.open(ctx, spec, schemes); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Places) open(ctx context.Context, spec *job.Spec, schemes store.Schemes) error {
	o := store.Options{
		NoSignRequest: spec.Store.NoSignRequest, RequesterPays: spec.Store.RequesterPays,
		Endpoint: spec.Store.Endpoint, Region: spec.Store.Region,
	}
	for _, in := range spec.Inputs {
		b, u, err := openURI(ctx, in, schemes, &o)
		if err != nil {
			return err
		}
		p.Inputs = append(p.Inputs, plan.Input{URI: u, Bucket: b})
		p.Remote = p.Remote || u.Scheme != "file" && u.Scheme != "mem"
	}
	var err error
	if !Prints(spec) {
		if p.Output, p.URI, err = openURI(ctx, spec.Output, schemes, &o); err != nil {
			return err
		}
		if p.URI.Glob != "" {
			return &job.Error{Op: "output", Err: fmt.Errorf("%s is a pattern", spec.Output)}
		}
		return nil
	}
	if spec.Work != "" {
		var u store.URI
		p.work, u, err = openURI(ctx, spec.Work, schemes, &o)
		p.workPrefix = commit.Dir(u.Prefix)
	}
	return err
}

// Prints reports whether a job has no output but what it prints.
func Prints(spec *job.Spec) bool { return spec.Output == "" || spec.Output == "-" }

func openURI(ctx context.Context, s string, schemes store.Schemes, o *store.Options) (store.Bucket, store.URI, error) {
	u, err := store.ParseURI(s)
	if err != nil {
		return nil, u, &job.Error{Err: err}
	}
	own := *o // a driver may keep it
	b, u, err := schemes.Open(ctx, u, &own)
	if err != nil {
		return nil, u, &job.Error{Err: err}
	}
	return b, u, nil
}

// Prefix returns that of all keys of the output, "" or ending in "/".
func (p *Places) Prefix() store.Key { return commit.Dir(p.URI.Prefix) }

// Area returns where the plan of that name lies that the coordinator made for a job: with the output, else at the work URI. It returns nil if there is neither.
func (p *Places) Area(job, name string) plan.Area {
	if name = strings.Trim(name, "/"); name != "" {
		name += "/"
	}
	switch {
	case p.Output != nil:
		return plan.BucketArea(p.Output, p.Prefix()+commit.PlanDir+store.Key(name))
	case p.work != nil:
		return plan.BucketArea(p.work, p.workPrefix+store.Key("plan-"+job+"/"+name))
	}
	return nil
}

// MustExist returns an error if an input that yielded nothing names something that is not there.
func (p *Places) MustExist(ctx context.Context) error {
	for _, in := range p.Inputs {
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

// Close closes all stores.
func (p *Places) Close() (err error) {
	for _, in := range p.Inputs {
		err = errors.Join(err, in.Bucket.Close())
	}
	for _, b := range []store.Bucket{p.Output, p.work} {
		if b != nil {
			err = errors.Join(err, b.Close())
		}
	}
	return err
}
