package sandbox

import "golang.org/x/sys/unix"

const (
	elfMachine = 183 // of executables, in their ELF header
	auditArch  = unix.AUDIT_ARCH_AARCH64
	foreignBit = 0 // there is one ABI only
)

// Old forms of system calls: this architecture has next to none.
var (
	oldCalls     = []uintptr{unix.SYS_FSTATAT}
	oldForks     = []uintptr{}
	oldFileCalls = []uintptr{}
)
