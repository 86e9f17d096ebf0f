package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/runner"
)

// An engagement is what a node has of one job that it works for.
type engagement struct {
	n      *Node
	id     string
	ctx    context.Context // until the job is over
	stop   context.CancelCauseFunc
	opened chan struct{} // closed when agent or err is set
	err    error
	brief  brief.Brief
	places *brief.Places
	kit    *Kit
	agent  *Agent
	texts  *sender  // of a job that prints; nil: of another
	stops  sync.Map // ends each attempt under way, by its id
	leased sync.Map // when each attempt under way was begun, by its id

	once  sync.Once
	users int  // leases and questions under way; under the node's mu
	over  bool // closed when nobody uses it; likewise
}

// engage returns the engagement for a job, by the coordinator of an epoch. The caller releases it.
func (n *Node) engage(ctx context.Context, id string, epoch uint64) (*engagement, error) {
	for {
		n.mu.Lock()
		e := n.jobs[id]
		if e == nil {
			e = &engagement{n: n, id: id, opened: make(chan struct{})}
			e.ctx, e.stop = context.WithCancelCause(n.ctx)
			n.jobs[id] = e
			go e.open(epoch)
		}
		e.users++
		n.mu.Unlock()
		select {
		case <-e.opened:
		case <-ctx.Done():
			n.release(e)
			return nil, context.Cause(ctx)
		}
		if e.err != nil {
			n.drop(e)
			n.release(e)
			return nil, e.err
		}
		same, err := e.advance(ctx, epoch)
		if err == nil && same {
			return e, nil
		}
		if err == nil {
			n.drop(e) // with a new plan nothing of it is good any more
		}
		n.release(e)
		if err != nil {
			return nil, err
		}
	}
}

// release says that an engagement is not used any more.
func (n *Node) release(e *engagement) {
	n.mu.Lock()
	e.users--
	last := e.over && e.users == 0
	n.mu.Unlock()
	if last {
		e.close()
	}
}

// drop forgets an engagement, which is closed when nobody uses it.
func (n *Node) drop(e *engagement) {
	e.stop(errJobOver)
	n.mu.Lock()
	if n.jobs[e.id] == e {
		delete(n.jobs, e.id)
	}
	now := !e.over && e.users == 0
	e.over = true
	n.mu.Unlock()
	if now {
		e.close()
	}
}

// over lets go of a job that needs nobody any more.
func (n *Node) over(id string) {
	n.mu.Lock()
	e := n.jobs[id]
	n.mu.Unlock()
	if e != nil {
		n.drop(e)
	}
}

func (n *Node) engagements() (all []*engagement) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.jobs {
		all = append(all, e)
	}
	return all
}

// ask asks the coordinator whether jobs that the node does nothing for are over: that news may have been lost.
func (n *Node) ask(ctx context.Context) {
	for _, e := range n.engagements() {
		n.mu.Lock()
		idle := e.users == 0
		n.mu.Unlock()
		if !idle {
			continue
		}
		one, cancel := context.WithTimeout(ctx, time.Second)
		var b brief.Brief
		err := n.call(one, brief.Job, brief.Query{Job: e.id}, &b)
		cancel()
		if r, ok := errors.AsType[*cluster.RemoteError](err); ok && r.Code == brief.CodeOver {
			n.drop(e)
		}
	}
}

// settle waits until no job needs what the node keeps.
func (n *Node) settle(ctx context.Context) {
	for ctx.Err() == nil {
		kept := false
		for _, e := range n.engagements() {
			select {
			case <-e.opened:
				kept = kept || e.agent != nil && e.agent.runs.any()
			case <-ctx.Done():
			}
		}
		if !kept {
			return
		}
		n.ask(ctx)
		pause(ctx, retryTime)
	}
}

// letGo closes all engagements, and waits for them.
func (n *Node) letGo() {
	for _, e := range n.engagements() {
		e.stop(errJobOver)
		<-e.opened
		n.drop(e)
	}
}

// any reports whether there are any.
func (rs *runs) any() bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return len(rs.kept) > 0
}

// open makes the agent for the job. Everything that is told of it comes from the coordinator of that epoch.
func (e *engagement) open(epoch uint64) {
	defer close(e.opened)
	if err := e.n.call(e.ctx, brief.Job, brief.Query{Job: e.id}, &e.brief); err != nil {
		e.err = err
		return
	}
	if e.err = e.make(); e.err != nil {
		e.err = errors.Join(e.err, e.shut())
	}
}

func (e *engagement) make() (err error) {
	spec := &e.brief.Spec
	e.kit = NewKit(spec, KitOptions{Cache: e.n.o.Cache, InProcess: e.n.o.InProcess, Open: e.program})
	if e.places, err = brief.Open(e.ctx, spec, e.n.o.Schemes); err != nil {
		return err
	}
	if err := e.kit.Load(e.ctx); err != nil {
		return err
	}
	j, err := e.kit.Job(e.ctx, e.id, e.places)
	if err != nil {
		return err
	}
	for _, in := range e.places.Inputs {
		d, err := e.n.o.Where.Disk(e.ctx, in.Bucket)
		if err != nil {
			e.n.o.Log.Warn("objects are read from their store, not from disks here", "node", e.n.name, "job", e.id, "input", in.URI.String(), "error", err)
		}
		j.Disks = append(j.Disks, d)
	}
	j.Sender = coordinator.Sender{Job: e.id, Epoch: e.brief.Epoch, Node: e.n.name, Incarnation: e.n.o.Member.Incarnation}
	j.Plan, j.Slots = e.plan(), e.n.o.Member.Slots
	j.Network = &Network{Flight: e.n.o.Data}
	if e.places.Output == nil {
		e.texts = newSender(e)
		j.Printer = e.texts
	}
	e.agent = New(e.ctx, j, e)
	return nil
}

// plan returns the reader of the job's plan.
func (e *engagement) plan() *plan.Reader {
	if a := e.places.Area(e.id, e.brief.Plan); a != nil {
		return plan.Open(a)
	}
	return plan.Open(&blocks{e.n.o.Data, e.brief})
}

// advance has the engagement go on under the coordinator of an epoch. It is false if that one has another plan.
func (e *engagement) advance(ctx context.Context, epoch uint64) (same bool, err error) {
	a := e.agent
	a.epoch.RLock()
	now := a.job.Sender.Epoch
	a.epoch.RUnlock()
	switch {
	case now == epoch || epoch == 0:
		return true, nil
	case now > epoch:
		return false, fmt.Errorf("job %s: epoch %d is over, %d is the latest", e.id, epoch, now)
	}
	var b brief.Brief
	if err := e.n.call(ctx, brief.Job, brief.Query{Job: e.id}, &b); err != nil {
		return false, err
	}
	switch {
	case b.Epoch != epoch:
		return false, fmt.Errorf("job %s: epoch %d is over, %d is the latest", e.id, epoch, b.Epoch)
	case b.Plan != e.brief.Plan || b.Blocks != e.brief.Blocks:
		return false, nil
	}
	a.epoch.Lock() // attempts under the coordinator before are giving up
	defer a.epoch.Unlock()
	a.job.Sender.Epoch = max(a.job.Sender.Epoch, epoch)
	return true, nil
}

// do does what a lease of a slot says. The error is the node's, or the job's.
func (e *engagement) do(ctx context.Context, slot int, a *brief.Assignment) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(e.ctx, func() { stop(context.Cause(e.ctx)) })()
	e.agent.epoch.RLock()
	defer e.agent.epoch.RUnlock()
	if e.agent.job.Sender.Epoch != a.Epoch {
		return nil // it is over
	}
	e.stops.Store(a.Attempt, stop)
	defer e.stops.Delete(a.Attempt)
	if e.texts != nil {
		e.texts.begin(ctx, a)
		defer e.texts.forget(a.Attempt)
	}
	err := e.agent.work(ctx, slot, &a.Lease)
	if errors.Is(context.Cause(ctx), errRevoked) {
		return nil
	}
	return err
}

// revoked has the node give up an attempt that is not wanted any more.
func (n *Node) revoked(news []byte) {
	var r brief.Revocation
	if json.Unmarshal(news, &r) != nil {
		return
	}
	n.mu.Lock()
	e := n.jobs[r.Job]
	current := n.epoch == r.Epoch
	n.mu.Unlock()
	if e == nil || !current {
		return
	}
	if stop, ok := e.stops.Load(r.Attempt); ok {
		stop.(context.CancelCauseFunc)(errRevoked)
	}
}

// errRevoked ends an attempt beside which another one has come to count.
var errRevoked = errors.New("another attempt counts")

// tell reports progress.
func (e *engagement) tell(ctx context.Context) {
	select {
	case <-e.opened:
	default:
		return
	}
	if e.agent == nil || !e.agent.epoch.TryRLock() {
		return
	}
	defer e.agent.epoch.RUnlock()
	e.agent.tell(ctx)
}

func (e *engagement) close() {
	<-e.opened
	if err := e.shut(); err != nil {
		e.n.o.Log.Warn("close job", "node", e.n.name, "job", e.id, "error", err)
	}
}

func (e *engagement) shut() (err error) {
	e.once.Do(func() {
		if e.agent != nil {
			err = e.agent.Close()
		}
		if e.kit != nil {
			err = errors.Join(err, e.kit.Close())
		}
		if e.places != nil {
			err = errors.Join(err, e.places.Close())
		}
	})
	return err
}

// hopeless reports whether no attempt on any node can succeed.
func hopeless(err error) bool {
	var refused runner.Refusal
	return errors.As(err, &refused)
}
