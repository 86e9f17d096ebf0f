package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/codecache"
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/internal/locate"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle/flight"
	"github.com/millrace/millrace/store"
)

// NodeOptions are what a Node works with. Fields with no default are needed.
type NodeOptions struct {
	Cluster *cluster.Cluster
	Data    *flight.Node   // for what does not go over the cluster
	Member  cluster.Member // what the node says of itself; an Incarnation of 0 is the time
	Schemes store.Schemes
	Dir     string // where programs are kept

	Where     *locate.Config   // says which objects lie on disks of this node; nil: none
	Cache     *codecache.Cache // of compiled modules; nil: the user's own
	InProcess *job.Job         // the program of all jobs, in this process; nil: there is none. For tests
	Log       *slog.Logger     // nil: nothing is logged
	// Worked, if not nil, is told of each attempt that was reported. It must be quick.
	Worked func(w Worked)
}

// A Node is the daemon of one machine: it is a member of the cluster, asks its leader for work of any job, and has an [Agent] for each job that it works
// for. Make it with [NewNode] and let it Run.
type Node struct {
	o        NodeOptions
	name     string
	programs programs
	draining chan struct{}
	drain    sync.Once
	news     *cluster.Announcer

	mu    sync.Mutex
	epoch uint64 // of the latest leader
	alone bool
	jobs  map[string]*engagement
	ctx   context.Context // of all that the node does
	work  context.Context // of leases: it ends when another coordinator leads, or none does
	stop  context.CancelCauseFunc
}

// Causes of the end of attempts.
var (
	errAlone   = errors.New("no coordinator was heard of for half a lease")
	errNewLead = errors.New("another coordinator leads")
	errJobOver = errors.New("the job is over")
)

// NewNode returns a node that does nothing yet.
func NewNode(o NodeOptions) *Node {
	if o.Member.Incarnation == 0 {
		o.Member.Incarnation = uint64(time.Now().UnixNano())
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Member.Data = o.Data.Address()
	return &Node{
		o: o, name: o.Member.Node, programs: programs{dir: o.Dir, data: o.Data}, draining: make(chan struct{}),
		jobs: map[string]*engagement{},
	}
}

// Drain has the node finish what it does, keep what others may still fetch for as long as jobs need it, and leave the cluster. Run returns then.
func (n *Node) Drain() { n.drain.Do(func() { close(n.draining) }) }

// Run works until the node is drained, or ctx ends: then at once, and without a word. The error says why the cluster does not have the node.
func (n *Node) Run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n.ctx = ctx
	n.work, n.stop = context.WithCancelCause(ctx)
	defer n.letGo()
	stops, err := n.listen(ctx)
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	if err != nil {
		return err
	}
	n.news, err = n.o.Cluster.Announce(ctx, n.o.Member, func(s cluster.Standing) { n.stands(s, cancel) })
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	beats, stop := context.WithCancel(ctx)
	wg.Go(func() { n.beat(beats) })
	wg.Go(func() {
		select {
		case <-n.draining:
			n.news.Drain(true)
		case <-beats.Done():
		}
	})
	var slots sync.WaitGroup
	for i := range n.o.Member.Slots {
		slots.Go(func() { n.slot(ctx, i) })
	}
	slots.Wait()
	n.settle(ctx)
	stop()
	wg.Wait()
	if ctx.Err() == nil {
		leave, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		n.news.Leave(leave)
		return nil
	}
	if cause := context.Cause(ctx); errors.Is(cause, errRefused) {
		return cause
	}
	return nil
}

var errRefused = errors.New("the cluster refuses this node")

// stands hears how the node stands with the leader. It must not wait.
func (n *Node) stands(s cluster.Standing, end context.CancelCauseFunc) {
	n.mu.Lock()
	n.alone = s.Alone
	n.mu.Unlock()
	switch {
	case s.Refused != "":
		end(fmt.Errorf("%w: %s", errRefused, s.Refused))
	case s.Alone:
		n.o.Log.Warn("alone", "node", n.name, "cause", errAlone)
		n.interrupt(errAlone)
	default:
		n.advance(s.Epoch)
	}
}

// interrupt ends all leases.
func (n *Node) interrupt(cause error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stop(cause)
	n.work, n.stop = context.WithCancelCause(n.ctx)
}

// advance hears of a leader. What was leased by one before it is given up.
func (n *Node) advance(epoch uint64) {
	n.mu.Lock()
	before := n.epoch
	n.epoch = max(n.epoch, epoch)
	n.mu.Unlock()
	if epoch > before && before != 0 {
		n.o.Log.Info("another coordinator leads", "node", n.name, "epoch", epoch)
		n.interrupt(errNewLead)
	}
}

// listen answers coordinators.
func (n *Node) listen(ctx context.Context) (stops []func(), err error) {
	for what, h := range map[string]cluster.Handler{
		brief.Describe: replying(n.describe),
		brief.Cuts:     replying(n.cuts),
		brief.Program:  replying(n.program),
	} {
		stop, err := n.o.Cluster.Serve(ctx, brief.ToNode(n.name, what), h)
		if err != nil {
			return stops, err
		}
		stops = append(stops, stop)
	}
	for subject, h := range map[string]func([]byte){
		brief.Over:                         func(job []byte) { n.over(string(job)) },
		brief.ToNode(n.name, brief.Revoke): n.revoked,
	} {
		stop, err := n.o.Cluster.Subscribe(ctx, subject, func(_ context.Context, news []byte) { h(news) })
		if err != nil {
			return stops, err
		}
		stops = append(stops, stop)
	}
	return stops, nil
}

// replying makes a handler of calls out of a method.
func replying[A any](f func(context.Context, brief.Query) (A, error)) cluster.Handler {
	return func(ctx context.Context, req []byte) ([]byte, error) {
		var q brief.Query
		if err := json.Unmarshal(req, &q); err != nil {
			return nil, err
		}
		a, err := f(ctx, q)
		if err != nil {
			return nil, remote(err)
		}
		return json.Marshal(a)
	}
}

// remote says whether the job is to blame for an error.
func remote(err error) error {
	if hopeless(err) {
		return &cluster.RemoteError{Code: brief.CodeJob, Text: err.Error()}
	}
	return err
}

// describe tells what a program says of itself.
func (n *Node) describe(ctx context.Context, q brief.Query) (d brief.Description, err error) {
	e, err := n.engage(ctx, q.Job, q.Epoch)
	if err != nil {
		return d, err
	}
	defer n.release(e)
	d.MapOnly, err = e.agent.MapOnly()
	return d, err
}

// cuts maps a sample of a plan.
func (n *Node) cuts(ctx context.Context, q brief.Query) (b brief.Borders, err error) {
	e, err := n.engage(ctx, q.Job, q.Epoch)
	if err != nil {
		return b, err
	}
	defer n.release(e)
	b.Keys, err = e.agent.Cuts(ctx, q.Splits, q.Partitions)
	return b, err
}

// slot asks for work and does it, one lease at a time.
func (n *Node) slot(ctx context.Context, i int) {
	for {
		select {
		case <-n.draining:
			return
		case <-ctx.Done():
			return
		default:
		}
		var a brief.Assignment
		w := coordinator.Want{Sender: coordinator.Sender{Epoch: n.latest(), Node: n.name, Incarnation: n.o.Member.Incarnation}, Slot: i}
		if err := n.call(ctx, brief.Want, w, &a); err != nil {
			n.o.Log.Error("ask for work", "node", n.name, "error", err)
			pause(ctx, retryTime)
			continue
		}
		n.advance(a.Epoch)
		if a.Attempt.Task != "" {
			n.lease(i, &a)
		}
	}
}

func (n *Node) latest() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.epoch
}

// lease does what a lease of a slot says.
func (n *Node) lease(i int, a *brief.Assignment) {
	n.mu.Lock()
	ctx, current := n.work, n.epoch == a.Epoch
	n.mu.Unlock()
	if !current {
		return
	}
	log := n.o.Log.With("node", n.name, "job", a.Job, "task", a.Attempt.Task, "attempt", a.Attempt.Try)
	e, err := n.engage(ctx, a.Job, a.Epoch)
	if err != nil {
		log.Warn("engage", "error", err)
		n.fail(ctx, a, err)
		pause(ctx, time.Second) // another node may do better
		return
	}
	defer n.release(e)
	began := time.Now()
	e.leased.Store(a.Attempt, began)
	defer e.leased.Delete(a.Attempt)
	log.Debug("begin")
	if err := e.do(ctx, i, a); err != nil && ctx.Err() == nil && e.ctx.Err() == nil {
		log.Warn("attempt", "error", err)
		n.fail(ctx, a, err)
		pause(ctx, time.Second)
		return
	}
	log.Debug("end", "took", time.Since(began))
}

// fail reports an attempt that came to nothing here, whoever is to blame.
func (n *Node) fail(ctx context.Context, a *brief.Assignment, err error) {
	fault := coordinator.FaultTask
	if hopeless(err) {
		fault = coordinator.FaultJob
	}
	f := coordinator.Failure{
		Sender:  coordinator.Sender{Job: a.Job, Epoch: a.Epoch, Node: n.name, Incarnation: n.o.Member.Incarnation},
		Attempt: a.Attempt, Fault: fault, Object: -1, Reason: err.Error(),
	}
	var v coordinator.Verdict
	_ = n.call(ctx, brief.Fail, f, &v) // or the slot asks again, which says it too
}

// beat reports progress, and asks after jobs that may be over.
func (n *Node) beat(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for asked := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, e := range n.engagements() {
			e.tell(ctx)
		}
		if time.Since(asked) > askTime {
			n.ask(ctx)
			asked = time.Now()
		}
	}
}
