package server_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/job"
)

// The leader is killed when most of a job is done: the next one has what is left done, and nothing that was committed again.
func TestResumed(t *testing.T) {
	t.Parallel()
	const n, agents, split = 60, 3, 5
	m := mails(t, n)
	g := newGate(t, "00030")
	var mapped atomic.Int64
	c := newCluster(t, m, lines(func(key string) {
		mapped.Add(1)
		g.hook(key)
	}))
	first := c.Server("server-1")
	c.Agents(agents, 1)
	client := c.Client("me")
	j, err := client.Submit(soon(t), &job.Spec{Inputs: []string{"mem:in/mails/"}, Output: "mem:out", Program: inProcess, Split: split}, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-g.entered
	ctx := soon(t)
	done := 0
	for ; done < n/split-1; time.Sleep(20 * time.Millisecond) { // all tasks but the one that waits
		s, err := client.Job(ctx, j.Job)
		if err != nil {
			t.Fatal(err)
		}
		done = s.Progress.Maps
	}
	c.Server("server-2")
	first.Kill()
	g.release()
	s := end(t, j, nil, "")
	same(t, output(t, m, "out"), dogs(n))
	if c := s.Result.Counters; c.Objects != n {
		t.Errorf("%d objects, want %d", c.Objects, n)
	}
	if again := mapped.Load() - n; again > agents*split {
		t.Errorf("%d objects were mapped again, of %d tasks that were committed", again, done)
	}
}
