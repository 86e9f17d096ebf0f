package local

import (
	"context"
	"errors"

	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/server"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A Summary is what a plan comes to.
type Summary = plan.Summary

// Plan lists the inputs and returns what Run would do, without doing it.
func Plan(ctx context.Context, spec *job.Spec, opts *Options) (*Summary, error) {
	p, err := brief.Open(ctx, spec, opts.Schemes)
	if err != nil {
		return nil, err
	}
	s, err := summary(ctx, spec, p, opts)
	if err := errors.Join(err, p.Close()); err != nil {
		return nil, err
	}
	return s, nil
}

func summary(ctx context.Context, spec *job.Spec, p *brief.Places, opts *Options) (*Summary, error) {
	reducers := spec.Reducers
	if reducers == 0 && spec.Reducer != "" {
		reducers = 1
	}
	var where func(context.Context, store.URI, store.Bucket) (plan.Locator, error)
	if w := opts.Where; w != nil {
		where = func(ctx context.Context, u store.URI, b store.Bucket) (plan.Locator, error) {
			return w.Locator(ctx, u, b, nil)
		}
	}
	o, err := server.PlanOptions(ctx, spec, p, reducers, false, where)
	if err != nil {
		return nil, err
	}
	s, err := plan.Build(ctx, p.Inputs, discardArea{}, o, func(job.Split) error { return nil })
	if err == nil && s.Objects == 0 {
		err = p.MustExist(ctx)
	}
	return s, err
}

// A discardArea keeps nothing of a plan: only its summary is wanted.
type discardArea struct{}

func (discardArea) Write(context.Context, int, []byte) (shard string, offset int64, err error) {
	return "", 0, nil
}

func (discardArea) Read(context.Context, string, int64, int64) ([]byte, error) {
	return nil, errors.New("the plan was not kept")
}

func (discardArea) Seal(context.Context, []byte) error { return nil }

func (discardArea) Index(context.Context, int64) ([]byte, error) {
	return nil, errors.New("the plan was not kept")
}

func (discardArea) Close() error { return nil }
