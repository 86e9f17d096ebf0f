// Package agent is a node: it asks the coordinator for work, opens the objects that a task names, has them mapped and reduced by
// jailed runners, one for each slot, and keeps what mappers emit until the job is over.
//
// An agent never compiles, runs or parses guest code or its output beyond the bounded frames of package runner.
//
// # Runs of other nodes
//
// A reduce attempt asks the agents that keep its runs, by the name "runs/" and the job (see package flight), for what several map attempts have of its
// partition:
//
//	question = version:u8 node:str partition:u32 (task:str try:u32 vector:u64)*
//	answer   = (state:u8 sections:u32 table bytes)*
//	str      = n:u8 bytes[n]
//
//	version  1
//	state    1 here, 2 gone: no section follows
//	table    of the sections (see package shuffle), as if bytes were their file: one after the other, all of that partition
//
// Numbers are little-endian. The answer has the runs in the order of the question, and may end before the last of them: what is missing is asked for again.
// An agent answers agents of its cluster only, and only as the node and the incarnation that was meant, for runs whose vector is that of the job
// log. What sections hold is for the runner that merges them to verify.
package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/locate"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A Coordinator is who gives work: the real one, at the other end of a cluster.
type Coordinator interface {
	Want(ctx context.Context, w coordinator.Want) (coordinator.Lease, error)
	Follow(ctx context.Context, f coordinator.Follow) (coordinator.Arrivals, error)
	Commit(ctx context.Context, c coordinator.Commit) (coordinator.Verdict, error)
	Fail(ctx context.Context, f coordinator.Failure) (coordinator.Verdict, error)
	Beat(ctx context.Context, b coordinator.Beat) error
}

// A Printer shows the text of a job without output while it runs.
type Printer interface {
	// Print takes the next text of an attempt; more says that the same object's text goes on in the next call. What an
	// earlier attempt of the task has shown is not shown again.
	Print(a job.AttemptID, text []byte, more bool) error
	// End says that the attempt has printed all, before it is reported.
	End(a job.AttemptID) error
	// Done says that the attempt counts and that its task will print nothing more.
	Done(a job.AttemptID) error
}

// An Output is where the parts of a job go.
type Output struct {
	Bucket store.Bucket
	Prefix store.Key // of all keys, "" or ending in "/"
	Pieces store.Key // where parts go, below Prefix, that are put together in the end; "" if they are not
	// Record writes a handle down before its first byte is uploaded, so that somebody can clean up after us.
	Record func(ctx context.Context, attempt string, h store.Handle) error
	// Discard gives the upload up and forgets it.
	Discard func(ctx context.Context, attempt string, h store.Handle) error
}

// A Job is what an agent needs to work for one job.
type Job struct {
	Sender coordinator.Sender
	Hello  runner.Hello
	Code   *os.File // an executable, or what [Pool.Compile] made of a module; nil if the program is builtin or in process; stays the caller's
	Inputs []plan.Input
	Plan   *plan.Reader
	Output *Output // nil: printed
	Printer
	// SpillDir is the directory, on a disk, where files without a name hold what mappers emit.
	SpillDir string
	Pool     *Pool // of runners; stays the caller's, who closes it after the agent
	Slots    int
	// Check has a sample of the objects mapped again, by other runners, and fails the job if one does not come out the same. Module, if not
	// nil, is the module that Code was compiled of: it is interpreted, for one more comparison. It stays the caller's.
	Check  bool
	Module *os.File
	// Graph, if not nil, is the job of several programs; Hello then says of all of them how inputs are named. There is one slot.
	Graph *Graph
	// Network leads to the other nodes of the job; nil if there are none, and all runs are this one's.
	Network *Network
	// Readers is how many objects of one slot are read at once; 0: one after the other, for stores on this very machine.
	Readers int
	// Disks, if not nil, has for each input who opens its objects from this node's own disks; nil where nothing of it lies here.
	Disks []locate.Disk
}

// An Agent works for one job. Make it with [New], let it [Agent.Run], then Close it.
type Agent struct {
	job   Job
	coord Coordinator
	runs  runs
	first chan started // the first runner, which loads the program ahead of time
	taken atomic.Bool  // some slot has it, or waits for it
	links []*link      // of each slot, nil while it has none
	check *check       // nil: there is none
	keeps *keeper      // nil: there is no network
	stop  context.CancelFunc

	epoch   sync.RWMutex // held for reading by whoever works under the epoch of job.Sender
	mu      sync.Mutex
	running map[job.AttemptID]interface{ progress() coordinator.Running }
}

// New returns an agent that works for j. It has a runner load the program at once, so that it is ready when work comes; the others do
// with the first work of their slots.
func New(ctx context.Context, j Job, c Coordinator) *Agent {
	ctx, stop := context.WithCancel(ctx)
	a := &Agent{
		job: j, coord: c, stop: stop, first: make(chan started, 1), links: make([]*link, j.Slots),
		running: make(map[job.AttemptID]interface{ progress() coordinator.Running }),
	}
	if j.Graph != nil { // its runners live for one attempt
		a.first <- started{}
		return a
	}
	if j.Check {
		a.check = newCheck(&a.job)
	}
	if j.Network != nil {
		a.keeps = a.keep()
	}
	go func() {
		l, err := a.start(ctx, &a.job.Hello, a.job.Code)
		a.first <- started{l, err, err == nil && l.ready.Description.MapOnly}
	}()
	return a
}

// MapOnly reports whether the program has nothing to reduce. Unless that is known, it waits for the first runner.
func (a *Agent) MapOnly() (bool, error) {
	if a.job.Graph != nil {
		return true, nil
	}
	if h := &a.job.Hello; h.Engine == job.Wasm && a.job.Code != nil {
		if d, ok := runner.Described(a.job.Code, h); ok {
			return d.MapOnly, nil
		}
	}
	s := <-a.first
	a.first <- s
	if s.err != nil {
		return false, s.err
	}
	return s.mapOnly, nil
}

// Run works until the coordinator says that the job is over. An error is one that no other attempt on this node can mend.
func (a *Agent) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	beats, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.beat(beats)
	}()
	for n := range a.job.Slots {
		g.Go(func() error { return a.slot(ctx, n) })
	}
	err := g.Wait()
	stop()
	<-done
	return err
}

// Close ends the runners and lets go of all runs.
func (a *Agent) Close() error {
	a.stop()
	if a.keeps != nil {
		a.keeps.forget()
	}
	var err error
	if s := <-a.first; s.link != nil {
		err = s.link.close()
	}
	for _, l := range a.links {
		if l != nil {
			err = errors.Join(err, l.close())
		}
	}
	if a.check != nil {
		err = errors.Join(err, a.check.close())
	}
	return errors.Join(err, a.runs.close())
}

// slot asks for work and does it, one lease at a time.
func (a *Agent) slot(ctx context.Context, n int) error {
	for {
		lease, err := a.coord.Want(ctx, coordinator.Want{Sender: a.job.Sender, Slot: n})
		switch {
		case err != nil:
			return err
		case lease.Over:
			return nil
		case lease.Idle:
			continue
		}
		if err := a.work(ctx, n, &lease); err != nil {
			return err
		}
	}
}

// work does what a lease of a slot says, and tells the coordinator how it went. The error is the agent's.
func (a *Agent) work(ctx context.Context, n int, lease *coordinator.Lease) error {
	if a.job.Graph != nil {
		return a.gang(ctx, lease)
	}
	if err := a.ready(ctx, n); err != nil {
		return err
	}
	return a.attempt(ctx, a.links[n], lease)
}

// ready makes sure that a slot has a runner that can serve.
func (a *Agent) ready(ctx context.Context, n int) error {
	if l := a.links[n]; l != nil && !l.dead {
		return nil
	} else if l != nil {
		a.links[n] = nil
		if err := l.close(); err != nil {
			return err
		}
	}
	var err error
	if a.taken.CompareAndSwap(false, true) { // the first slot that has work
		select {
		case s := <-a.first:
			a.links[n] = s.link
			a.first <- started{err: s.err, mapOnly: s.mapOnly}
			return s.err
		case <-ctx.Done(): // Close ends it
			return context.Cause(ctx)
		}
	}
	a.links[n], err = a.start(ctx, &a.job.Hello, a.job.Code)
	return err
}

// attempt does what a lease says and tells the coordinator how it went. The error is the agent's.
func (a *Agent) attempt(ctx context.Context, l *link, lease *coordinator.Lease) error {
	t := &try{a: a, link: l, lease: lease, began: time.Now()}
	a.mu.Lock()
	a.running[lease.Attempt] = t
	a.mu.Unlock()
	hang := context.AfterFunc(ctx, l.hang) // the runner may be in the middle of something long
	result, err := t.run(ctx)
	hang()
	a.mu.Lock()
	delete(a.running, lease.Attempt)
	a.mu.Unlock()
	if ctx.Err() != nil {
		l.dead = true
		return errors.Join(context.Cause(ctx), t.giveUp())
	}
	if errors.Is(err, errGone) {
		return t.giveUp()
	}
	if err != nil {
		var said attemptError
		if !errors.As(err, &said) {
			l.dead = true // who knows what it is doing
			l.hang()
		}
		f := t.failure(err)
		_ = t.giveUp() // what is left is written down, and cleaned up with the job
		_, err := a.coord.Fail(ctx, f)
		return err
	}
	if t.text == nil {
		if err := a.job.End(lease.Attempt); err != nil {
			f := t.failure(err)
			_ = t.giveUp()
			_, err := a.coord.Fail(ctx, f)
			return err
		}
	}
	if t.run1 != nil {
		a.runs.add(lease.Attempt, t.run1) // a reducer may ask for it before we hear that it counts
	}
	v, err := a.coord.Commit(ctx, coordinator.Commit{Sender: a.job.Sender, Attempt: lease.Attempt, Result: *result})
	if err != nil && errors.Is(context.Cause(ctx), errRevoked) {
		a.runs.drop(lease.Attempt)
		return t.giveUp()
	}
	if err != nil {
		return fmt.Errorf("commit %s: %w", lease.Attempt, err)
	}
	if !v.Accepted {
		a.runs.drop(lease.Attempt)
		return t.giveUp()
	}
	if t.text == nil {
		return a.job.Done(lease.Attempt)
	}
	return nil
}

// beat reports progress every so often.
func (a *Agent) beat(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		a.tell(ctx)
	}
}

// tell reports progress, if there is any.
func (a *Agent) tell(ctx context.Context) {
	b := coordinator.Beat{Sender: a.job.Sender}
	a.mu.Lock()
	for _, t := range a.running {
		b.Running = append(b.Running, t.progress())
	}
	a.mu.Unlock()
	if len(b.Running) > 0 {
		_ = a.coord.Beat(ctx, b) // the next one says it again
	}
}
