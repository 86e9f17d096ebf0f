package sandbox

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A role is what a process may do in the jail, as system calls.
type role int

// Roles, from narrow to wide. A native guest keeps the filter of its runner and gets its own beside it: both must allow a call.
const (
	roleEngine  role = iota // a runner of builtins and wasm: threads, memory, descriptors it has; no files, no processes
	roleSpawner             // a runner of native guests: also files and children
	roleGuest               // a native guest: files and children, no privileges
)

// namespaceFlags are the bits of clone(2) that make namespaces; CLONE_NEWTIME is none of its bits.
const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET

// Requests of ioctl(2) on any descriptor.
const (
	fionread = 0x541b
	fionbio  = 0x5421
)

// System calls that every role needs: memory, threads, time, and input and output on descriptors that are there.
var commonCalls = []uintptr{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_PREADV, unix.SYS_PWRITEV,
	unix.SYS_PREADV2, unix.SYS_PWRITEV2, unix.SYS_LSEEK, unix.SYS_CLOSE, unix.SYS_CLOSE_RANGE, unix.SYS_FSTAT, unix.SYS_FTRUNCATE,
	unix.SYS_FALLOCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FADVISE64, unix.SYS_DUP, unix.SYS_DUP3, unix.SYS_PIPE2, unix.SYS_FCNTL,
	unix.SYS_SENDFILE, unix.SYS_FLOCK,
	unix.SYS_PPOLL, unix.SYS_PSELECT6, unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_EVENTFD2,
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MREMAP, unix.SYS_MPROTECT, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_MSYNC, unix.SYS_BRK,
	unix.SYS_MEMBARRIER,
	unix.SYS_FUTEX, unix.SYS_SET_ROBUST_LIST, unix.SYS_GET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_SET_TID_ADDRESS, unix.SYS_SCHED_YIELD,
	unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETCPU, unix.SYS_RESTART_SYSCALL,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGPENDING, unix.SYS_RT_SIGTIMEDWAIT,
	unix.SYS_RT_SIGSUSPEND, unix.SYS_SIGALTSTACK, unix.SYS_TGKILL, unix.SYS_TKILL,
	unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_GETTIMEOFDAY, unix.SYS_TIMES,
	unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_GETTIME, unix.SYS_TIMER_DELETE, unix.SYS_SETITIMER, unix.SYS_GETITIMER,
	unix.SYS_TIMERFD_CREATE, unix.SYS_TIMERFD_SETTIME, unix.SYS_TIMERFD_GETTIME,
	unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETTID, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID,
	unix.SYS_GETRESUID, unix.SYS_GETRESGID, unix.SYS_GETGROUPS, unix.SYS_GETPGID, unix.SYS_GETSID, unix.SYS_GETRUSAGE, unix.SYS_GETRLIMIT,
	unix.SYS_GETRANDOM, unix.SYS_UNAME, unix.SYS_SYSINFO, unix.SYS_CAPGET, unix.SYS_GETCWD,
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
}

// Calls on sockets that a runner has inherited or been passed; it cannot make any.
var socketCalls = []uintptr{
	unix.SYS_RECVMSG, unix.SYS_SENDMSG, unix.SYS_RECVFROM, unix.SYS_SENDTO, unix.SYS_SHUTDOWN, unix.SYS_GETSOCKOPT, unix.SYS_SETSOCKOPT,
	unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME,
}

// Calls on files by name, which Landlock and the mounts decide about.
var fileCalls = []uintptr{
	unix.SYS_OPENAT, unix.SYS_STATX, unix.SYS_STATFS, unix.SYS_FSTATFS, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2, unix.SYS_READLINKAT,
	unix.SYS_GETDENTS64, unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT,
	unix.SYS_CHDIR, unix.SYS_FCHDIR, unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_UTIMENSAT, unix.SYS_TRUNCATE,
	unix.SYS_UMASK, unix.SYS_COPY_FILE_RANGE,
}

// Calls that make, wait for and end children, and that a child makes before it runs its program.
var processCalls = []uintptr{
	unix.SYS_EXECVE, unix.SYS_WAIT4, unix.SYS_WAITID, unix.SYS_KILL, unix.SYS_SETPGID, unix.SYS_SETSID, unix.SYS_PRLIMIT64,
	unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETGROUPS, unix.SYS_GETPRIORITY, unix.SYS_SETPRIORITY, unix.SYS_SCHED_SETAFFINITY,
	unix.SYS_SCHED_GETPARAM, unix.SYS_SCHED_GETSCHEDULER, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_SEND_SIGNAL,
}

// Calls with which the spawner narrows one of its threads further.
var narrowingCalls = []uintptr{
	unix.SYS_CAPSET, unix.SYS_LANDLOCK_CREATE_RULESET, unix.SYS_LANDLOCK_ADD_RULE, unix.SYS_LANDLOCK_RESTRICT_SELF, unix.SYS_SECCOMP,
}

// newerCalls is the first of the system calls of kernels since 5.3: programs try them and go back to older ones on ENOSYS.
const newerCalls = unix.SYS_CLONE3

// filterFor returns the system call filter of a role. What it does not name is refused with EPERM, newer calls with ENOSYS.
func filterFor(r role) *filter {
	f := newFilter()
	f.on(allow, commonCalls...)
	f.on(allow, oldCalls...)
	f.onValue(refuse(unix.ENOTTY), unix.SYS_IOCTL, 1, unix.TCGETS, fionread, fionbio, unix.TIOCGWINSZ)
	options := []uint32{unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_SET_VMA, unix.PR_GET_DUMPABLE}
	switch r {
	case roleEngine:
		f.on(allow, socketCalls...)
		f.onBits(refuse(unix.EPERM), unix.SYS_CLONE, 0, unix.CLONE_THREAD, namespaceFlags)
	default:
		f.on(allow, fileCalls...)
		f.on(allow, oldFileCalls...)
		f.on(allow, processCalls...)
		f.on(allow, oldForks...)
		f.onBits(refuse(unix.EPERM), unix.SYS_CLONE, 0, 0, namespaceFlags)
		options = append(options, unix.PR_SET_PDEATHSIG, unix.PR_GET_PDEATHSIG, unix.PR_CAPBSET_READ, unix.PR_GET_NO_NEW_PRIVS,
			unix.PR_SET_NO_NEW_PRIVS, unix.PR_GET_SECCOMP)
	}
	if r == roleGuest {
		f.on(refuse(unix.ENOSYS), unix.SYS_MEMFD_CREATE) // memory that belongs to nobody whom the kernel could kill for it
	} else {
		f.on(allow, unix.SYS_MEMFD_CREATE)
	}
	if r == roleSpawner {
		options = append(options, unix.PR_CAP_AMBIENT)
		f.on(allow, socketCalls...)
		f.on(allow, narrowingCalls...)
	}
	f.onValue(refuse(unix.EINVAL), unix.SYS_PRCTL, 0, options...)
	f.onAbove(refuse(unix.ENOSYS), newerCalls)
	f.on(refuse(unix.EINVAL), unix.SYS_SPLICE, unix.SYS_TEE, unix.SYS_VMSPLICE) // io.Copy then reads and writes
	f.on(refuse(unix.ENOSYS), unix.SYS_COPY_FILE_RANGE)
	f.answer(refuse(unix.EPERM))
	return f
}

// confine puts the calling thread, or all threads of the process, under the filter of a role for good.
// The threads must have set no_new_privs or hold CAP_SYS_ADMIN.
func confine(r role, allThreads bool) error {
	f := *filterFor(r)
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	var flags uintptr
	if allThreads {
		flags = unix.SECCOMP_FILTER_FLAG_TSYNC
	}
	tid, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(f)
	if errno == 0 && tid != 0 {
		return fmt.Errorf("thread %d keeps out of the filter", tid)
	}
	if errno != 0 {
		return errno
	}
	return nil
}
