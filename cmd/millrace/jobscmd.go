package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/millrace/millrace/internal/server"
	"github.com/millrace/millrace/job"
)

// A jobsCmd lists jobs.
type jobsCmd struct {
	clusterFlag
	All  bool `short:"a" help:"Also jobs that ended more than a day ago."`
	JSON bool `name:"json" help:"Print a JSON object for each job."`
}

func (c *jobsCmd) Run(a *app) error {
	return c.with(a, func(k *connection) error {
		all, err := k.Jobs(a.ctx)
		if err != nil {
			return told(err)
		}
		if c.JSON {
			enc := json.NewEncoder(a.stdout)
			for _, s := range all {
				if err := enc.Encode(s); err != nil {
					return err
				}
			}
			return nil
		}
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "JOB\tSTATE\tBEGAN\tTOOK\tNAME")
		for _, s := range all {
			if c.All || !s.State.Ended() || time.Since(s.Began) < 24*time.Hour {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Job, s.State, s.Began.Local().Format(time.DateTime), duration(time.Duration(s.Took)), visible(s.Name), comment(&s))
			}
		}
		return w.Flush()
	})
}

// comment says how far a job is, or why it failed.
func comment(s *server.Status) string {
	switch {
	case s.State.Ended():
		return cut(visible(strings.ReplaceAll(s.Error, "\n", "; ")), 120)
	case s.Progress.Job == "":
		return ""
	}
	return (&progress{noun: "record"}).plain(s.Progress)
}

// A cancelCmd cancels jobs.
type cancelCmd struct {
	Job []string `arg:"" help:"Ids of jobs."`
	clusterFlag
}

func (c *cancelCmd) Help() string {
	return `Waits until each has ended. Before a job is decided, nothing of it stays visible; after that it is finished.`
}

func (c *cancelCmd) Run(a *app) error {
	return c.with(a, func(k *connection) (err error) {
		for _, id := range c.Job {
			s, cerr := k.Cancel(a.ctx, id)
			if cerr == nil && !s.State.Ended() {
				s, cerr = k.Wait(a.ctx, id)
			}
			if cerr != nil {
				err = errors.Join(err, told(cerr))
				continue
			}
			if _, werr := fmt.Fprintf(a.stdout, "%s %s\n", id, s.State); werr != nil {
				return werr
			}
		}
		return err
	})
}

// A logsCmd tells what happened to a job.
type logsCmd struct {
	Job string `arg:"" help:"Id of the job."`
	clusterFlag
	Failures bool `help:"Only attempts that failed, and how the job ended."`
	JSON     bool `name:"json" help:"Print a JSON object a line."`
}

func (c *logsCmd) Help() string {
	return `Prints a line for each attempt that was begun, counted, was refused or failed, with its node, and the reason. The leader remembers the last 2,000 of a
job; of jobs that an earlier leader had, the job's log knows those that count.`
}

func (c *logsCmd) Run(a *app) error {
	return c.with(a, func(k *connection) error {
		all, err := k.Logs(a.ctx, c.Job)
		if err != nil {
			return told(err)
		}
		for _, h := range all {
			if c.Failures && h.What != server.AttemptFailed && h.What != server.Refused && h.What != server.JobEnded {
				continue
			}
			if err := c.print(a.stdout, &h); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *logsCmd) print(w io.Writer, h *server.Happening) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(h)
	}
	at := "-"
	if !h.At.IsZero() {
		at = h.At.Local().Format("2006-01-02 15:04:05.000")
	}
	text := []string{at, string(h.What)}
	if h.Attempt.Task != "" {
		text = append(text, h.Attempt.String(), "on "+h.Node)
	}
	switch h.What {
	case server.Committed:
		text = append(text, fmt.Sprintf("after %s, %s in the queue, %s read", duration(h.Run), duration(h.Queue), bytes(h.Bytes)))
	case server.AttemptFailed:
		text = append(text, "("+string(h.Fault)+")")
	case server.JobEnded:
		if h.Reason == "" {
			text = append(text, "well")
		}
	}
	if h.Reason != "" {
		text = append(text, strings.ReplaceAll(h.Reason, "\n", "; "))
	}
	_, err := io.WriteString(w, visible(strings.Join(text, " "))+"\n")
	return err
}

// progressOf returns how far a job is, in percent; ok is false while that is not known.
func progressOf(p job.Progress) (percent int64, ok bool) {
	done, total := share(p)
	if total <= 0 {
		return 0, false
	}
	return 100 * done / total, true
}
