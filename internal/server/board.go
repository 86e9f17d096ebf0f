package server

import (
	"sync"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/job"
)

// A Board shows what a server does, to those who watch its process. Its methods may be called concurrently; the zero value is ready, and a nil one shows nothing.
type Board struct {
	mu sync.Mutex
	s  *server
	t  *term
}

// A Picture is a server at one moment.
type Picture struct {
	Members []cluster.Present // that it has heard of

	// Of a leader; Epoch 0: it is none.
	Epoch   uint64
	Jobs    map[State]int
	Running []job.Progress
	Waiting int // tasks that wait for a slot
	Leases  int // slots that have a task
}

func (b *Board) serves(s *server) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.s = s
}

// leads says that a term has begun, or that it has ended: nil.
func (b *Board) leads(t *term) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.t = t
}

// Look returns what there is to be seen.
func (b *Board) Look() (p Picture) {
	b.mu.Lock()
	s, t := b.s, b.t
	b.mu.Unlock()
	if s == nil {
		return p
	}
	p.Members = s.view.Members()
	if t == nil {
		return p
	}
	p.Epoch, p.Jobs = t.epoch, map[State]int{}
	t.mu.Lock()
	for _, j := range t.jobs {
		st := j.status()
		p.Jobs[st.State]++
		if st.State == Running {
			p.Running = append(p.Running, st.Progress)
		}
	}
	t.mu.Unlock()
	p.Waiting, p.Leases = t.desk.queue()
	return p
}
