package runner

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/guest"
)

// A shared is memory that one native guest shares with its runner, so that objects need not go through a pipe. Its size is sealed, and
// the guest can only read it; the runner only writes to it. Nothing else lies in it but what was given to this guest.
type shared struct {
	b []byte
	f *os.File // for the guest
}

// newShared returns memory that has room for the objects of a slab.
func newShared() (*shared, error) {
	fd, err := unix.MemfdCreate("objects", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	m := &shared{f: os.NewFile(uintptr(fd), "objects")}
	if err = m.f.Truncate(SlabSize); err == nil {
		m.b, err = unix.Mmap(fd, 0, SlabSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err == nil { // our mapping stays writable
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_FUTURE_WRITE|unix.F_SEAL_SEAL)
	}
	if err != nil {
		m.close()
		return nil, fmt.Errorf("memory of the guest: %w", err)
	}
	return m, nil
}

// env tells the guest of it.
func (m *shared) env() string { return guest.EnvMemory + "=" + strconv.Itoa(len(m.b)) }

func (m *shared) close() {
	_ = m.f.Close()
	if m.b != nil {
		_ = unix.Munmap(m.b)
	}
}
