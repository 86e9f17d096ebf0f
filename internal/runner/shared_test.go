package runner

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// A guest sees what its runner lays into the memory, and can do nothing else with it.
func TestSharedIsReadOnly(t *testing.T) {
	m, err := newShared()
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	fd := int(m.f.Fd())
	its, err := unix.Mmap(fd, 0, SlabSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(its)
	copy(m.b[100:], "millrace")
	if got := string(its[100:108]); got != "millrace" {
		t.Errorf("got %q", got)
	}
	tries := map[string]func() error{
		"map for writing": func() error {
			b, err := unix.Mmap(fd, 0, SlabSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err == nil {
				_ = unix.Munmap(b)
			}
			return err
		},
		"make writable": func() error { return unix.Mprotect(its, unix.PROT_READ|unix.PROT_WRITE) },
		"write":         func() error { _, err := unix.Pwrite(fd, []byte("x"), 100); return err },
		"shrink":        func() error { return unix.Ftruncate(fd, 0) },
		"grow":          func() error { return unix.Ftruncate(fd, 2*SlabSize) },
		"punch a hole": func() error {
			return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096)
		},
		"seal": func() error { _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); return err },
	}
	for what, try := range tries {
		if err := try(); !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
			t.Errorf("%s: got %v, want it refused", what, err)
		}
	}
	if got := string(m.b[100:108]); got != "millrace" {
		t.Errorf("got %q after all that", got)
	}
}
