package sandbox

// A snapshot is the state of an instance at a point of its first run, to which it is brought back for each later one: linear memory,
// mutable globals, what the guest changed of its host, and its stack. Tables and segments do not change (see rewritten.fixed).
type snapshot struct {
	host  hostState
	state []uint64 // values of the mutable globals
	size  uint64   // of the memory
	asked uint64   // of the memory plan
	pages *pages
	stack *stack
}

// take takes the snapshot, in a call of the host.
func (x *instance) take() (*snapshot, error) {
	stack, err := newStack(x.engine)
	if err != nil {
		return nil, err
	}
	p, err := newPages(x.memory)
	if err != nil {
		return nil, err
	}
	s := &snapshot{host: x.guest.host.hostState, size: x.memory.size, asked: x.memory.asked, pages: p, stack: stack}
	for _, g := range x.state {
		s.state = append(s.state, g.Get())
	}
	return s, nil
}

// restore brings everything back but the stack, on which the next call goes on. It reports whether it could.
func (s *snapshot) restore(x *instance) bool {
	m := x.memory
	if m.size != s.size {
		// The engine takes over whatever the allocator returns: here, less than there was.
		m.resize = s.size
		x.module.Memory().Grow(1)
		m.resize = 0
		if m.size != s.size {
			return false // it had grown to its maximum
		}
	}
	s.pages.restore(m.peak)
	m.peak, m.asked = m.size, s.asked
	for i, v := range s.state {
		x.state[i].Set(v)
	}
	x.resume = s.stack
	return true
}

func (s *snapshot) free() { s.pages.free() }
