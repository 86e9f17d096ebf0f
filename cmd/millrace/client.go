package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/home"
	"github.com/millrace/millrace/internal/identity"
	"github.com/millrace/millrace/internal/server"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle/flight"
)

// A clusterFlag says on which cluster jobs run.
type clusterFlag struct {
	Cluster string `group:"cluster" env:"MILLRACE_CLUSTER" placeholder:"DIR" help:"The cluster that has this machine or user as a node, by the node's directory."`
}

// A jobClusterFlag says whether a job runs on one.
type jobClusterFlag struct {
	Cluster string `group:"cluster" env:"MILLRACE_CLUSTER" placeholder:"DIR" help:"Run on the cluster that has this machine or user as a node, by the node's directory; otherwise here."`
	Detach  bool   `group:"cluster" help:"Print the job's id and leave it to the cluster."`
}

// connectTime is how long a command waits for a cluster.
const connectTime = 30 * time.Second

// A connection is a client's to a cluster.
type connection struct {
	*server.Client
	home *home.Home
}

// connect connects to the cluster that has a node in dir.
func connect(ctx context.Context, dir string) (*connection, error) {
	if dir == "" {
		return nil, errors.New("no cluster is named: --cluster DIR or MILLRACE_CLUSTER")
	}
	h, err := home.Open(dir)
	if err != nil {
		return nil, err
	}
	if h.Identity.Role == identity.Agent {
		return nil, fmt.Errorf("%s: %v may not ask for jobs: a client may, and a coordinator", dir, h.Identity)
	}
	r, err := (&natsFlags{}).remote(h, h.Servers)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, connectTime, fmt.Errorf("no answer in %v", connectTime))
	defer cancel()
	c := &connection{Client: &server.Client{}, home: h}
	if c.Cluster, err = cluster.Connect(ctx, r); err != nil {
		return nil, err
	}
	// Nobody connects to a client, but what it reads and sends has the same ends.
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err == nil {
		c.Data, err = flight.Listen(l, flight.Options{TLS: h.Identity.TLS(identity.Coordinator)})
	}
	if err != nil {
		return nil, errors.Join(err, c.Cluster.Close())
	}
	return c, nil
}

func (c *connection) close() error { return errors.Join(c.Data.Close(), c.Cluster.Close()) }

// with calls f with a connection.
func (f *clusterFlag) with(a *app, do func(*connection) error) error {
	c, err := connect(a.ctx, f.Cluster)
	if err != nil {
		return err
	}
	return errors.Join(do(c), c.close())
}

// A watch follows the progress of a job on a cluster.
type watch struct {
	c    *connection
	mu   sync.Mutex
	last job.Progress
	stop context.CancelFunc
	done chan struct{}
}

const watchEvery = 250 * time.Millisecond

// follow begins to.
func (c *connection) follow(ctx context.Context, id string) *watch {
	ctx, stop := context.WithCancel(ctx)
	w := &watch{c: c, last: job.Progress{Job: id, Phase: job.Listing}, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for sleep(ctx, watchEvery) == nil {
			if s, err := c.Job(ctx, id); err == nil {
				w.set(&s)
			}
		}
	}()
	return w
}

// set takes what the leader says. A job that has not begun has no progress but time.
func (w *watch) set(s *server.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.Progress.Job != "" {
		w.last = s.Progress
	}
	w.last.Elapsed = time.Duration(s.Took)
	if s.State.Ended() {
		w.last.Phase = job.Done
	}
}

func (w *watch) snapshot() job.Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *watch) close() {
	w.stop()
	<-w.done
}

// cancelTime is how long a command that was told to end waits for its job to be cancelled.
const cancelTime = 30 * time.Second

// runOn has a cluster run the job, and waits for it. A cancelled ctx cancels the job. With detach it prints its id and does not wait.
func (x *execution) runOn(ctx context.Context, c *connection, spec *job.Spec, o *runOptions) (*job.Result, error) {
	if spec.Name == "" {
		spec.Name = spec.Program.Name
	}
	s, err := c.Submit(ctx, spec, &server.SubmitOptions{Sorted: x.sorted, Stdout: o.stdout, MaxRequests: int64(x.MaxRequests)})
	if err != nil {
		return nil, told(err)
	}
	if x.Detach {
		_, err := fmt.Fprintln(o.out, s.Job)
		if err == nil {
			err = errDetached
		}
		return nil, err
	}
	w := c.follow(ctx, s.Job)
	defer w.close()
	o.progress.start(w.snapshot)
	st, err := s.Wait(ctx)
	if ctx.Err() != nil && !st.State.Ended() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
		defer cancel()
		if _, cerr := c.Cancel(late, s.Job); cerr == nil {
			_, cerr = c.Wait(late, s.Job)
			if cerr != nil {
				return nil, fmt.Errorf("job %s may not be cancelled: %w", s.Job, cerr)
			}
		}
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("job %s: %w", s.Job, told(err))
	}
	w.close()
	w.set(&st)
	switch {
	case st.State != server.Succeeded:
		return nil, &job.Error{Err: errors.New(st.Error)}
	case st.Result == nil:
		return nil, fmt.Errorf("job %s: the cluster does not say what it came to", s.Job)
	}
	return st.Result, nil
}

// errDetached ends a command whose job goes on elsewhere.
var errDetached = exit(exitOK)

// told returns what a handler said, without how it was asked.
func told(err error) error {
	if r, ok := errors.AsType[*cluster.RemoteError](err); ok {
		return errors.New(r.Text)
	}
	return err
}
