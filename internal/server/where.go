package server

import (
	"context"
	"time"

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
