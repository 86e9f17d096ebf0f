package local

import (
	"context"
	"errors"
	"time"

	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A Summary is what a plan comes to.
type Summary = plan.Summary

// Plan lists the inputs and returns what Run would do, without doing it.
func Plan(ctx context.Context, spec *job.Spec, opts *Options) (*Summary, error) {
	r := &running{spec: spec, opts: opts, id: newID(), began: time.Now()}
	s, err := r.planOnly(ctx)
	if err := errors.Join(err, r.close()); err != nil {
		return nil, err
	}
	return s, nil
}

func (r *running) planOnly(ctx context.Context) (*Summary, error) {
	var err error
	if r.places, err = openPlaces(ctx, r.spec, r.opts.Schemes); err != nil {
		return nil, err
	}
	r.then(r.places.close)
	reducers := r.spec.Reducers
	if reducers == 0 && r.spec.Reducer != "" {
		reducers = 1
	}
	o := r.planOptions(reducers)
	for _, in := range r.places.inputs {
		l, err := r.opts.locate(ctx, in.Bucket)
		if err != nil {
			return nil, &job.Error{Op: "locate", Err: err}
		}
		o.Locators = append(o.Locators, l)
	}
	s, err := plan.Build(ctx, r.places.inputs, discardArea{}, o, func(job.Split) error { return nil })
	if err == nil && s.Objects == 0 {
		err = r.places.mustExist(ctx)
	}
	return s, err
}

func (o *Options) locate(ctx context.Context, b store.Bucket) (plan.Locator, error) {
	if o.Locate == nil {
		return nil, nil
	}
	return o.Locate(ctx, b)
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
