package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/job"
)

// A crew are the agents of a cluster. All of them work for all jobs: who is asked something is any.
type crew struct {
	t      *term
	job    string
	groups bool // its programs are groups
}

// Rounds of questions to all members, before a job is given up for their errors.
const rounds = 3

// ask asks one member after another until one has an answer.
func (c crew) ask(ctx context.Context, what string, q brief.Query, a any) error {
	q.Job, q.Epoch = c.job, c.t.epoch
	var last error
	for round := 0; ; {
		asked := false
		for _, m := range c.t.s.view.Members() {
			if !c.t.s.works(m.Node, m.Incarnation) || m.Slots == 0 {
				continue
			}
			asked = true
			err := call(ctx, c.t.s.o.Cluster, brief.ToNode(m.Node, what), q, a)
			if err == nil || ctx.Err() != nil {
				return err
			}
			if r, ok := errors.AsType[*cluster.RemoteError](err); ok {
				if r.Code == brief.CodeJob {
					return err
				}
			}
			last = fmt.Errorf("node %s: %w", m.Node, err)
		}
		if asked {
			round++
		}
		if round == rounds {
			return last
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// MapOnly has a member run the program as far as it takes to know. A job whose programs are groups has nothing to reduce.
func (c crew) MapOnly(ctx context.Context) (bool, error) {
	if c.groups {
		return true, nil
	}
	var d brief.Description
	err := c.ask(ctx, brief.Describe, brief.Query{}, &d)
	return d.MapOnly, plain(err)
}

// sampled is how many splits a member is told of to sample keys from: as many as it takes.
const sampled = 16

// Cuts has a member map a sample of the plan.
func (c crew) Cuts(ctx context.Context, splits []job.Split, n int) ([][]byte, error) {
	k := min(sampled, len(splits))
	some := make([]job.Split, k)
	for i := range some {
		some[i] = splits[i*len(splits)/k]
	}
	var b brief.Borders
	err := c.ask(ctx, brief.Cuts, brief.Query{Splits: some, Partitions: n}, &b)
	if err != nil && ctx.Err() == nil {
		return nil, &job.Error{Err: plain(err)}
	}
	return b.Keys, err
}

// Run returns at once: the agents work anyway.
func (crew) Run(context.Context) error { return nil }

// plain returns what a member said that is the job's fault without how it was asked.
func plain(err error) error {
	if r, ok := errors.AsType[*cluster.RemoteError](err); ok && r.Code == brief.CodeJob {
		return errors.New(r.Text)
	}
	return err
}

// askTime bounds one question to a member, who may have to fetch and compile a program first.
const askTime = 5 * time.Minute

// call asks a question in JSON.
func call(ctx context.Context, cl *cluster.Cluster, subject string, q, a any) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	req, err := json.Marshal(q)
	if err != nil {
		return err
	}
	reply, err := cl.Call(ctx, subject, req)
	if err != nil {
		return err
	}
	return json.Unmarshal(reply, a)
}
