package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/commit"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/job"
)

// finish publishes what the job came to, or has it printed.
func (d *Driver) finish(ctx context.Context, log jobLog, o *coordinator.Outcome, s *plan.Summary, reducers int) (*job.Result, error) {
	spec := d.w.Spec
	m := job.Manifest{
		Version: 1, Job: d.w.Job, Created: d.w.Began.UTC().Truncate(time.Second),
		Program: d.program(), Groups: d.groups(), Inputs: spec.Inputs, Params: spec.Params, Reducers: reducers, Format: spec.Format, Compress: spec.Compress,
		Took: time.Since(d.w.Began), Counters: o.Counters,
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
	if d.claim == nil {
		var err error
		result.Printed, err = d.printer.printed()
		if errors.Is(err, errEnough) {
			err = nil
		}
		return result, err
	}
	dec := decision(o, m)
	if spec.Single != "" {
		p, err := d.claim.Assemble(ctx, spec.Single, dec.Parts)
		if err != nil {
			return nil, err
		}
		dec.Parts = []commit.Part{p}
	}
	d.parts.Store(int64(len(dec.Parts) + len(dec.Failed)))
	// A coordinator that another one follows learns of it here, at the latest.
	if err := log.write(ctx, &coordinator.Record{Decided: true}); err != nil {
		return nil, fmt.Errorf("job log: %w", err)
	}
	if err := d.claim.Decide(ctx, dec); err != nil {
		return nil, err
	}
	// From here on the job only goes forward.
	published, err := d.claim.Finish(context.WithoutCancel(ctx))
	if err != nil {
		return nil, &job.Error{Op: fmt.Sprintf("publish %s (decided: run the job again to go on)", spec.Output), Err: err}
	}
	result.Manifest = *published
	return result, nil
}

// decision names all that committed attempts made.
func decision(o *coordinator.Outcome, m job.Manifest) *commit.Decision {
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
	return d
}

// groups are what people are told about the code of a job of groups.
func (d *Driver) groups() map[string]job.Group {
	if len(d.w.Spec.Groups) == 0 {
		return nil
	}
	all := make(map[string]job.Group)
	for name, g := range d.w.Spec.Groups {
		g.Program.Path = ""
		all[name] = g
	}
	return all
}

// passes returns how often each object is mapped: by each group that maps.
func (d *Driver) passes() (n int64) {
	for name := range d.w.Spec.Groups {
		if d.w.Spec.Maps(name) {
			n++
		}
	}
	return max(n, 1)
}

// Progress describes the job as it stands.
func (d *Driver) Progress() job.Progress {
	p := job.Progress{Phase: job.Listing}
	if c := d.coord.Load(); c != nil {
		p = c.Progress()
	}
	p.Job, p.Elapsed = d.w.Job, time.Since(d.w.Began)
	p.Listed, p.ListedBytes, p.ListDone = d.passes()*d.listed.Load(), d.passes()*d.bytes.Load(), d.listDone.Load()
	p.Published, p.PublishTotal = int(d.published.Load()), int(d.parts.Load())
	if end := d.ended.Load(); end != 0 {
		p.Phase, p.Elapsed = job.Done, time.Duration(end)
	}
	return p
}
