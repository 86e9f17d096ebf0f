package sandbox

import (
	"debug/elf"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// executable returns the path by which a child finds this very executable, also when the file was replaced meanwhile. Where other
// users may not run the file, it is a copy in memory, which the caller closes: the child is another user.
func executable() (string, *os.File, error) {
	const self = "/proc/self/exe"
	info, err := os.Stat(self)
	if err != nil {
		return "", nil, err
	}
	if os.Geteuid() != 0 || info.Mode().Perm()&0o001 != 0 {
		return self, nil, nil
	}
	c, err := copyExecutable(self)
	if err != nil {
		return "", nil, fmt.Errorf("copy the executable, which others may not run: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d", c.Fd()), c, nil
}

// aboveInherited is a descriptor number that is out of the way of those that a child inherits.
const aboveInherited = 512

func copyExecutable(path string) (*os.File, error) {
	from, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	fd, err := unix.MemfdCreate("millrace", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	to := os.NewFile(uintptr(fd), "millrace")
	defer to.Close() // a file that is open for writing cannot be run
	if _, err := io.Copy(to, from); err != nil {
		return nil, err
	}
	if err := to.Chmod(0o555); err != nil {
		return nil, err
	}
	ro, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, err
	}
	defer ro.Close()
	high, err := unix.FcntlInt(ro.Fd(), unix.F_DUPFD_CLOEXEC, aboveInherited)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(high), "millrace"), nil
}

// dynamic reports whether this executable asks for a loader, and so for libraries.
var dynamic = sync.OnceValues(func() (bool, error) {
	const self = "/proc/self/exe"
	f, err := elf.Open(self)
	if err != nil {
		return false, fmt.Errorf("%s: %w", self, err)
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return true, nil
		}
	}
	return false, nil
})
