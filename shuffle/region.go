package shuffle

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// A region is memory that the garbage collector does not know of, and so does not double. The kernel gives its pages when they are
// first touched.
type region []byte

// newRegion returns a region of n bytes, zeroed.
func newRegion(n int64) (region, error) {
	b, err := syscall.Mmap(-1, 0, int(n), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMemory, os.NewSyscallError("mmap", err))
	}
	_ = syscall.Madvise(b, adviseHuge) // fewer misses where it works
	return b, nil
}

const adviseHuge = 14 // MADV_HUGEPAGE

func (r *region) free() {
	if *r != nil {
		_ = syscall.Munmap(*r) // it was mapped, as a whole
		*r = nil
	}
}

// words returns r as numbers.
func (r region) words() []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(r))), len(r)/8)
}

// items returns r as items.
func (r region) items() []item {
	return unsafe.Slice((*item)(unsafe.Pointer(unsafe.SliceData(r))), len(r)/itemSize)
}
