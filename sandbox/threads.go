package sandbox

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// threads makes a system call on some threads of this process: the calling one, or all.
type threads func(trap, a1, a2, a3 uintptr) error

func oneThread(trap, a1, a2, a3 uintptr) error {
	if _, _, errno := unix.RawSyscall(trap, a1, a2, a3); errno != 0 {
		return errno
	}
	return nil
}

// allThreads needs [canAskAll]. Threads that start later inherit what it changed.
func allThreads(trap, a1, a2, a3 uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall(trap, a1, a2, a3); errno != 0 {
		return errno
	}
	return nil
}

// landlockErrata asks for the faults that are mended in this kernel's Landlock, a bit each, see landlock_create_ruleset(2).
const (
	landlockErrata      = 1 << 1
	landlockSignalsMend = 1 << 1 // threads of one process may always signal each other
)

// canAskAll reports whether allThreads works here. With cgo there are threads that the runtime does not know; and the
// runtime's threads signal each other, which kernels between Landlock's version 6 and the mending of its second fault forbid.
func canAskAll() bool {
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0); errno != 0 {
		return false
	}
	if abi, err := landlockABI(); err != nil || abi < 6 {
		return true
	}
	errata, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, landlockErrata)
	return errno == 0 && errata&landlockSignalsMend != 0
}
