package main

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// outsideAttacks try to reach what is not the guest's.
var outsideAttacks = map[string]func(args []string){
	"daemon": func(args []string) {
		switch {
		case len(args) == 0: // the guest itself
			for range 3 {
				if err := child("daemon", "between"); err != nil {
					fmt.Println("START", err)
				}
			}
			time.Sleep(50 * time.Millisecond)
		case args[0] == "between": // it ends at once, and its child belongs to nobody
			_ = child("daemon", "last")
		default:
			attacks["stubborn"](nil)
		}
	},
	"daemons": func([]string) {
		attacks["daemon"](nil)
		attacks["stubborn"](nil)
	},
	"kill": func(args []string) { // process ids
		pids := []int{1, os.Getppid()}
		for _, a := range args {
			pids = append(pids, number(a))
		}
		for _, pid := range pids {
			for _, sig := range []syscall.Signal{0, syscall.SIGSTOP, syscall.SIGKILL} {
				if err := syscall.Kill(pid, sig); err == nil {
					fmt.Println("SIGNALLED", pid, sig)
				}
			}
			p, s := uintptr(pid), uintptr(syscall.SIGKILL)
			denied("tkill", syscall.SYS_TKILL, p, s)
			denied("tgkill", syscall.SYS_TGKILL, p, p, s)
			var info [128]byte
			denied("rt_sigqueueinfo", syscall.SYS_RT_SIGQUEUEINFO, p, s, uintptr(unsafe.Pointer(&info)))
			if fd, _, errno := syscall.Syscall(434, p, 0, 0); errno == 0 {
				denied("pidfd_send_signal", 424, fd, s, 0, 0)
				denied("pidfd_getfd", 438, fd, 0, 0)
				denied("process_madvise", 440, fd, 0, 0, 4, 0)
			}
			denied("setpriority", syscall.SYS_SETPRIORITY, 0, p, 19)
			denied("prlimit", 302, p, 7, uintptr(unsafe.Pointer(&[]uint64{3, 3}[0])), 0)
			denied("setpgid", syscall.SYS_SETPGID, p, p)
		}
		_ = syscall.Kill(-1, syscall.SIGKILL)
	},
	"ptrace": func(args []string) { // process ids
		pids := []int{1, os.Getppid(), os.Getpid()}
		for _, a := range args {
			pids = append(pids, number(a))
		}
		for _, pid := range pids {
			p := uintptr(pid)
			denied("ptrace attach", syscall.SYS_PTRACE, syscall.PTRACE_ATTACH, p)
			denied("ptrace seize", syscall.SYS_PTRACE, 0x4206, p)
			var b [64]byte
			at := uintptr(unsafe.Pointer(&b))
			iov := [2]uintptr{at, 64}
			v := uintptr(unsafe.Pointer(&iov))
			denied("process_vm_readv", 310, p, v, 1, v, 1, 0)
			denied("process_vm_writev", 311, p, v, 1, v, 1, 0)
			denied("kcmp", 312, p, p, 0, 0, 0)
			for _, name := range []string{"mem", "maps", "environ", "fd", "root", "cwd", "exe", "cmdline"} {
				if _, err := os.Open(fmt.Sprintf("/proc/%d/%s", pid, name)); err == nil {
					fmt.Println("OPENED", pid, name)
				}
			}
		}
	},
	"descriptors": func([]string) {
		for fd := 3; fd < 65536; fd++ {
			var st syscall.Stat_t
			if syscall.Fstat(fd, &st) == nil && st.Mode&syscall.S_IFMT != 0 { // the runtime's own have no type
				fmt.Println("OPEN", fd)
			}
		}
		for fd := range 3 {
			var st syscall.Stat_t
			if err := syscall.Fstat(fd, &st); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
				fmt.Println("NO PIPE", fd, err)
			}
		}
	},
	"environment": func([]string) {
		for _, kv := range os.Environ() {
			if !strings.HasPrefix(kv, "MILLRACE_") {
				fmt.Println("VARIABLE", kv)
			}
		}
		for _, name := range []string{"/proc/self/environ", "/proc/1/environ", fmt.Sprintf("/proc/%d/environ", os.Getppid())} {
			if b, err := os.ReadFile(name); err == nil {
				fmt.Printf("READ %s %q\n", name, b)
			}
		}
	},
	"sockets": func([]string) {
		for family := range 50 {
			for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM, syscall.SOCK_RAW, syscall.SOCK_SEQPACKET} {
				for _, protocol := range []int{0, 262} { // 262 is MPTCP
					if fd, err := syscall.Socket(family, kind, protocol); err == nil {
						fmt.Println("SOCKET", family, kind, protocol, fd)
					}
				}
			}
			var pair [2]int32
			denied("socketpair", syscall.SYS_SOCKETPAIR, uintptr(family), syscall.SOCK_STREAM, 0, uintptr(unsafe.Pointer(&pair)))
		}
	},
	"connect": func(args []string) { // NETWORK=ADDRESS…
		for _, a := range args {
			network, address, _ := strings.Cut(a, "=")
			if c, err := net.DialTimeout(network, address, 200*time.Millisecond); err == nil {
				_, _ = c.Write([]byte("x"))
				fmt.Println("REACHED", a)
			}
		}
	},
	"visit": func([]string) {
		// Every directory, and the first files of each.
		n, files := 0, map[string]int{}
		visit := func(path string, d fs.DirEntry, err error) error {
			switch {
			case path == "/work":
				return fs.SkipDir
			case err != nil:
			case d.IsDir() && n > 3000:
				return fs.SkipDir
			case d.IsDir():
				n++
				if f, err := os.Create(filepath.Join(path, "was-here")); err == nil {
					fmt.Println("CREATED", f.Name())
				}
			case files[filepath.Dir(path)] < 3 && !strings.HasPrefix(path, "/dev/"):
				files[filepath.Dir(path)]++
				if _, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
					fmt.Println("WRITABLE", path)
				}
				if os.Chmod(path, 0o777) == nil || os.Truncate(path, 0) == nil || os.Remove(path) == nil {
					fmt.Println("CHANGED", path)
				}
			}
			return nil
		}
		for _, dir := range []string{"/", "/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/etc/", "/etc/alternatives/", "/dev/", "/program/"} {
			_ = filepath.WalkDir(dir, visit)
		}
		fmt.Fprintln(os.Stderr, n, "directories")
		write("/x", "/dev/x", "/dev/shm/x", "/tmp/x", "/var/tmp/x", "/run/x", "/program/x", "/program/guest", "/proc/sys/kernel/core_pattern")
	},
	"cgroup": func([]string) {
		denied("mount cgroup2", syscall.SYS_MOUNT, text("x"), text("/work"), text("cgroup2"), 0, 0)
		denied("mount cgroup", syscall.SYS_MOUNT, text("x"), text("/work"), text("cgroup"), 0, 0)
		read("/sys/fs/cgroup", "/sys/fs/cgroup/cgroup.procs", "/proc/self/cgroup")
		write("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/x", "/sys/fs/cgroup/pids/x")
	},
	"hold": func(args []string) { // leaves a file with a secret, says so, and stays
		if err := os.WriteFile("/work/secret", []byte(args[0]), 0o666); err != nil {
			fmt.Println("WRITE", err)
		}
		time.Sleep(time.Hour)
	},
}

func child(args ...string) error {
	cmd := exec.Command("/program/guest", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}
