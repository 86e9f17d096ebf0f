package sandbox

import (
	"errors"

	"github.com/tetratelabs/wazero/experimental"
)

// A snapshot is the state of an instance at a point of its first run, to which it is brought back for each later one: linear memory,
// mutable globals, what the guest changed of its host, and its stack. Tables and segments do not change (see rewritten.fixed).
type snapshot struct {
	host   hostState
	state  []uint64 // values of the mutable globals
	size   uint64   // of the memory
	asked  uint64   // of the memory plan
	pages  *pages
	stacks []stack // at least one for the next run; the last is used first
}

// A stack can be restored once: the guest runs on it. The engine makes a copy of a stack a little larger than it was, so that
// copies of copies would grow. A stack is therefore copied twice when it is restored, down to some depth: the copies are
// the nodes of a binary tree, used depth first, and few of them are there at a time.
type stack struct {
	experimental.Snapshot
	depth int
}

const (
	maxDepth = 24      // 16 million runs
	maxStack = 1 << 20 // bytes: what is larger is not copied for each run
)

var errStack = errors.New("the stack is too large")

// take takes the snapshot, in a call of the host.
func (x *instance) take() (*snapshot, error) {
	before := allocated()
	stacks := []stack{{x.engine.Snapshot(), 1}}
	if allocated()-before > maxStack {
		return nil, errStack
	}
	p, err := newPages(x.memory)
	if err != nil {
		return nil, err
	}
	s := &snapshot{host: x.guest.host.hostState, size: x.memory.size, asked: x.memory.asked, pages: p, stacks: stacks}
	for _, g := range x.state {
		s.state = append(s.state, g.Get())
	}
	return s, nil
}

// replenish adds copies of the stack under way, which has just been restored and was of that depth.
func (s *snapshot) replenish(engine experimental.Snapshotter, depth int) {
	if depth < maxDepth {
		s.stacks = append(s.stacks, stack{engine.Snapshot(), depth + 1}, stack{engine.Snapshot(), depth + 1})
	}
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
	last := len(s.stacks) - 1
	x.resume, x.depth = s.stacks[last].Snapshot, s.stacks[last].depth
	s.stacks[last] = stack{}
	s.stacks = s.stacks[:last]
	return true
}

func (s *snapshot) free() { s.pages.free() }
