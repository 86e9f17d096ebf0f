package server

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/placement"
)

// A Desk is where agents find the coordinators of all jobs of one leader. Its methods may be called concurrently.
type Desk struct {
	cl    *cluster.Cluster
	epoch uint64
	hold  time.Duration // how long a want is kept without an answer
	// term is the time of the leader. After it nothing is answered but that: what the jobs come to is for the next leader to say.
	term context.Context
	// behind, if not nil, is told that somebody knows of a later leader.
	behind func(epoch uint64)
	// known, if not nil, reports whether a job is led here and not over, though it may not have begun yet.
	known func(job string) bool
	// works, if not nil, reports whether a node may have work.
	works func(node string, incarnation uint64) bool
	// address, if not nil, returns where what a node keeps can be fetched, "" if it is not there.
	address func(node string, incarnation uint64) string
	// happens, if not nil, is told what happens to attempts.
	happens func(job string, h Happening)

	mu      sync.Mutex
	jobs    map[string]*entry
	shares  *placement.Shares // whose turn it is
	slots   map[slot]*entry   // by which job each slot was given its latest task, unless it has asked since
	nodes   map[string]coordinator.Noted
	changed chan struct{} // closed when there may be work
	stops   []func()
}

// A slot is one of a node.
type slot struct {
	node string
	n    int
}

// An entry is one job at the desk.
type entry struct {
	desk *Desk
	job  string
	// brief is what agents are told; nil: nothing yet.
	brief *brief.Brief
	coord *coordinator.Coordinator // nil: it has not begun, or is over
	texts *texts                   // of a job that prints for somebody elsewhere; nil: of another

	commits sync.RWMutex // held for reading while an attempt is made to count

	waiting int // tasks
}

// hold is how long a question for work is kept.
const hold = time.Second

// NewDesk returns a desk without jobs and nodes, for the leader of an epoch. Tenants are bounded by quotas, as [placement.NewShares] has them.
func NewDesk(cl *cluster.Cluster, epoch uint64, quotas map[string]placement.Quota) *Desk {
	return &Desk{
		cl: cl, epoch: epoch, hold: hold, term: context.Background(), jobs: map[string]*entry{}, shares: placement.NewShares(quotas), slots: map[slot]*entry{},
		nodes: map[string]coordinator.Noted{}, changed: make(chan struct{}),
	}
}

// Serve answers agents until Close, whatever becomes of ctx.
func (d *Desk) Serve(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx) // agents are answered to the end
	for what, h := range map[string]cluster.Handler{
		brief.Want:   handler(d, d.wanted, func(q *coordinator.Want) *coordinator.Sender { return &q.Sender }),
		brief.Follow: handler(d, d.follow, func(q *coordinator.Follow) *coordinator.Sender { return &q.Sender }),
		brief.Commit: handler(d, d.committed, func(q *coordinator.Commit) *coordinator.Sender { return &q.Sender }),
		brief.Fail:   handler(d, d.failed, func(q *coordinator.Failure) *coordinator.Sender { return &q.Sender }),
		brief.Job:    handler(d, d.describe, func(*brief.Query) *coordinator.Sender { return nil }),
	} {
		stop, err := d.cl.Serve(ctx, brief.ToCoordinator("*", what), h)
		if err != nil {
			d.Close()
			return err
		}
		d.stops = append(d.stops, stop)
	}
	stop, err := d.cl.Subscribe(ctx, brief.ToCoordinator("*", brief.Beat), func(ctx context.Context, news []byte) {
		var b coordinator.Beat
		if json.Unmarshal(news, &b) != nil || d.admit(ctx, &b.Sender) != nil {
			return
		}
		if e, err := d.led(b.Job); err == nil {
			_ = e.coord.Tell(ctx, coordinator.Progressed{Beat: b}) // lost beats do no harm
		}
	})
	if err != nil {
		d.Close()
		return err
	}
	d.stops = append(d.stops, stop)
	return nil
}

// Close stops answering.
func (d *Desk) Close() {
	for _, stop := range d.stops {
		stop()
	}
	d.stops = nil
}

// handler makes a handler of calls out of a method. Who says to be another node than the one that calls is refused.
func handler[Q, A any](d *Desk, f func(context.Context, *Q) (A, error), sender func(*Q) *coordinator.Sender) cluster.Handler {
	return func(ctx context.Context, req []byte) ([]byte, error) {
		var q Q
		if err := json.Unmarshal(req, &q); err != nil {
			return nil, err
		}
		if s := sender(&q); s != nil {
			if err := d.admit(ctx, s); err != nil {
				return nil, err
			}
		}
		a, err := f(ctx, &q)
		if d.term.Err() != nil {
			return nil, errDeposed
		}
		if err != nil {
			return nil, err
		}
		return json.Marshal(a)
	}
}

// admit checks who speaks: the subject says who really does.
func (d *Desk) admit(ctx context.Context, s *coordinator.Sender) error {
	subject := cluster.Subject(ctx)
	node, _, _ := strings.Cut(strings.TrimPrefix(subject, "agent."), ".")
	if s.Node != node {
		return &cluster.RemoteError{Code: "error", Text: fmt.Sprintf("%s: node %s speaks as %s", subject, node, s.Node)}
	}
	switch {
	case s.Epoch > d.epoch:
		if d.behind != nil {
			d.behind(s.Epoch)
		}
		return errDeposed
	case s.Job != "" && s.Epoch < d.epoch:
		return &cluster.RemoteError{Code: brief.CodeStale, Text: fmt.Sprintf("epoch %d is over, %d is the latest", s.Epoch, d.epoch)}
	}
	return nil
}

var errDeposed = &cluster.RemoteError{Code: brief.CodeDeposed, Text: "this coordinator does not lead any more"}

// errOver says that a job is not led here.
func errOver(job string) error {
	return &cluster.RemoteError{Code: brief.CodeOver, Text: fmt.Sprintf("job %s is not known, or over", job)}
}

// led returns a job that has begun and is not over.
func (d *Desk) led(job string) (*entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.jobs[job]; e != nil && e.coord != nil {
		return e, nil
	}
	return nil, d.none(job)
}

// none is the error of a job that is not led here, or not yet.
func (d *Desk) none(job string) error {
	if d.known != nil && d.known(job) {
		return errSoon
	}
	return errOver(job)
}

// errSoon is answered while a job is taken up: who gets it asks again.
var errSoon = &cluster.RemoteError{Code: brief.CodeDeposed, Text: "the job is being taken up"}

// entry returns the place of a job that came at that time, and makes one if it has none. It gets no slots before it is its turn.
func (d *Desk) entry(id string, s *job.Spec, came time.Time) *entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.jobs[id]
	if e == nil {
		e = &entry{desk: d, job: id}
		d.jobs[id] = e
		d.shares.Add(placement.Job{ID: id, Tenant: s.Tenant, Priority: s.Priority}, came)
		d.admitted()
	}
	return e
}

// admitted has jobs begin whose turn it is, with mu held.
func (d *Desk) admitted() {
	if len(d.shares.Admit(time.Now())) > 0 {
		d.poke()
	}
}

// tell has agents learn of the job.
func (e *entry) tell(b *brief.Brief) {
	e.desk.mu.Lock()
	defer e.desk.mu.Unlock()
	e.brief = b
}

// begin has agents find the coordinator of the job, which is told what nodes there are.
func (e *entry) begin(ctx context.Context, c *coordinator.Coordinator) {
	e.desk.mu.Lock()
	nodes := slices.Collect(maps.Values(e.desk.nodes))
	e.coord = c
	e.desk.mu.Unlock()
	for _, n := range nodes {
		n.Now = time.Now()
		_ = c.Tell(ctx, n) // else it is over
	}
}

// end forgets the job.
func (e *entry) end() {
	d := e.desk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.jobs[e.job] == e {
		delete(d.jobs, e.job)
		d.shares.Remove(e.job)
		d.admitted()
	}
	for s, of := range d.slots {
		if of == e {
			delete(d.slots, s)
		}
	}
}

// offer says how many tasks of the job wait for a slot.
func (e *entry) offer(tasks int) {
	d := e.desk
	d.mu.Lock()
	defer d.mu.Unlock()
	e.waiting = tasks
	if tasks > 0 {
		d.poke()
	}
}

// look has all who wait for work look again.
func (d *Desk) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.poke()
}

// poke is look with mu held.
func (d *Desk) poke() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// note tells all jobs which nodes there are and which of them may ask for work. Those of before that are not named are away.
func (d *Desk) note(ctx context.Context, nodes map[string]coordinator.Noted) {
	slots := 0
	var news []coordinator.Noted
	d.mu.Lock()
	for name, n := range nodes {
		if !n.Away {
			slots += n.Slots
		}
		if d.nodes[name] != n {
			news = append(news, n)
		}
	}
	for name := range d.nodes {
		if _, still := nodes[name]; !still {
			news = append(news, coordinator.Noted{Node: name, Away: true})
		}
	}
	d.nodes = nodes
	d.shares.Resize(slots) // a job needs one slot at least: one that is to wait again has none
	d.admitted()
	d.mu.Unlock()
	for _, e := range d.all() {
		for _, n := range news {
			n.Now = time.Now()
			_ = e.coord.Tell(ctx, n) // else it is over
		}
	}
}

// lost tells all jobs that a node is gone.
func (d *Desk) lost(ctx context.Context, node string, incarnation uint64) {
	d.mu.Lock()
	delete(d.nodes, node) // if it is there again, that is news
	for s, e := range d.slots {
		if s.node == node {
			delete(d.slots, s)
			d.shares.Gave(e.job)
		}
	}
	d.mu.Unlock()
	for _, e := range d.all() {
		_ = e.coord.Tell(ctx, coordinator.Lost{Node: node, Incarnation: incarnation, Now: time.Now()}) // else it is over
	}
}

// all returns the jobs that have begun.
func (d *Desk) all() (all []*entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.jobs {
		if e.coord != nil {
			all = append(all, e)
		}
	}
	return all
}

// reserve counts a slot as that of the job whose turn it is, of those that have tasks and did not refuse it; nil: there is none.
func (d *Desk) reserve(refused map[*entry]bool) *entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.shares.Order() {
		if e := d.jobs[id]; e.coord != nil && e.waiting > 0 && !refused[e] {
			d.shares.Took(id)
			return e
		}
	}
	return nil
}

// give asks one job after another for a task for a slot.
func (d *Desk) give(ctx context.Context, s slot, w *coordinator.Want) (brief.Assignment, bool) {
	if d.works != nil && !d.works(w.Node, w.Incarnation) {
		return brief.Assignment{}, false
	}
	refused := map[*entry]bool{}
	for e := d.reserve(refused); e != nil; e = d.reserve(refused) {
		if a, ok := d.try(ctx, e, s, w); ok {
			return a, true
		}
		d.mu.Lock()
		d.shares.Gave(e.job)
		d.mu.Unlock()
		refused[e] = true
	}
	return brief.Assignment{}, false
}

// want answers a slot that asks for work: of its job, if all are one process, or of any.
func (d *Desk) want(ctx context.Context, w *coordinator.Want) (a brief.Assignment, err error) {
	if w.Job != "" && d.works == nil {
		e, err := d.led(w.Job)
		if err != nil {
			return brief.Assignment{Lease: coordinator.Lease{Over: true}}, nil
		}
		a.Lease, err = e.coord.Want(ctx, *w)
		d.locate(&a.Arrivals)
		return a, err
	}
	s := slot{w.Node, w.Slot}
	if err := d.vacate(ctx, s, w); err != nil {
		return a, err
	}
	late := time.NewTimer(d.hold)
	defer late.Stop()
	for {
		d.mu.Lock()
		changed := d.changed
		d.mu.Unlock()
		if a, ok := d.give(ctx, s, w); ok {
			return a, nil
		}
		select {
		case <-changed:
		case <-late.C:
			return brief.Assignment{Lease: coordinator.Lease{Idle: true}, Epoch: d.epoch}, nil
		case <-ctx.Done():
			return a, errDeposed
		}
	}
}

// vacate tells the job of which a slot had its latest task that it is free.
func (d *Desk) vacate(ctx context.Context, s slot, w *coordinator.Want) error {
	d.mu.Lock()
	e := d.slots[s]
	if e != nil {
		delete(d.slots, s)
		d.shares.Gave(e.job)
	}
	d.mu.Unlock()
	if e == nil || e.coord == nil {
		return nil
	}
	err := e.coord.Tell(ctx, coordinator.Vacated{Sender: e.sender(w), Slot: s.n, Now: time.Now()})
	if ctx.Err() != nil {
		return err
	}
	return nil // or the job is over
}

// sender returns who asks, as the job's coordinator is to know it.
func (e *entry) sender(w *coordinator.Want) coordinator.Sender {
	s := w.Sender
	s.Job, s.Epoch = e.job, e.desk.epoch
	return s
}

// try asks one job for a task.
func (d *Desk) try(ctx context.Context, e *entry, s slot, w *coordinator.Want) (a brief.Assignment, ok bool) {
	lease, ok, err := e.coord.Try(ctx, coordinator.Want{Sender: e.sender(w), Slot: w.Slot})
	if err != nil || !ok {
		return a, false
	}
	a = brief.Assignment{Lease: lease, Job: e.job, Epoch: d.epoch}
	d.locate(&a.Arrivals)
	d.mu.Lock()
	d.slots[s] = e
	d.mu.Unlock()
	if e.texts != nil && (lease.Partitions == 0 || lease.Attempt.Task.IsReduce()) {
		if a.Text, err = e.texts.expect(lease.Attempt, w.Incarnation); err != nil {
			return a, false // the slot asks again, which takes the task back
		}
	}
	return a, true
}

func (d *Desk) follow(ctx context.Context, f *coordinator.Follow) (coordinator.Arrivals, error) {
	e, err := d.led(f.Job)
	if err != nil {
		return coordinator.Arrivals{Gone: true}, nil
	}
	a, err := e.coord.Follow(ctx, *f)
	d.locate(&a)
	return a, err
}

// locate says where runs can be fetched.
func (d *Desk) locate(a *coordinator.Arrivals) {
	if d.address == nil {
		return
	}
	a.Addresses = make(map[string]string)
	for _, r := range a.Runs {
		if _, ok := a.Addresses[r.Node]; ok {
			continue
		}
		if at := d.address(r.Node, r.Incarnation); at != "" {
			a.Addresses[r.Node] = at
		}
	}
}

// commit has an attempt count, when all that it printed is here.
func (d *Desk) commit(ctx context.Context, c *coordinator.Commit) (coordinator.Verdict, error) {
	e, err := d.led(c.Job)
	if err != nil {
		return coordinator.Verdict{}, err
	}
	if e.texts == nil {
		return e.coord.Commit(ctx, *c)
	}
	if err := e.texts.arrived(ctx, c.Attempt); err != nil {
		return e.coord.Fail(ctx, coordinator.Failure{Sender: c.Sender, Attempt: c.Attempt, Fault: coordinator.FaultTask, Object: -1, Reason: "what it printed: " + err.Error()})
	}
	e.commits.RLock()
	defer e.commits.RUnlock()
	v, err := e.coord.Commit(ctx, *c)
	if err == nil && v.Accepted {
		err = e.texts.done(c.Attempt)
	}
	return v, err
}

// settle waits until all is shown that attempts have printed that count.
func (e *entry) settle() {
	e.commits.Lock()
	defer e.commits.Unlock()
}

func (d *Desk) fail(ctx context.Context, f *coordinator.Failure) (coordinator.Verdict, error) {
	e, err := d.led(f.Job)
	if err != nil {
		return coordinator.Verdict{}, err
	}
	return e.coord.Fail(ctx, *f)
}

// describe tells an agent of a job.
func (d *Desk) describe(_ context.Context, q *brief.Query) (*brief.Brief, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.jobs[q.Job]; e != nil && e.brief != nil {
		return e.brief, nil
	}
	return nil, d.none(q.Job)
}
