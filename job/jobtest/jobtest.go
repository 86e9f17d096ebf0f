// Package jobtest runs a job over objects in memory, in the test's own process, through the same coordinator, agent, shuffle
// and commit as everywhere. Breakpoints in mappers and reducers work.
package jobtest

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

// Options say how the job is run. A nil *Options means the zero value.
type Options struct {
	Params   map[string]string
	Reducers int           // partitions; 0: one, if the job reduces
	Slots    int           // objects mapped at once; 0: one per core
	Format   job.Format    // "" means text
	Tolerate job.Tolerance // of failed objects
}

// A Result is what a job published.
type Result struct {
	*job.Result
	Parts map[string]string // content by name: part-r-00000
}

// Lines returns the lines of all parts, in the order of the parts.
func (r *Result) Lines() []string {
	var all []string
	for _, p := range r.Manifest.Parts {
		if text := r.Parts[p.Key]; text != "" {
			all = append(all, strings.Split(strings.TrimSuffix(text, "\n"), "\n")...)
		}
	}
	return all
}

// Run runs j over objects, whose keys are the map's, and returns what it published. An error of the job ends the test.
func Run(tb testing.TB, j *job.Job, objects map[string]string, opts *Options) *Result {
	tb.Helper()
	r, err := TryRun(tb.Context(), j, objects, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// TryRun is Run for jobs that may fail.
func TryRun(ctx context.Context, j *job.Job, objects map[string]string, opts *Options) (*Result, error) {
	if opts == nil {
		opts = &Options{}
	}
	m := mem.New()
	in := m.Bucket("in")
	for key, body := range objects {
		if _, err := in.Put(ctx, store.Key(key), []byte(body)); err != nil {
			return nil, err
		}
	}
	spec := &job.Spec{
		Name: "test", Inputs: []string{"mem:in"}, Output: "mem:out", Params: opts.Params,
		Reducers: opts.Reducers, Slots: opts.Slots, Format: opts.Format, Tolerate: opts.Tolerate,
	}
	res, err := local.Run(ctx, spec, &local.Options{Schemes: store.Schemes{"mem": m.Opener()}, InProcess: j})
	if err != nil {
		return nil, err
	}
	r := &Result{Result: res, Parts: make(map[string]string)}
	for _, p := range append(res.Manifest.Parts, res.Manifest.Failed...) {
		body, err := m.Bucket("out").Open(ctx, store.Key(p.Key), p.ETag, 0, -1)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(body)
		if err != nil {
			return nil, err
		}
		r.Parts[p.Key] = string(b)
	}
	return r, nil
}
