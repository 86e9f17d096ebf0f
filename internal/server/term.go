package server

import (
	"context"
	"fmt"
	"sync"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/brief"
)

// A term is the time in which a server leads.
type term struct {
	s     *server
	ctx   context.Context // until it ends
	epoch uint64
	end   context.CancelCauseFunc
	desk  *Desk
	stops []func()

	mu     sync.Mutex
	jobs   map[string]*tracked
	living sync.Map       // of those, by name, that were taken over and have not ended
	wg     sync.WaitGroup // of the jobs
}

func newTerm(s *server, ctx context.Context, epoch uint64, end context.CancelCauseFunc) *term {
	t := &term{s: s, ctx: ctx, epoch: epoch, end: end, desk: NewDesk(s.o.Cluster, epoch, s.o.Quotas), jobs: map[string]*tracked{}}
	t.desk.term = ctx
	t.desk.behind = func(later uint64) { end(fmt.Errorf("epoch %d has begun: %w", later, cluster.ErrDeposed)) }
	t.desk.known = t.lives
	t.desk.works, t.desk.address, t.desk.happens = s.works, s.address, t.happens
	return t
}

// lives reports whether a job was taken up and is not over.
func (t *term) lives(job string) bool {
	_, lives := t.living.Load(job)
	return lives
}

// works reports whether a node may have work: it is a member, and neither drains nor is in quarantine.
func (s *server) works(node string, incarnation uint64) bool {
	m, ok := s.view.Member(node)
	return ok && m.Incarnation == incarnation && m.Quarantined == "" && !m.Draining
}

// address returns where what a node keeps can be fetched.
func (s *server) address(node string, incarnation uint64) string {
	m, ok := s.view.Member(node)
	if !ok || m.Incarnation != incarnation {
		return ""
	}
	return m.Data
}

// open takes up the jobs that live, and begins to answer.
func (t *term) open() error {
	if err := t.resume(); err != nil {
		return err
	}
	t.muster()
	if err := t.desk.Serve(t.ctx); err != nil {
		return err
	}
	return t.serve()
}

// watch tells jobs of nodes that are gone, until the term ends.
func (t *term) watch() {
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-t.s.changes:
		}
		for _, c := range t.s.news.take() {
			if c.Kind == cluster.Lost || c.Kind == cluster.Left {
				t.desk.lost(t.ctx, c.Member.Node, c.Member.Incarnation)
			}
		}
		t.muster()
		t.desk.look()
	}
}

// zoneLabel is the label that says in which zone a node is.
const zoneLabel = "zone"

// muster tells the desk of all members. Those that are kept from working, or run another version, are away.
func (t *term) muster() {
	nodes := map[string]coordinator.Noted{}
	for _, m := range t.s.view.Members() {
		nodes[m.Node] = coordinator.Noted{Node: m.Node, Zone: m.Labels[zoneLabel], Slots: m.Slots, Away: !t.s.works(m.Node, m.Incarnation), Incarnation: m.Incarnation}
	}
	t.desk.note(t.ctx, nodes)
}

// close ends everything that is done in the name of the leader.
func (t *term) close() {
	for _, stop := range t.stops {
		stop()
	}
	t.wg.Wait()
	t.desk.Close()
}

// over tells agents that a job needs them no more.
func (t *term) over(job string) {
	_ = t.s.o.Cluster.Publish(context.WithoutCancel(t.ctx), brief.Over, []byte(job)) // they ask as well
}

// changes are news of members that wait to be dealt with.
type changes struct {
	mu  sync.Mutex
	all []cluster.Change
}

func (c *changes) put(x cluster.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, x)
}

func (c *changes) take() []cluster.Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.all
	c.all = nil
	return all
}
