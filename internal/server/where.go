package server

import (
	"context"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/locate"
	"github.com/millrace/millrace/store"
)

// locate returns who knows on which members of the cluster the objects of an input lie, nil if they lie nowhere in particular. That nobody knows is no reason not to
// run a job.
func (s *server) locate(ctx context.Context, u store.URI, b store.Bucket) (plan.Locator, error) {
	if s.o.Where == nil {
		return nil, nil
	}
	l, err := s.o.Where.Locator(ctx, u, b, s.directory())
	if err != nil {
		s.o.Log.Warn("nobody knows where objects lie", "input", u.String(), "error", err)
		return nil, nil
	}
	return l, nil
}

// membersFor is how long what is known of members serves to name them.
const membersFor = time.Second

// directory returns a function that returns who names members. It is for one goroutine.
func (s *server) directory() func() func(string) string {
	var names func(string) string
	var then time.Time
	return func() func(string) string {
		if names == nil || time.Since(then) > membersFor {
			nodes := make(map[string][]string)
			for _, m := range s.view.Members() {
				nodes[m.Node] = m.Addresses
			}
			names, then = locate.Names(nodes), time.Now()
		}
		return names
	}
}

// zoneLabel is the label that says in which zone a node is.
const zoneLabel = "zone"

// notes returns what jobs are told of the members that there are.
func (s *server) notes() (all []coordinator.Noted) {
	for _, m := range s.view.Members() {
		all = append(all, note(&m))
	}
	return all
}

func note(m *cluster.Present) coordinator.Noted {
	return coordinator.Noted{Node: m.Node, Zone: m.Labels[zoneLabel], Slots: m.Slots, Away: m.Draining || m.Quarantined != "", Now: time.Now()}
}

// noted tells all jobs how a node stands now.
func (t *term) noted(node string) {
	n := coordinator.Noted{Node: node, Away: true, Now: time.Now()}
	if m, ok := t.s.view.Member(node); ok {
		n = note(&m)
	}
	for _, e := range t.desk.all() {
		_ = e.coord.Tell(t.ctx, n) // else it is over
	}
}
