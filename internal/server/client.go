package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
	"github.com/millrace/millrace/shuffle/flight"
	"github.com/millrace/millrace/store"
)

// A Client submits jobs to the leader of a cluster, and asks after them. Its methods may be called concurrently.
type Client struct {
	Cluster *cluster.Cluster
	Data    *flight.Node // for programs, and for what jobs print
}

// SubmitOptions are what a job needs beside its Spec. A nil *SubmitOptions means the zero value.
type SubmitOptions struct {
	Sorted      bool      // print in the order of keys, not as found
	Stdout      io.Writer // where a job without output prints; nil: nowhere
	MaxRequests int64     // to the store that the job may need; 0: any number
}

// A Submitted is a job that the leader has taken.
type Submitted struct {
	Job string

	c    *Client
	text shuffle.PipeReader // nil: it does not print
	to   io.Writer
}

// Submit has the cluster run a job. Its programs are files here, which are sent if nobody has them.
func (c *Client) Submit(ctx context.Context, spec *job.Spec, o *SubmitOptions) (*Submitted, error) {
	if o == nil {
		o = &SubmitOptions{}
	}
	q := submission{Job: newID(), Spec: *spec, Sorted: o.Sorted, MaxRequests: o.MaxRequests}
	files, err := portable(&q.Spec)
	if err != nil {
		return nil, &job.Error{Err: err}
	}
	var a accepted
	if err := c.call(ctx, apiSubmit, &q, &a); err != nil {
		return nil, err
	}
	s := &Submitted{Job: q.Job, c: c, to: o.Stdout}
	for digest, to := range a.Programs {
		if err := c.send(ctx, to, brief.ProgramStamp(q.Job, a.Origin, a.Epoch), files[digest]); err != nil {
			_, cerr := c.Cancel(context.WithoutCancel(ctx), q.Job)
			return nil, errors.Join(fmt.Errorf("send program %s: %w", files[digest], err), cerr)
		}
	}
	if a.Text != "" {
		as := brief.TextStamp(q.Job, a.Origin, a.Epoch)
		if s.text, err = (shuffle.Schemes{"flight": c.Data.Scheme(as)}).OpenReader(ctx, a.Text); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// newID returns the name of a new job.
func newID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// portable makes a spec mean the same elsewhere: places are whole URIs, programs have digests instead of paths. It returns their files by digest.
func portable(s *job.Spec) (files map[string]string, err error) {
	files = map[string]string{}
	whole := func(uri string) string {
		u, perr := store.ParseURI(uri)
		if err == nil {
			err = perr
		}
		return u.String()
	}
	inputs := make([]string, len(s.Inputs))
	for i, in := range s.Inputs {
		inputs[i] = whole(in)
	}
	s.Inputs = inputs
	if !brief.Prints(s) {
		s.Output = whole(s.Output)
	}
	if s.Work != "" {
		s.Work = whole(s.Work)
	}
	move := func(p *job.Program) {
		if p.Path == "" || err != nil {
			return
		}
		var f *os.File
		if f, err = os.Open(p.Path); err != nil {
			return
		}
		defer f.Close()
		h := sha256.New()
		if _, err = io.Copy(h, f); err != nil {
			return
		}
		p.Digest = hex.EncodeToString(h.Sum(nil))
		files[p.Digest], p.Path = p.Path, ""
	}
	if p := &s.Program; p.Name == "" && p.Path != "" {
		p.Name = filepath.Base(p.Path)
	}
	move(&s.Program)
	groups := make(map[string]job.Group, len(s.Groups))
	for name, g := range s.Groups {
		move(&g.Program)
		groups[name] = g
	}
	if len(groups) > 0 {
		s.Groups = groups
	}
	return files, err
}

// send sends a file by a netpipe.
func (c *Client) send(ctx context.Context, to shuffle.Descriptor, as flight.Stamp, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := shuffle.Schemes{"flight": c.Data.Scheme(as)}.OpenWriter(ctx, to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, f); err != nil {
		_ = w.Abort(err.Error())
		return err
	}
	return w.Close()
}

// Wait prints what the job prints, and returns what it came to. A job that prints is cancelled if ctx ends; another one goes on.
func (s *Submitted) Wait(ctx context.Context) (Status, error) {
	if s.text != nil {
		to := s.to
		if to == nil {
			to = io.Discard
		}
		defer context.AfterFunc(ctx, func() { s.text.Close() })()
		_, err := io.Copy(to, s.text)
		s.text.Close()
		if err != nil && !errors.Is(err, shuffle.ErrAborted) { // then the leader says it better
			_, cerr := s.c.Cancel(context.WithoutCancel(ctx), s.Job)
			return Status{}, errors.Join(fmt.Errorf("what job %s prints: %w", s.Job, err), cerr)
		}
	}
	return s.c.Wait(ctx, s.Job)
}

// Wait waits until a job has ended, and says how. The error is that of asking.
func (c *Client) Wait(ctx context.Context, id string) (s Status, err error) {
	for {
		if err := c.call(ctx, apiWait, &question{id}, &s); err != nil || s.State.Ended() {
			return s, err
		}
	}
}

// Jobs returns the jobs of the cluster, the latest first.
func (c *Client) Jobs(ctx context.Context) (all []Status, err error) {
	err = c.call(ctx, apiJobs, struct{}{}, &all)
	return all, err
}

// Job describes one.
func (c *Client) Job(ctx context.Context, id string) (s Status, err error) {
	err = c.call(ctx, apiJob, &question{id}, &s)
	return s, err
}

// Cancel ends a job: before its decision nothing of it stays visible.
func (c *Client) Cancel(ctx context.Context, id string) (s Status, err error) {
	err = c.call(ctx, apiCancel, &question{id}, &s)
	return s, err
}

// leaderTime is how long a client waits for a leader before it says that there is none.
const leaderTime = 60 * time.Second

// call asks the leader, and again while nobody leads.
func (c *Client) call(ctx context.Context, subject string, q, a any) error {
	for began := time.Now(); ; {
		err := call(ctx, c.Cluster, subject, q, a)
		r, remote := errors.AsType[*cluster.RemoteError](err)
		if err == nil || ctx.Err() != nil || remote && r.Code != brief.CodeDeposed || errors.Is(err, cluster.ErrClosed) || time.Since(began) > leaderTime {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
