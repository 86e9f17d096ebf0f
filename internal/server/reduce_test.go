package server_test

import (
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
)

// A meeting holds mappers until so many are there at once, each in a slot of its own.
type meeting struct {
	mu   sync.Mutex
	left int
	all  chan struct{}
}

func newMeeting(n int) *meeting { return &meeting{left: n, all: make(chan struct{})} }

func (m *meeting) hook(string) {
	m.mu.Lock()
	if m.left--; m.left == 0 {
		close(m.all)
	}
	m.mu.Unlock()
	<-m.all
}

// inOrder lists the words of all objects, with the objects that have them, in order.
func inOrder(mapping, reducing func(key string)) *job.Job {
	return job.MapGroup(func(obj *mapper.Object, emit func(string, string)) error {
		mapping(obj.Key)
		for _, w := range strings.Fields(string(obj.Data)) {
			emit(w, obj.Key)
		}
		return nil
	}, func(k string, in iter.Seq[string], emit func(string, string)) error {
		reducing(k)
		for v := range in {
			emit(k, v)
		}
		return nil
	})
}

// wordsInOrder is what inOrder makes of so many mails.
func wordsInOrder(n int) int { return 8 * n }

// What three nodes mapped, three nodes reduce: each fetches from the others, and all comes out as on one.
func TestReduceOnThreeNodes(t *testing.T) {
	t.Parallel()
	const n = 120
	m := mails(t, n)
	spec := &job.Spec{Inputs: []string{"mem:in/mails/"}, Program: inProcess, Reducers: 5, Split: 4}
	nothing := func(string) {}
	var outputs [2][]string
	for i, nodes := range []int{1, 3} {
		meet := newMeeting(nodes)
		c := newCluster(t, m, inOrder(meet.hook, nothing))
		c.Server("server-1")
		c.Agents(nodes, 1)
		s := *spec
		s.Output = fmt.Sprintf("mem:out-%d", nodes)
		j, err := c.Client("me").Submit(soon(t), &s, nil)
		st := end(t, j, err, "")
		if len(st.Result.Parts) != 5 || st.Result.Counters.Retries != 0 {
			t.Errorf("%d nodes: %d parts, %+v", nodes, len(st.Result.Parts), st.Result.Counters)
		}
		outputs[i] = output(t, m, fmt.Sprintf("out-%d", nodes))
	}
	same(t, outputs[1], outputs[0])
	if len(outputs[1]) != wordsInOrder(n) {
		t.Errorf("%d lines, want %d", len(outputs[1]), wordsInOrder(n))
	}
}

// A node that keeps runs dies while they are reduced. What it kept is mapped again.
func TestKeeperDies(t *testing.T) {
	t.Parallel()
	const n = 60
	m := mails(t, n)
	meet := newMeeting(3)
	reducing, goon := make(chan struct{}), make(chan struct{})
	var begun atomic.Bool
	c := newCluster(t, m, inOrder(meet.hook, func(string) {
		if begun.CompareAndSwap(false, true) {
			close(reducing)
		}
		<-goon
	}))
	c.Server("server-1")
	agents := c.Agents(3, 1)
	// More parts than slots: some are reduced after the node has died.
	j, err := c.Client("me").Submit(soon(t), &job.Spec{Inputs: []string{"mem:in/mails/"}, Output: "mem:out", Program: inProcess, Reducers: 6, Split: 4}, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-reducing
	dead := make(chan struct{})
	go func() {
		agents[0].Kill() // its reducer is in this process, and ends when all may go on
		close(dead)
	}()
	c.Agent("node-1", 1, nil) // a new incarnation: the cluster need not wait for the lease
	close(goon)
	<-dead
	s := end(t, j, nil, "")
	if got := output(t, m, "out"); len(got) != wordsInOrder(n) || len(s.Result.Parts) != 6 {
		t.Errorf("%d lines in %d parts, want %d in 6", len(got), len(s.Result.Parts), wordsInOrder(n))
	}
}
