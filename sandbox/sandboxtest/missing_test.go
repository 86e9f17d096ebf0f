package sandboxtest

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// withoutEnv makes this process one on a machine without a layer.
const withoutEnv = "SANDBOXTEST_WITHOUT"

// TestMissingLayer starts jails on machines that lack a layer: they are refused, by the layer's name, unless it is given up.
func TestMissingLayer(t *testing.T) {
	if Raced {
		t.Skip("the race detector keeps threads of its own, which no filter reaches")
	}
	if layer := sandbox.Layer(os.Getenv(withoutEnv)); layer != "" {
		lackLayer(t, layer)
		return
	}
	for _, layer := range []sandbox.Layer{sandbox.UserNS, sandbox.Seccomp, sandbox.Landlock, sandbox.Cgroup} {
		t.Run(string(layer), func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^TestMissingLayer$")
			cmd.Env = append(os.Environ(), withoutEnv+"="+string(layer))
			if layer == sandbox.Cgroup {
				if os.Geteuid() != 0 {
					t.Skip("ordinary users have none anyway")
				}
				cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
			}
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// lackLayer takes a layer from this process and what it starts, and tries to start jails.
func lackLayer(t *testing.T, layer sandbox.Layer) {
	var err error
	switch layer {
	case sandbox.Cgroup:
		err = syscall.Mount("none", "/sys/fs/cgroup", "tmpfs", 0, "")
	case sandbox.UserNS:
		err = refuse(unix.SYS_CLONE, unix.CLONE_NEWUSER, unix.EPERM)
		if err == nil {
			err = refuse(unix.SYS_CLONE3, 0, unix.ENOSYS) // as containers do
		}
	case sandbox.Landlock:
		err = refuse(unix.SYS_LANDLOCK_CREATE_RULESET, 0, unix.EOPNOTSUPP)
	case sandbox.Seccomp:
		err = refuse(unix.SYS_SECCOMP, 0, unix.EINVAL)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, native := range []bool{false, true} {
		if native && os.Geteuid() != 0 {
			continue // refused for another reason
		}
		for _, insecure := range [][]sandbox.Layer{nil, {layer}} {
			p, err := sandbox.Start(&sandbox.Config{Native: native, Insecure: insecure})
			if err == nil {
				p.Kill()
				p.Wait()
			}
			var missing *sandbox.LayerError
			refused := errors.As(err, &missing)
			switch needed := native || layer != sandbox.Cgroup; {
			case insecure == nil && needed:
				if !refused || missing.Layer != layer || missing.Fix == "" || missing.Cause == nil {
					t.Errorf("native %t: %v; want the layer %s", native, err, layer)
				}
			case err != nil:
				t.Errorf("native %t without %v: %v", native, insecure, err)
			}
		}
	}
}

// refuse makes a system call fail from here on, in this process and those that it starts, if its first argument has one of bits; 0
// means always.
func refuse(call, bits uint32, errno unix.Errno) error {
	deny := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)}
	allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	program := []unix.SockFilter{
		load(0),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 3, K: call},
		load(16), // the low half of the first argument
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 0, Jf: 1, K: bits},
		deny, allow,
	}
	if bits == 0 {
		program[3] = unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	f := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&f)))
	runtime.KeepAlive(program)
	if e != 0 {
		return e
	}
	return nil
}
