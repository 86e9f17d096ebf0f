package sandbox

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// A filter is a seccomp program under construction. A system call is looked up from the top; the first rule that matches decides.
// See seccomp(2) and struct seccomp_data.
type filter []unix.SockFilter

// Offsets into struct seccomp_data. Arguments are 64 bits; their low halves hold all that is looked at.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
)

// What a rule answers.
const (
	allow       = unix.SECCOMP_RET_ALLOW
	killProcess = unix.SECCOMP_RET_KILL_PROCESS
)

// refuse answers a system call with an error number.
func refuse(errno unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(errno) }

// newFilter starts a filter: calls of another architecture than this one kill.
func newFilter() *filter {
	f := &filter{}
	f.load(dataArch)
	f.jump(unix.BPF_JEQ, auditArch, 1, 0)
	f.answer(killProcess)
	f.load(dataNumber)
	if foreignBit != 0 {
		f.jump(unix.BPF_JGE, foreignBit, 0, 1)
		f.answer(killProcess)
	}
	return f
}

// on gives the same answer to all of the system calls.
func (f *filter) on(answer uint32, calls ...uintptr) {
	for _, nr := range calls {
		f.jump(unix.BPF_JEQ, uint32(nr), 0, 1)
		f.answer(answer)
	}
}

// onAbove answers all system calls from nr on.
func (f *filter) onAbove(answer uint32, nr uintptr) {
	f.jump(unix.BPF_JGE, uint32(nr), 0, 1)
	f.answer(answer)
}

// onValue answers a system call by the value of one argument: allowed if it is one of values, else with answer.
func (f *filter) onValue(answer uint32, nr uintptr, arg int, values ...uint32) {
	f.jump(unix.BPF_JEQ, uint32(nr), 0, uint8(2+2*len(values)))
	f.load(argument(arg))
	for _, v := range values {
		f.jump(unix.BPF_JEQ, v, 0, 1)
		f.answer(allow)
	}
	f.answer(answer)
}

// onBits answers a system call by bits of one argument: allowed if all of must and none of never are set, else with answer.
func (f *filter) onBits(answer uint32, nr uintptr, arg int, must, never uint32) {
	f.jump(unix.BPF_JEQ, uint32(nr), 0, 5)
	f.load(argument(arg))
	f.jump(unix.BPF_JSET, never, 2, 0)
	if must == 0 {
		f.jump(unix.BPF_JEQ, 0, 0, 0) // as long as the other way
	} else {
		f.jump(unix.BPF_JSET, must, 0, 1) // must is one bit
	}
	f.answer(allow)
	f.answer(answer)
}

func argument(n int) uint32 {
	off := uint32(dataArgs + 8*n)
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		off += 4
	}
	return off
}

func (f *filter) load(off uint32) {
	*f = append(*f, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off})
}

func (f *filter) jump(test uint16, k uint32, yes, no uint8) {
	*f = append(*f, unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, Jt: yes, Jf: no, K: k})
}

func (f *filter) answer(v uint32) {
	*f = append(*f, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: v})
}
