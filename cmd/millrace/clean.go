package main

import (
	"fmt"

	"github.com/millrace/millrace/internal/coordinator/commit"
	"github.com/millrace/millrace/job"
)

// A cleanCmd removes leftovers.
type cleanCmd struct {
	URI string `arg:"" help:"An output of jobs."`
	storeFlags
}

func (c *cleanCmd) Help() string {
	return `Removes the unfinished uploads and the work directory of a job that died, and nothing else. A job that had already
decided to commit is finished instead. The output of a job that still runs is left alone.`
}

func (c *cleanCmd) Run(a *app) error {
	var access job.Store
	c.storeFlags.apply(&access)
	b, u, err := a.open(c.URI, access)
	if err != nil {
		return err
	}
	defer b.Close()
	if u.Glob != "" || u.Exact {
		return fmt.Errorf("%s: not an output", u)
	}
	m, err := commit.Clean(a.ctx, b, u.Prefix, &commit.Options{Name: u.String()})
	switch {
	case err != nil:
		return err
	case m == nil:
		_, err = fmt.Fprintf(a.stdout, "%s: clean\n", u)
	default:
		_, err = fmt.Fprintf(a.stdout, "%s: finished job %s: %s\n", u, m.Job, plural(int64(len(m.Parts)), "part"))
	}
	return err
}
