package sandbox

import (
	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// A memoryPlan gives a wasm instance its linear memory: a reservation of address space that becomes usable as the memory grows,
// up to a limit. Pages are zero and cost nothing until they are touched.
type memoryPlan struct {
	limit uint64
	peak  uint64 // largest size so far
	asked uint64 // size of the first request that was refused; 0: none

	reserved []byte
}

// Allocate implements experimental.MemoryAllocator.
func (m *memoryPlan) Allocate(_, max uint64) experimental.LinearMemory {
	size := min(max, m.limit)
	const page = 1 << 16
	size = (size + page - 1) / page * page
	if m.reserved == nil && size > 0 {
		b, err := unix.Mmap(-1, 0, int(size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
		if err == nil {
			m.reserved = b
		}
	}
	return m
}

// Reallocate returns the memory with size bytes, nil if that is too much.
func (m *memoryPlan) Reallocate(size uint64) []byte {
	if size > m.limit || size > uint64(len(m.reserved)) {
		if m.asked == 0 {
			m.asked = size
		}
		return nil
	}
	if size > m.peak {
		if err := unix.Mprotect(m.reserved[m.peak:size], unix.PROT_READ|unix.PROT_WRITE); err != nil {
			if m.asked == 0 {
				m.asked = size
			}
			return nil
		}
		m.peak = size
	}
	return m.reserved[:size:size]
}

// Free is called by the engine, maybe while it still looks at the memory: free does the work.
func (m *memoryPlan) Free() {}

func (m *memoryPlan) free() {
	if m.reserved != nil {
		_ = unix.Munmap(m.reserved) // it was ours and whole: nothing can fail
		m.reserved = nil
	}
}
