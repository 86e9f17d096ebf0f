package server

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/job"
)

// Subjects of calls by clients who look after a cluster.
const (
	apiNodes      = "api.nodes"      // the answer is an Overview
	apiQuarantine = "api.quarantine" // a quarantine; the answer is an Overview
	apiLogs       = "api.logs"       // a question; the answer is a list of Happening
)

// An Overview is a cluster at one moment, as its leader knows it.
type Overview struct {
	Cluster string            `json:"cluster,omitempty"`
	Leader  string            `json:"leader"`
	Epoch   uint64            `json:"epoch"`
	Version string            `json:"version"`
	Nodes   []cluster.Present `json:"nodes"`
	Busy    map[string]int    `json:"busy,omitempty"` // slots of each node that work
}

// A quarantine keeps work from a node; one without a reason ends that.
type quarantine struct {
	Node   string `json:"node"`
	Reason string `json:"reason,omitempty"`
}

// A Happening is one thing that happened to a job. Its reason may name an object; what objects hold is never in it.
type Happening struct {
	At      time.Time         `json:"at,omitzero"` // zero: it is not known
	What    What              `json:"what"`
	Attempt job.AttemptID     `json:"attempt,omitzero"`
	Node    string            `json:"node,omitempty"`
	Fault   coordinator.Fault `json:"fault,omitempty"` // of AttemptFailed
	Reason  string            `json:"reason,omitempty"`
	Queue   time.Duration     `json:"queue_ns,omitempty"` // of Committed and Leased
	Run     time.Duration     `json:"run_ns,omitempty"`   // of Committed
	Bytes   int64             `json:"bytes,omitempty"`    // likewise
}

// What happened.
type What string

// What may happen.
const (
	JobAccepted   What = "accepted"
	Leased        What = "leased" // a slot has an attempt
	Committed     What = "committed"
	Refused       What = "refused" // an attempt had succeeded, and did not count
	AttemptFailed What = "failed"
	JobEnded      What = "ended"
)

// maxHappenings bounds what is remembered of one job.
const maxHappenings = 2000

// A diary remembers what happened to a job, the latest first to last. Its methods may be called concurrently.
type diary struct {
	mu   sync.Mutex
	all  []Happening
	from int // where the ring begins, once it is full
}

func (d *diary) add(h Happening) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) < maxHappenings {
		d.all = append(d.all, h)
		return
	}
	d.all[d.from] = h
	d.from = (d.from + 1) % maxHappenings
}

// read returns what is remembered, in order.
func (d *diary) read() []Happening {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append(slices.Clone(d.all[d.from:]), d.all[:d.from]...)
}

// happens notes what happened to a job.
func (t *term) happens(id string, h Happening) {
	h.At = time.Now()
	t.mu.Lock()
	j := t.jobs[id]
	t.mu.Unlock()
	if j != nil {
		j.diary.add(h)
	}
	if t.s.o.Happens != nil {
		t.s.o.Happens(id, h)
	}
}

// nodes describes the cluster.
func (t *term) nodes(context.Context, *struct{}) (Overview, error) {
	return Overview{
		Leader: t.s.o.Name, Epoch: t.epoch, Version: t.s.o.Version, Nodes: t.s.view.Members(), Busy: t.desk.busy(),
	}, nil
}

// keepOut keeps work from a node, or no longer.
func (t *term) keepOut(ctx context.Context, q *quarantine) (Overview, error) {
	var err error
	if q.Reason == "" {
		err = t.s.view.Release(q.Node)
	} else {
		err = t.s.view.Quarantine(q.Node, q.Reason)
	}
	if err != nil {
		return Overview{}, err
	}
	return t.nodes(ctx, nil)
}

// logs tells what happened to a job: what this leader saw, or else what the job's log has.
func (t *term) logs(ctx context.Context, q *question) ([]Happening, error) {
	j, err := t.tracked(q.Job)
	if err != nil {
		return nil, err
	}
	if all := j.diary.read(); len(all) > 0 {
		return fitting(all), nil
	}
	log, err := t.s.o.Cluster.Resume(ctx, j.id)
	if err != nil {
		return nil, err
	}
	var d diary
	for r, err := range log.Read(ctx) {
		if err != nil {
			return nil, err
		}
		x, ok := parse(r.Data)
		switch {
		case !ok:
		case x.Spec != nil:
			d.add(Happening{At: x.Began, What: JobAccepted})
		case x.Committed != nil:
			c := &x.Committed.Result.Counters
			d.add(Happening{What: Committed, Attempt: x.Committed.Attempt, Node: x.Committed.Node, Queue: c.Queue, Run: c.Run, Bytes: c.Bytes})
		case x.Ended != nil:
			d.add(Happening{At: x.Ended.Began.Add(x.Ended.Took), What: JobEnded, Reason: x.Ended.Error})
		}
	}
	return fitting(d.read()), nil
}

// fitting returns the last of what happened that fit into an answer, and cuts reasons that are long.
func fitting(all []Happening) []Happening {
	size := 0
	for i := len(all) - 1; i >= 0; i-- {
		if len(all[i].Reason) > 4<<10 {
			all[i].Reason = all[i].Reason[:4<<10] + "…"
		}
		if size += 200 + 2*len(all[i].Reason); size > cluster.MaxMessage {
			return all[i+1:]
		}
	}
	return all
}

// Nodes describes the cluster.
func (c *Client) Nodes(ctx context.Context) (o Overview, err error) {
	err = c.call(ctx, apiNodes, struct{}{}, &o)
	return o, err
}

// Quarantine keeps work from a node, for a reason that people read.
func (c *Client) Quarantine(ctx context.Context, node, reason string) error {
	if reason == "" {
		return fmt.Errorf("quarantine of %s: no reason", node)
	}
	return c.call(ctx, apiQuarantine, &quarantine{node, reason}, new(Overview))
}

// Release lets a node have work again.
func (c *Client) Release(ctx context.Context, node string) error {
	return c.call(ctx, apiQuarantine, &quarantine{Node: node}, new(Overview))
}

// Logs tells what happened to a job.
func (c *Client) Logs(ctx context.Context, id string) (all []Happening, err error) {
	err = c.call(ctx, apiLogs, &question{id}, &all)
	return all, err
}
