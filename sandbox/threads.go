package sandbox

import (
	"runtime"
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

// onOwnThread calls f in the background, on a thread that nothing else uses meanwhile. It is not the first of the process, which in some
// respects stands for all of it.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		locked := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			close(locked)
			f()
		}()
		<-locked
	}()
}

// allThreads fails where there are threads that the runtime does not know, with cgo. Threads that start later inherit what it changed.
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

// canAskAll reports whether all threads may do what each does for itself. The runtime's threads signal each other, which kernels between
// Landlock's version 6 and the mending of its second fault forbid.
func canAskAll() bool {
	if abi, err := landlockABI(); err != nil || abi < 6 {
		return true
	}
	errata, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, landlockErrata)
	return errno == 0 && errata&landlockSignalsMend != 0
}
