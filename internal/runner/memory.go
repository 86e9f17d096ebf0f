package runner

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	statusSize = 4096
	memorySize = statusSize + Slabs*SlabSize
)

// A Memory is the piece of memory that an agent and a runner share.
type Memory struct {
	b []byte
}

// A Status is the first page of a [Memory]: what the runner says it is doing. The agent reads it to know which object to blame
// and to show progress; it is a claim.
type Status struct {
	Started atomic.Uint64 // objects, reduce attempts, and pieces of their records, begun since the runner started
	Current atomic.Uint64 // index in its split of the object being mapped, plus one; 1 while a guest reduces records that it got; 0 between
	Objects atomic.Int64  // of this attempt, mapped or failed
	Bytes   atomic.Int64  // of those
	Records atomic.Int64  // emitted by those; for text, lines
	Failed  atomic.Int64
}

// NewMemory makes a memory and the file by which another process maps it with [MapMemory]. The file's size is sealed: no
// process that has it can make a mapping of it fault.
func NewMemory() (*Memory, *os.File, error) {
	fd, err := unix.MemfdCreate("millrace", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil, fmt.Errorf("memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), "memory")
	err = f.Truncate(memorySize)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("memfd: %w", err)
	}
	m, err := MapMemory(f)
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return m, f, nil
}

// MapMemory maps the memory behind f, which stays the caller's.
func MapMemory(f *os.File) (*Memory, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, memorySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map shared memory: %w", err)
	}
	return &Memory{b}, nil
}

// Status returns the status page.
func (m *Memory) Status() *Status { return (*Status)(unsafe.Pointer(&m.b[0])) }

// Slab returns the i-th slab.
func (m *Memory) Slab(i int) []byte {
	off := statusSize + i*SlabSize
	return m.b[off : off+SlabSize : off+SlabSize]
}

// Close unmaps the memory. No slice of it may be used afterwards.
func (m *Memory) Close() error { return unix.Munmap(m.b) }
