package main

import (
	"context"
	"fmt"
	"io"

	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/job"
)

// An execution is how one job is run and shown.
type execution struct {
	*outputFlags
	disks  *diskFlags
	sorted bool
	safe   bool   // the program itself makes what it prints safe for a terminal
	clocks bool   // say what attempts took
	noun   string // what the program's records are called: match, record

	counter string // of the program, that counts those; "": its records are counted
	skip    string // what is printed begins with this line, which is not to be seen
}

// execute runs the job, shows its progress and sums it up.
func (a *app) execute(spec *job.Spec, x *execution) (*job.Result, error) {
	where, err := x.disks.where()
	if err != nil {
		return nil, err
	}
	scr := newScreen(a.stdout, a.stderr, x.RawOutput || x.safe)
	p := newProgress(x.Progress, scr, x.noun)
	var stdout io.Writer = scr
	limit := spec.Limit
	if x.skip != "" {
		stdout = &tail{w: scr, skip: len(x.skip)}
		if limit > 0 {
			spec.Limit++
		}
	}
	result, err := local.Run(a.ctx, spec, &local.Options{
		Schemes:     schemes(),
		Where:       where,
		Stdout:      stdout,
		Sorted:      x.sorted,
		Progress:    p.start,
		Committed:   p.committed,
		MaxRequests: int64(x.MaxRequests),
		Approve:     a.approve(int64(x.MaxRequests), scr),
	})
	p.stop()
	if err != nil {
		if cause := context.Cause(a.ctx); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	if x.skip != "" && result.Printed > 0 {
		result.Printed--
	}
	if x.Progress != "none" && x.Progress != "json" {
		n := max(result.Counters.Output, result.Printed)
		if x.counter != "" {
			n = result.Counters.User[x.counter]
		}
		summarize(a.stderr, result, limit, plural(n, x.noun))
		if x.clocks {
			accountFor(a.stderr, result)
			accountForChannels(a.stderr, result.Counters.Channels)
		}
	}
	return result, nil
}

// A tail passes on what is written, without the first bytes.
type tail struct {
	w    io.Writer
	skip int
}

func (t *tail) Write(p []byte) (int, error) {
	n := min(t.skip, len(p))
	t.skip -= n
	m, err := t.w.Write(p[n:])
	return n + m, err
}

// approve returns the question that a job of more than limit requests must answer.
func (a *app) approve(limit int64, scr *screen) func(int64) error {
	return func(requests int64) error {
		_, in := terminal(a.stdin)
		if _, out := terminal(a.stderr); !in || !out {
			return fmt.Errorf("the job needs about %s requests, more than %s: allow them with --max-requests", count(requests), count(limit))
		}
		return scr.ask(a.ctx, a.stdin, fmt.Sprintf("millrace: the job needs about %s requests to the store. Go on? [y/N] ", count(requests)))
	}
}
