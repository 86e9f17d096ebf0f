package sandbox

import (
	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// A memoryPlan gives a wasm instance its linear memory: a reservation of address space that becomes usable as the memory grows,
// up to a limit. Pages are zero and cost nothing until they are touched.
type memoryPlan struct {
	limit uint64
	size  uint64 // now
	peak  uint64 // largest size of this run
	asked uint64 // size of the first request that was refused; 0: none

	reserved []byte
	usable   uint64 // bytes of it
	resize   uint64 // what the next request gets, whatever it asks for; 0: what it asks for
}

// maxPopulated is how much of a memory is mapped at once, in bytes, instead of page by page.
const maxPopulated = 4 << 20

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
	if m.resize > 0 {
		size = m.resize
	}
	if size > m.limit || size > uint64(len(m.reserved)) {
		m.refuse(size)
		return nil
	}
	if size > m.usable {
		if err := unix.Mprotect(m.reserved[m.usable:size], unix.PROT_READ|unix.PROT_WRITE); err != nil {
			m.refuse(size)
			return nil
		}
		if m.usable == 0 { // at the start, of which most is used soon
			_ = unix.Madvise(m.reserved[:min(size, maxPopulated)], unix.MADV_POPULATE_WRITE) // older kernels do not have it
		}
		m.usable = size
	}
	m.size, m.peak = size, max(m.peak, size)
	return m.reserved[:size:size]
}

func (m *memoryPlan) refuse(size uint64) {
	if m.asked == 0 {
		m.asked = size
	}
}

// bytes returns the memory as large as it is now.
func (m *memoryPlan) bytes() []byte { return m.reserved[:m.size:m.size] }

// Free is called by the engine, maybe while it still looks at the memory: free does the work.
func (m *memoryPlan) Free() {}

func (m *memoryPlan) free() {
	if m.reserved != nil {
		_ = unix.Munmap(m.reserved) // it was ours and whole: nothing can fail
		m.reserved, m.size = nil, 0
	}
}
