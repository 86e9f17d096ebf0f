package server_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/server"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/placement"
)

// Of a tenant with a quota, one job begins at a time and has one slot, while those of others have what is free.
func TestQuota(t *testing.T) {
	t.Parallel()
	const n = 30
	m := mails(t, n)
	g := newGate(t, "00000")
	var now, most atomic.Int64
	bounded := func(key string) {
		g.hook(key)
		if k := now.Add(1); k > most.Load() {
			most.Store(k)
		}
		time.Sleep(5 * time.Millisecond) // for others to be there at the same time
		now.Add(-1)
	}
	var free atomic.Bool // what is mapped is not bounded
	c := newCluster(t, m, lines(func(key string) {
		if !free.Load() {
			bounded(key)
		}
	}))
	c.Quotas = map[string]placement.Quota{"small": {Slots: 1, Jobs: 1}}
	c.Server("server-1")
	c.Agents(2, 2)
	client := c.Client("me")
	submit := func(tenant string, i int) *server.Submitted {
		j, err := client.Submit(soon(t), &job.Spec{
			Inputs: []string{"mem:in/mails/"}, Output: fmt.Sprintf("mem:out-%s%d", tenant, i), Program: inProcess, Split: 1, Tenant: tenant,
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	first := submit("small", 1)
	<-g.entered
	second := submit("small", 2)
	free.Store(true)
	end(t, submit("large", 1), nil, "")
	if s, err := client.Job(soon(t), second.Job); err != nil || s.Progress.Objects > 0 {
		t.Errorf("the second job has mapped %d objects while the first one had not ended; %v", s.Progress.Objects, err)
	}
	free.Store(false)
	g.release()
	end(t, first, nil, "")
	end(t, second, nil, "")
	if most.Load() != 1 {
		t.Errorf("%d objects of the tenant were mapped at once, want 1", most.Load())
	}
	for _, out := range []string{"out-small1", "out-small2", "out-large1"} {
		same(t, output(t, m, out), dogs(n))
	}
}
