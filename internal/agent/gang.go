package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/shuffle"
)

// A Graph is a job of several groups, all of whose members run at once, each in a runner of its own, joined by channels.
type Graph struct {
	Groups   []Group // in the order of what they publish
	Channels []Channel
}

// A Group is one program of a Graph.
type Group struct {
	Name    string
	Hello   runner.Hello
	Code    *os.File // stays the caller's
	Pool    *Pool    // likewise
	Members int
	Maps    bool // it maps the input: each object is one member's
	Writes  bool // what it prints is output
}

// A Channel leads from each member of one group to each of another.
type Channel struct {
	Name     string
	From, To int // indices of groups
	Limits   job.ChannelLimits
}

// A gang is one attempt of a Graph: all of its members, or nothing. Its agent joins their runners by sockets, and never sees what goes
// through these.
type gang struct {
	a       *Agent
	lease   *coordinator.Lease
	began   time.Time
	members []*member
	first   []int                // by group, its first member
	failed  *coordinator.Failure // of the member that all others failed with
}

// otherError is what a runner says when its attempt cannot succeed because of what happened in another one.
type otherError string

func (e otherError) Error() string { return string(e) }

// otherGrace is how long the member is waited for that another's failure is owed to.
const otherGrace = 2 * time.Second

// starters is how many runners of a gang are started at once.
const starters = 8

// gang does what a lease of a Graph says and tells the coordinator how it went. The error is the agent's.
func (a *Agent) gang(ctx context.Context, lease *coordinator.Lease) error {
	g := newGang(a, lease)
	a.mu.Lock()
	a.running[lease.Attempt] = g
	a.mu.Unlock()
	result, err := g.run(ctx)
	a.mu.Lock()
	delete(a.running, lease.Attempt) // nobody looks at the runners any more
	a.mu.Unlock()
	err = errors.Join(err, g.close())
	var refused runner.Refusal
	switch {
	case ctx.Err() != nil:
		return errors.Join(context.Cause(ctx), g.giveUp())
	case errors.As(err, &refused), errors.Is(err, sandbox.ErrLayer):
		return errors.Join(err, g.giveUp())
	case err != nil:
		f := coordinator.Failure{Fault: coordinator.FaultTask, Object: -1, Reason: err.Error()}
		if g.failed != nil {
			f = *g.failed
		}
		f.Sender, f.Attempt = a.job.Sender, lease.Attempt
		_ = g.giveUp() // what is left is written down, and cleaned up with the job
		_, err := a.coord.Fail(ctx, f)
		return err
	}
	v, err := a.coord.Commit(ctx, coordinator.Commit{Sender: a.job.Sender, Attempt: lease.Attempt, Result: *result})
	if err != nil {
		return fmt.Errorf("commit %s: %w", lease.Attempt, err)
	}
	if !v.Accepted {
		return g.giveUp()
	}
	return g.show()
}

func newGang(a *Agent, lease *coordinator.Lease) *gang {
	g := &gang{a: a, lease: lease, began: time.Now()}
	maps := 0
	for i := range a.job.Graph.Groups {
		group := &a.job.Graph.Groups[i]
		g.first = append(g.first, len(g.members))
		for n := range group.Members {
			g.members = append(g.members, newMember(g, group, n, maps))
		}
		if group.Maps {
			maps++
		}
	}
	for _, c := range a.job.Graph.Channels {
		from, to := &a.job.Graph.Groups[c.From], &a.job.Graph.Groups[c.To]
		for i := range from.Members {
			g.members[g.first[c.From]+i].joins(runner.ChannelEnd{Name: c.Name, Peers: to.Members, Limits: c.Limits})
		}
		for i := range to.Members {
			g.members[g.first[c.To]+i].joins(runner.ChannelEnd{Name: c.Name, Reads: true, Peers: from.Members, Limits: c.Limits})
		}
	}
	return g
}

// run has all members run and returns what they came to.
func (g *gang) run(ctx context.Context) (*coordinator.Result, error) {
	if err := g.start(ctx); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, g.kill)()
	if err := g.connect(); err != nil {
		return nil, err
	}
	if err := g.work(ctx); err != nil {
		return nil, err
	}
	return g.result(ctx)
}

// start starts a runner for each member.
func (g *gang) start(ctx context.Context) error {
	eg, ctx := errgroup.WithContext(ctx)
	eg.SetLimit(starters)
	for _, m := range g.members {
		eg.Go(func() error { return m.start(ctx) })
	}
	return eg.Wait()
}

// connect joins the runners: a pair of sockets for each two members that a channel joins.
func (g *gang) connect() error {
	ends := make([]int, len(g.members)) // of channels that are joined already, by member
	for _, c := range g.a.job.Graph.Channels {
		from := g.members[g.first[c.From]:][:g.a.job.Graph.Groups[c.From].Members]
		to := g.members[g.first[c.To]:][:g.a.job.Graph.Groups[c.To].Members]
		for i, w := range from {
			for j, r := range to {
				if err := connect(w, r, runner.Link{Channel: ends[g.first[c.From]+i], Peer: j}, runner.Link{Channel: ends[g.first[c.To]+j], Peer: i}); err != nil {
					return err
				}
			}
		}
		for i := range from {
			ends[g.first[c.From]+i]++
		}
		for j := range to {
			ends[g.first[c.To]+j]++
		}
	}
	return nil
}

// connect hands a pair of sockets to the runners of a writer and a reader.
func connect(w, r *member, there, back runner.Link) error {
	ours, theirs, err := shuffle.SocketPair()
	if err != nil {
		return err
	}
	err = errors.Join(w.hand(there, ours), r.hand(back, theirs))
	return errors.Join(err, ours.Close(), theirs.Close())
}

// work waits until all members have ended, and ends them all when one fails.
func (g *gang) work(ctx context.Context) error {
	ended := make(chan *member, len(g.members))
	for _, m := range g.members {
		go func() {
			m.err = m.run(ctx)
			ended <- m
		}()
	}
	var grace <-chan time.Time
	var blamed *member
	killed := false
	for left := len(g.members); left > 0; {
		select {
		case m := <-ended:
			left--
			var other otherError
			owed := errors.As(m.err, &other)
			switch {
			case m.err == nil || killed:
			case owed && blamed == nil:
				blamed, grace = m, time.After(otherGrace)
			case !owed:
				blamed, killed = m, true
				g.kill()
			}
		case <-grace:
			killed = true
			g.kill()
		}
	}
	if blamed == nil {
		return nil
	}
	f := blamed.failure()
	g.failed = &f
	return blamed.err
}

// kill ends all runners.
func (g *gang) kill() {
	for _, m := range g.members {
		if m.link != nil {
			m.link.hang()
			m.link.proc.Kill()
		}
	}
}

func (g *gang) close() (err error) {
	for _, m := range g.members {
		if m.link != nil {
			err = errors.Join(err, m.link.close())
		}
	}
	return err
}

// progress says how far the attempt is.
func (g *gang) progress() coordinator.Running {
	r := coordinator.Running{Attempt: g.lease.Attempt}
	for _, m := range g.members {
		m.addProgress(&r)
	}
	return r
}

// result adds up what the members came to, and seals what they made.
func (g *gang) result(ctx context.Context) (*coordinator.Result, error) {
	r := &coordinator.Result{Counters: job.Counters{Queue: g.lease.Queued, Run: time.Since(g.began)}}
	for _, m := range g.members {
		addCounters(&r.Counters, &m.count)
		made, err := m.seal(ctx)
		if err != nil {
			return nil, err
		}
		if made != (coordinator.Made{}) {
			r.Members = append(r.Members, made)
		}
		r.Names = append(r.Names, m.names[:min(len(m.names), coordinator.MaxNames-len(r.Names))]...)
	}
	return r, nil
}

// show prints what was kept of a job without output.
func (g *gang) show() error {
	if g.a.job.Output != nil {
		return nil
	}
	for _, m := range g.members {
		if err := m.show(); err != nil {
			return err
		}
	}
	return g.a.job.Done(g.lease.Attempt)
}

// giveUp removes what the attempt made.
func (g *gang) giveUp() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, m := range g.members {
		err = errors.Join(err, m.giveUp(ctx))
	}
	return err
}
