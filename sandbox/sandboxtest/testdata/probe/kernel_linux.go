package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// raise reports a resource limit that can be raised to n.
func raise(name string, resource int, n uint64) {
	if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: n, Max: n}); err == nil {
		fmt.Println("RAISED", name)
	}
}

var zero [128]byte

// kernelAttacks ask the kernel for what guests have no business with.
var kernelAttacks = map[string]func(args []string){
	"namespaces": func([]string) {
		for _, flag := range []uintptr{syscall.CLONE_NEWUSER, syscall.CLONE_NEWNS, syscall.CLONE_NEWPID, syscall.CLONE_NEWNET, syscall.CLONE_NEWIPC,
			syscall.CLONE_NEWUTS, 0x02000000, 0x80} {
			denied("unshare", syscall.SYS_UNSHARE, flag)
			if flag != 0x80 {
				denied("clone", syscall.SYS_CLONE, flag|uintptr(syscall.SIGCHLD))
			}
			args := [11]uint64{uint64(flag)}
			denied("clone3", 435, uintptr(unsafe.Pointer(&args)), 88)
		}
		denied("setns", 308, 0, 0)
	},
	"kernel-memory": func([]string) {
		denied("shmget", 29, 0, 1<<20, 0o1600)
		denied("memfd_create", 319, text("x"), 0, 0)
		denied("memfd_secret", 447, 0)
		denied("msgget", 68, 0, 0o1600)
		denied("semget", 64, 0, 100, 0o1600)
		denied("mq_open", 240, text("x"), 0o102, 0o600, 0)
		if _, err := os.Create("/dev/shm/x"); err == nil {
			fmt.Println("CREATED /dev/shm/x")
		}
	},
	"mlock": func([]string) {
		b, err := syscall.Mmap(-1, 0, 32<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			fmt.Println("MMAP", err)
			return
		}
		denied("mlock", syscall.SYS_MLOCK, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		denied("mlock2", 325, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0)
		denied("mlockall", syscall.SYS_MLOCKALL, 3)
		raise("locked memory", 8, 1<<30)
		if _, err := syscall.Mmap(-1, 0, 32<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_LOCKED); err == nil {
			fmt.Println("MAPPED locked")
		}
	},
	"io_uring": func([]string) { denied("io_uring_setup", 425, 1, uintptr(unsafe.Pointer(&zero))) },
	"bpf":      func([]string) { denied("bpf", 321, 0, uintptr(unsafe.Pointer(&zero)), 128) },
	"perf": func([]string) {
		denied("perf_event_open", 298, uintptr(unsafe.Pointer(&zero)), 0, ^uintptr(0), ^uintptr(0), 0)
	},
	"userfaultfd": func([]string) { denied("userfaultfd", 323, 1) },
	"keyctl": func([]string) {
		denied("keyctl", 250, 0, ^uintptr(2), 1)
		denied("add_key", 248, text("user"), text("x"), uintptr(unsafe.Pointer(&zero)), 1, ^uintptr(2))
		denied("request_key", 249, text("user"), text("x"), 0, ^uintptr(2))
	},
	"kernel-log": func([]string) {
		denied("syslog read", syscall.SYS_SYSLOG, 3, uintptr(unsafe.Pointer(&zero)), 100)
		denied("syslog size", syscall.SYS_SYSLOG, 10, 0, 0)
		read("/dev/kmsg", "/proc/kmsg", "/var/log/kern.log", "/var/log/dmesg")
	},
	"set-clock": func([]string) {
		p := uintptr(unsafe.Pointer(&zero))
		denied("settimeofday", syscall.SYS_SETTIMEOFDAY, p, 0)
		denied("clock_settime", 227, 0, p)
		timex := [256]byte{1} // ADJ_OFFSET
		denied("adjtimex", syscall.SYS_ADJTIMEX, uintptr(unsafe.Pointer(&timex)))
		denied("clock_adjtime", 305, 0, uintptr(unsafe.Pointer(&timex)))
	},
	"machine": func([]string) {
		p := uintptr(unsafe.Pointer(&zero))
		denied("reboot", syscall.SYS_REBOOT, 0xfee1dead, 672274793, 0)
		denied("init_module", 175, p, 0, text(""))
		denied("finit_module", 313, 0, text(""), 0)
		denied("kexec_load", 246, 0, 0, 0, 0)
		denied("sethostname", syscall.SYS_SETHOSTNAME, text("x"), 1)
		denied("swapon", syscall.SYS_SWAPON, text("/work"), 0)
		denied("fanotify_init", 300, 0, 0)
		denied("inotify_init1", 294, 0)
		denied("open_by_handle_at", 304, 0, p, 0)
		denied("name_to_handle_at", 303, ^uintptr(99), text("/"), p, p, 0)
		denied("personality", syscall.SYS_PERSONALITY, 0x0400000)
		denied("iopl", 172, 3)
		denied("quotactl", 179, 0, 0, 0, 0)
		denied("acct", syscall.SYS_ACCT, text("/work/acct"))
		denied("modify_ldt", 154, 0, p, 16)
	},
	"priority": func([]string) {
		time.Sleep(100 * time.Millisecond) // its own limits come a moment after its first instructions
		denied("sched_setscheduler FIFO", 144, 0, 1, uintptr(unsafe.Pointer(&[]int32{10}[0])))
		denied("sched_setscheduler RR", 144, 0, 2, uintptr(unsafe.Pointer(&[]int32{10}[0])))
		attr := struct {
			size, policy              uint32
			flags                     uint64
			nice, priority            uint32
			runtime, deadline, period uint64
		}{48, 6, 0, 0, 0, 1e6, 1e7, 1e7}
		denied("sched_setattr", 314, 0, uintptr(unsafe.Pointer(&attr)), 0)
		denied("nice", syscall.SYS_SETPRIORITY, 0, 0, ^uintptr(18))
		denied("ioprio_set", 251, 1, 0, 1<<13)
		raise("priority", 14, 10)
		raise("processes", 6, 1<<20)
		raise("memory", 2, 1<<40)
		raise("descriptors", 7, 1<<24)
		raise("CPU", 0, 1<<20)
	},
	"mounts": func([]string) {
		p := uintptr(unsafe.Pointer(&zero))
		denied("mount", syscall.SYS_MOUNT, text("none"), text("/work"), text("tmpfs"), 0, 0)
		denied("bind mount", syscall.SYS_MOUNT, text("/usr"), text("/work"), 0, syscall.MS_BIND, 0)
		denied("remount", syscall.SYS_MOUNT, 0, text("/usr"), 0, syscall.MS_REMOUNT|syscall.MS_BIND, 0)
		denied("mount proc", syscall.SYS_MOUNT, text("proc"), text("/work"), text("proc"), 0, 0)
		denied("umount", syscall.SYS_UMOUNT2, text("/usr"), 2)
		denied("pivot_root", syscall.SYS_PIVOT_ROOT, text("/"), text("/work"))
		denied("chroot", syscall.SYS_CHROOT, text("/work"))
		denied("fsopen", 430, text("tmpfs"), 0)
		denied("fspick", 433, ^uintptr(99), text("/"), 0)
		denied("fsmount", 432, 0, 0, 0)
		denied("open_tree", 428, ^uintptr(99), text("/"), 1)
		denied("move_mount", 429, ^uintptr(99), text("/usr"), ^uintptr(99), text("/work"), 0)
		denied("mount_setattr", 442, ^uintptr(99), text("/usr"), 0, p, 32)
	},
	"mknod": func([]string) {
		denied("mknod char", syscall.SYS_MKNODAT, ^uintptr(99), text("/work/kmem"), syscall.S_IFCHR|0o666, 0x101)
		denied("mknod block", syscall.SYS_MKNODAT, ^uintptr(99), text("/work/disk"), syscall.S_IFBLK|0o666, 0x800)
	},
	"outputs": func([]string) {
		denied("mknod fifo", syscall.SYS_MKNODAT, ^uintptr(99), text("/work/fifo"), syscall.S_IFIFO|0o666, 0)
		denied("mknod socket", syscall.SYS_MKNODAT, ^uintptr(99), text("/work/socket"), syscall.S_IFSOCK|0o666, 0)
		if l, err := net.Listen("unix", "/work/socket2"); err == nil {
			fmt.Println("LISTENING", l.Addr())
		}
		f, err := os.Create("sparse")
		if err != nil {
			fmt.Println("CREATE", err)
			return
		}
		_ = f.Truncate(1 << 60) // it takes no room: what counts is that nobody reads it
		_ = os.Symlink("/etc/shadow", "link")
		_ = os.Rename("sparse", "/program/guest")
	},
	"terminal": func([]string) {
		for fd := uintptr(0); fd < 3; fd++ {
			denied("TIOCSTI", syscall.SYS_IOCTL, fd, 0x5412, text("x"))
			denied("TIOCSCTTY", syscall.SYS_IOCTL, fd, 0x540e, 1)
			denied("TIOCLINUX", syscall.SYS_IOCTL, fd, 0x541c, text("\x03"))
		}
		write("/dev/tty", "/dev/console", "/dev/pts/0", "/dev/ptmx")
	},
	"privileges": func([]string) {
		if syscall.Getuid() != syscall.Geteuid() || syscall.Getuid() == 0 {
			fmt.Println("ROOT", syscall.Getuid(), syscall.Geteuid())
		}
		denied("setuid", syscall.SYS_SETUID, 0)
		denied("setgid", syscall.SYS_SETGID, 0)
		denied("setgroups", syscall.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&[]uint32{0}[0])))
		denied("chown", syscall.SYS_FCHOWNAT, ^uintptr(99), text("/work"), 0, 0, 0)
		denied("capset", 126, uintptr(unsafe.Pointer(&[]uint32{0x20080522, 0}[0])), uintptr(unsafe.Pointer(&[]uint32{1, 1, 1, 1, 1, 1}[0])))
		header, data := [2]uint32{0x20080522, 0}, [6]uint32{}
		if _, _, errno := syscall.Syscall(syscall.SYS_CAPGET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data)), 0); errno == 0 && data != [6]uint32{} {
			fmt.Printf("CAPABILITIES %x\n", data)
		}
	},
	"setuid": func([]string) {
		// Programs of the system with the bit, and one of our own.
		_ = os.Chmod("/program/guest", 0o4755)
		if b, err := os.ReadFile("/program/guest"); err == nil && os.WriteFile("own", b, 0o755) == nil {
			_ = os.Chmod("own", 0o6755)
			if out, err := exec.Command("./own", "privileges").Output(); err != nil || strings.Contains(string(out), "ROOT") {
				fmt.Printf("OWN %q %v\n", out, err)
			}
		}
		n := 0
		for _, dir := range []string{"/usr/bin", "/usr/sbin", "/usr/lib/openssh"} {
			names, _ := filepath.Glob(dir + "/*")
			for _, name := range names {
				if info, err := os.Stat(name); err == nil && info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
					n++
				}
			}
		}
		fmt.Fprintln(os.Stderr, n, "programs with the bit")
		for _, try := range []string{"su root -c id", "mount -t tmpfs none /work", "umount -l /usr", "passwd -d root", "chsh -s /bin/sh root", "newgrp root", "sudo -n id"} {
			words := strings.Fields(try)
			if out, err := exec.Command("/usr/bin/"+words[0], words[1:]...).Output(); err == nil || strings.Contains(string(out), "uid=0") {
				fmt.Printf("WORKED %s %q\n", try, out)
			}
		}
	},
}
