package sandbox

import "golang.org/x/sys/unix"

const (
	elfMachine = 62 // of executables, in their ELF header
	auditArch  = unix.AUDIT_ARCH_X86_64
	foreignBit = 0x40000000 // system calls of the x32 ABI
)

// Old forms of system calls that newer architectures do not have.
var (
	oldCalls = []uintptr{
		unix.SYS_POLL, unix.SYS_SELECT, unix.SYS_PIPE, unix.SYS_DUP2, unix.SYS_GETPGRP, unix.SYS_ALARM, unix.SYS_PAUSE, unix.SYS_TIME,
		unix.SYS_ARCH_PRCTL, unix.SYS_EPOLL_CREATE, unix.SYS_EPOLL_WAIT, unix.SYS_EVENTFD, unix.SYS_NEWFSTATAT,
	}
	oldForks     = []uintptr{unix.SYS_FORK, unix.SYS_VFORK}
	oldFileCalls = []uintptr{
		unix.SYS_OPEN, unix.SYS_CREAT, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_ACCESS, unix.SYS_READLINK, unix.SYS_GETDENTS,
		unix.SYS_RENAME, unix.SYS_MKDIR, unix.SYS_RMDIR, unix.SYS_LINK, unix.SYS_UNLINK, unix.SYS_SYMLINK, unix.SYS_CHMOD,
		unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_FUTIMESAT,
	}
)
