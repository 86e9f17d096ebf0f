package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
	"unsafe"
)

// attack tries something that must not work. It prints a line in capitals for what did, and "done".
func attack(verb string, args []string) bool {
	f, ok := attacks[verb]
	if ok {
		f(args)
		fmt.Println("done")
	}
	return ok
}

// denied reports a system call that worked.
func denied(name string, nr uintptr, args ...uintptr) {
	var a [6]uintptr
	copy(a[:], args)
	if r, _, errno := syscall.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); errno == 0 {
		fmt.Println("WORKED", name, r)
	}
}

func text(s string) uintptr {
	p, _ := syscall.BytePtrFromString(s)
	keep = append(keep, p)
	return uintptr(unsafe.Pointer(p))
}

var keep []*byte

var attacks = map[string]func(args []string){
	"forkbomb": func([]string) {
		for range 10000 {
			cmd := exec.Command("/proc/self/exe")
			cmd.Path = "/program/guest"
			cmd.Args = []string{"guest", "sleep", "1h"}
			if err := cmd.Start(); err != nil {
				break
			}
		}
	},
	"daemon": func([]string) {
		cmd := exec.Command("/program/guest", "sleep", "1h")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			fmt.Println("START", err)
		}
	},
	"stubborn": func([]string) {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGXCPU)
		for {
			time.Sleep(time.Second)
		}
	},
	"threads": func([]string) {
		for range 8 {
			go verbs["loop"](nil)
		}
		verbs["loop"](nil)
	},
	"stop": func([]string) { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) },
	"kill": func([]string) {
		for _, pid := range []int{1, -1} {
			for _, sig := range []syscall.Signal{0, syscall.SIGKILL} {
				if err := syscall.Kill(pid, sig); err == nil && pid == 1 {
					fmt.Println("SIGNALLED", pid, sig)
				}
			}
		}
	},
	"ptrace": func([]string) {
		denied("ptrace", syscall.SYS_PTRACE, syscall.PTRACE_ATTACH, 1)
		denied("process_vm_readv", 310, 1)
	},
	"descriptors": func([]string) {
		for fd := 3; fd < 65536; fd++ {
			var st syscall.Stat_t
			if syscall.Fstat(fd, &st) == nil && st.Mode&syscall.S_IFMT != 0 {
				fmt.Println("OPEN", fd)
			}
		}
	},
	"sockets": func([]string) {
		for _, family := range []int{syscall.AF_UNIX, syscall.AF_INET, syscall.AF_INET6, syscall.AF_NETLINK, syscall.AF_PACKET, 38, 40, 44} {
			for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM, syscall.SOCK_RAW} {
				if fd, err := syscall.Socket(family, kind, 0); err == nil {
					fmt.Println("SOCKET", family, kind, fd)
				}
			}
		}
		denied("mptcp", syscall.SYS_SOCKET, syscall.AF_INET, syscall.SOCK_STREAM, 262)
		var pair [2]int32
		denied("socketpair", syscall.SYS_SOCKETPAIR, syscall.AF_UNIX, syscall.SOCK_STREAM, 0, uintptr(unsafe.Pointer(&pair)))
	},
	"namespaces": func([]string) {
		for _, flag := range []uintptr{syscall.CLONE_NEWUSER, syscall.CLONE_NEWNS, syscall.CLONE_NEWPID, syscall.CLONE_NEWNET, syscall.CLONE_NEWIPC,
			syscall.CLONE_NEWUTS, 0x02000000, 0x80} {
			denied("unshare", syscall.SYS_UNSHARE, flag)
		}
		for _, flag := range []uintptr{syscall.CLONE_NEWUSER, syscall.CLONE_NEWNS, syscall.CLONE_NEWPID, syscall.CLONE_NEWNET} {
			denied("clone", syscall.SYS_CLONE, flag|uintptr(syscall.SIGCHLD))
		}
		var args [11]uint64
		args[0] = syscall.CLONE_NEWUSER
		denied("clone3", 435, uintptr(unsafe.Pointer(&args)), 88)
		denied("setns", 308, 0, 0)
	},
	"kernel": func([]string) {
		var zero [128]byte
		p := uintptr(unsafe.Pointer(&zero))
		denied("io_uring_setup", 425, 1, p)
		denied("bpf", 321, 0, p, 128)
		denied("perf_event_open", 298, p, 0, ^uintptr(0), ^uintptr(0), 0)
		denied("userfaultfd", 323, 1)
		denied("keyctl", 250, 0, 0)
		denied("add_key", 248, text("user"), text("x"), p, 1, ^uintptr(2))
		denied("syslog", syscall.SYS_SYSLOG, 3, p, 100)
		denied("settimeofday", syscall.SYS_SETTIMEOFDAY, p, 0)
		denied("clock_settime", 227, 0, p)
		denied("sched_setscheduler", 144, 0, 1, uintptr(unsafe.Pointer(&[]int32{10}[0])))
		denied("reboot", syscall.SYS_REBOOT, 0xfee1dead, 672274793, 0)
		denied("init_module", 175, p, 0, text(""))
		denied("shmget", 29, 0, 1<<20, 0o1600)
		denied("memfd_secret", 447, 0)
		denied("fanotify_init", 300, 0, 0)
		denied("open_by_handle_at", 304, 0, p, 0)
		denied("personality", syscall.SYS_PERSONALITY, 0x0400000)
	},
	"mounts": func([]string) {
		denied("mount", syscall.SYS_MOUNT, text("none"), text("/work"), text("tmpfs"), 0, 0)
		denied("umount", syscall.SYS_UMOUNT2, text("/usr"), 2)
		denied("pivot_root", syscall.SYS_PIVOT_ROOT, text("/"), text("/work"))
		denied("chroot", syscall.SYS_CHROOT, text("/work"))
		denied("fsopen", 430, text("tmpfs"), 0)
		denied("open_tree", 428, ^uintptr(99), text("/"), 1)
		denied("mknod char", syscall.SYS_MKNODAT, ^uintptr(99), text("/work/kmem"), syscall.S_IFCHR|0o666, 0x101)
		denied("mknod fifo", syscall.SYS_MKNODAT, ^uintptr(99), text("/work/fifo"), syscall.S_IFIFO|0o666, 0)
	},
	"privileges": func([]string) {
		if syscall.Getuid() != syscall.Geteuid() || syscall.Getuid() == 0 {
			fmt.Println("ROOT", syscall.Getuid(), syscall.Geteuid())
		}
		denied("setuid", syscall.SYS_SETUID, 0)
		denied("setgid", syscall.SYS_SETGID, 0)
		denied("setgroups", syscall.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&[]uint32{0}[0])))
		denied("chown", syscall.SYS_FCHOWNAT, ^uintptr(99), text("/work"), 0, 0, 0)
		var header = struct {
			version uint32
			pid     int32
		}{0x20080522, 0}
		var data [6]uint32
		if _, _, errno := syscall.Syscall(syscall.SYS_CAPGET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data)), 0); errno == 0 {
			if data[0]|data[1]|data[2]|data[3]|data[4]|data[5] != 0 {
				fmt.Printf("CAPABILITIES %x\n", data)
			}
		}
		for _, name := range []string{"/usr/bin/su", "/usr/bin/passwd", "/usr/bin/mount"} {
			out, err := exec.Command(name, "--version").CombinedOutput()
			if info, statErr := os.Stat(name); err == nil && statErr == nil && info.Mode()&os.ModeSetuid == 0 {
				_ = out // it runs, as everything does, without its setuid bit
			}
		}
		denied("tiocsti", syscall.SYS_IOCTL, 0, 0x5412, text("x"))
	},
	"fill": func([]string) {
		b := make([]byte, 1<<20)
		total := 0
		for i := 0; ; i++ {
			f, err := os.Create(fmt.Sprintf("f%d", i%8))
			if err != nil {
				break
			}
			n := 0
			for n < 64<<20 {
				m, err := f.Write(b)
				n += m
				if err != nil {
					break
				}
			}
			total += n
			f.Close()
			if n < 64<<20 {
				break
			}
		}
		if total > 80<<20 {
			fmt.Println("FILLED", total)
		}
	},
	"inodes": func([]string) {
		n := 0
		for ; n < 100000; n++ {
			if os.Mkdir(fmt.Sprintf("d%d", n), 0) != nil {
				break
			}
		}
		_ = os.Chmod(".", 0)
		if n > 10000 {
			fmt.Println("INODES", n)
		}
	},
	"deep": func([]string) {
		for range 1000 {
			if os.Mkdir("deeper", 0o700) != nil || os.Chdir("deeper") != nil {
				break
			}
		}
	},
	"sparse": func([]string) {
		if f, err := os.Create("sparse"); err == nil {
			_ = f.Truncate(1 << 60)
		}
	},
	"memfd": func([]string) {
		fd, _, errno := syscall.Syscall(319, text("x"), 0, 0)
		if errno != 0 {
			return
		}
		b := make([]byte, 1<<20)
		for range 4096 {
			if _, err := syscall.Write(int(fd), b); err != nil {
				return
			}
		}
		fmt.Println("STORED 4 GiB")
	},
	"shared": func([]string) {
		b, err := syscall.Mmap(-1, 0, 2<<30, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_SHARED)
		if err != nil {
			fmt.Println(err)
			return
		}
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		fmt.Println("TOUCHED 2 GiB")
	},
	"mlock": func([]string) {
		b, err := syscall.Mmap(-1, 0, 32<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err == nil {
			denied("mlock", syscall.SYS_MLOCK, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		}
	},
	"core": func([]string) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGABRT)
		time.Sleep(time.Second)
	},
}
