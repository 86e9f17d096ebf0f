// Package server is the coordinator of a cluster: it campaigns for the lead, takes jobs, has each driven to its end, and answers the agents.
//
// [Run] does all of that. A [Driver] takes one job to its end, and a [Desk] is where agents find the coordinators of jobs: both also serve a job
// that runs in one process. A [Client] submits jobs and asks after them.
package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/locate"
	"github.com/millrace/millrace/shuffle/flight"
	"github.com/millrace/millrace/store"
)

// Options are what a server works with. Fields with no default are needed.
type Options struct {
	Cluster *cluster.Cluster
	Data    *flight.Node // for what does not go over the cluster
	Schemes store.Schemes
	Name    string // of this server, for people
	Version string // of Millrace: agents of another one are refused
	Dir     string // of programs that were submitted

	Where *locate.Config // says where objects lie; nil: nobody knows
	Lease time.Duration  // of the lead; 0: as the cluster has it
	Log   *slog.Logger   // nil: nothing is logged
}

// A server is what stays from one term to the next.
type server struct {
	o       Options
	origin  uint64 // its incarnation
	view    *cluster.View
	changes chan struct{} // there may be something in news
	news    changes
}

// Run leads the cluster whenever no other server does, until ctx ends. The jobs that it drives then go on with the next leader.
func Run(ctx context.Context, o Options) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{o: o, origin: uint64(time.Now().UnixNano()), changes: make(chan struct{}, 1)}
	var err error
	if s.view, err = o.Cluster.Watch(ctx, o.Version, s.changed); err != nil {
		return err
	}
	defer s.view.Close()
	for ctx.Err() == nil {
		lead, err := o.Cluster.Campaign(ctx, o.Name, o.Lease)
		if ctx.Err() != nil && lead == nil {
			return nil
		}
		if err != nil {
			return err
		}
		o.Log.Info("leads", "server", o.Name, "epoch", lead.Epoch)
		err = s.lead(ctx, lead)
		o.Log.Info("does not lead any more", "server", o.Name, "epoch", lead.Epoch, "cause", context.Cause(lead.Context()))
		if err := errors.Join(err, lead.Resign()); err != nil && ctx.Err() == nil {
			o.Log.Error("lead", "server", o.Name, "error", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// lead does what a leader does, until it does not lead any more, or ctx ends.
func (s *server) lead(ctx context.Context, lead *cluster.Leadership) error {
	tctx, end := context.WithCancelCause(lead.Context())
	defer end(nil)
	defer context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })()
	t := newTerm(s, tctx, lead.Epoch, end)
	s.news.take() // of those before, nobody knows anything
	err := t.open()
	if err == nil {
		s.view.Lead(lead.Epoch)
		t.desk.look()
		t.watch()
		s.view.Lead(0)
	}
	end(err)
	t.close()
	return err
}

// locate returns who knows on which members the objects of an input lie, nil if nobody does.
func (s *server) locate(ctx context.Context, u store.URI, b store.Bucket) (plan.Locator, error) {
	if s.o.Where == nil {
		return nil, nil
	}
	members := make(map[string][]string)
	for _, m := range s.view.Members() {
		members[m.Node] = m.Addresses
	}
	return s.o.Where.Locator(ctx, u, b, locate.Names(members))
}

// changed hears of members. It must not wait.
func (s *server) changed(c cluster.Change) {
	s.o.Log.Info("member", "node", c.Member.Node, "incarnation", c.Member.Incarnation, "change", string(c.Kind), "reason", c.Reason)
	s.news.put(c)
	select {
	case s.changes <- struct{}{}:
	default:
	}
}
