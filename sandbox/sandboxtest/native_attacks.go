package sandboxtest

import (
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/sandbox"
)

// A NativeAttack is what the probe tries when it runs natively.
type NativeAttack struct {
	Name   string
	Args   string // what an Outside says replaces its words
	Is     error  // that it ends with; nil: it gets through, and prints "done" and nothing that worked
	Says   string // in that error
	Limits sandbox.Limits
	Stdin  string
}

// NativeAttacks returns the attacks of the program that [Probe] returns.
var NativeAttacks = sync.OnceValue(func() []NativeAttack {
	return []NativeAttack{
		{Name: "read /etc/shadow", Args: "read /etc/shadow /etc/passwd /etc/ssh /root /home /var /boot /tmp /run"},
		{Name: "read the agent's configuration", Args: "read CONFIG"},
		{Name: "read any file", Args: "read FILE"},
		{Name: "write outside its work directory", Args: "visit"},
		{Name: "write any file", Args: "write FILE FILE2 CONFIG"},
		{Name: "fill the work directory by bytes", Args: "fill"},
		{Name: "fill the work directory by inodes", Args: "inodes"},
		{Name: "fill the work directory by depth", Args: "deep"},
		{Name: "fork bomb", Args: "forkbomb"},
		{Name: "memory by mmap", Args: "memory 2000", Is: sandbox.ErrLimit, Says: "guest memory limit: used", Limits: sandbox.Limits{Memory: 200 << 20}},
		{Name: "memory by mmap, over the jail's", Args: "memory 2000", Is: sandbox.ErrLimit, Says: "guest memory limit", Limits: sandbox.Limits{Memory: 4 << 30}},
		{Name: "memory by shared mmap", Args: "shared", Is: sandbox.ErrLimit, Says: "guest memory limit: more than 512 MiB", Limits: sandbox.Limits{Memory: 4 << 30}},
		{Name: "memory by mlock", Args: "mlock"},
		{Name: "memory by shm and memfd", Args: "kernel-memory"},
		{Name: "spin on all threads", Args: "threads", Is: sandbox.ErrLimit, Says: "guest wall clock limit: 500ms", Limits: sandbox.Limits{Wall: 500 * time.Millisecond}},
		{Name: "spin on all threads, CPU", Args: "threads", Is: sandbox.ErrLimit, Says: "guest CPU limit: 500ms", Limits: sandbox.Limits{CPU: 500 * time.Millisecond}},
		{Name: "daemonize", Args: "daemon"},
		{Name: "ignore SIGTERM", Args: "stubborn", Is: sandbox.ErrLimit, Says: "guest wall clock limit: 300ms", Limits: sandbox.Limits{Wall: 300 * time.Millisecond}},
		{Name: "signal a host process", Args: "kill PID"},
		{Name: "ptrace a host process", Args: "ptrace PID"},
		{Name: "inherited descriptors", Args: "descriptors"},
		{Name: "environment", Args: "environment"},
		{Name: "sockets", Args: "sockets"},
		{Name: "connect", Args: "connect tcp=127.0.0.1:PORT tcp=[::1]:PORT unix=SOCKET unix=NAME udp=127.0.0.1:PORT ip4:icmp=127.0.0.1"},
		{Name: "metadata address, NATS and agent ports", Args: "connect tcp=169.254.169.254:80 tcp=[fd00:ec2::254]:80 tcp=127.0.0.1:4222 tcp=127.0.0.1:6222 tcp=127.0.0.1:8222"},
		{Name: "namespaces", Args: "namespaces"},
		{Name: "io_uring", Args: "io_uring"},
		{Name: "bpf", Args: "bpf"},
		{Name: "perf", Args: "perf"},
		{Name: "userfaultfd", Args: "userfaultfd"},
		{Name: "keyctl", Args: "keyctl"},
		{Name: "mount, umount, pivot_root, fsopen", Args: "mounts"},
		{Name: "privileges", Args: "privileges"},
		{Name: "setuid binaries", Args: "setuid"},
		{Name: "TIOCSTI", Args: "terminal"},
		{Name: "mknod", Args: "mknod"},
		{Name: "fifo, socket, sparse 1 EiB file as output", Args: "outputs"},
		{Name: "core dump", Args: "core", Is: sandbox.ErrExit, Says: "SIGABRT"},
		{Name: "cgroup files", Args: "cgroup"},
		{Name: "real-time priority", Args: "priority"},
		{Name: "settimeofday", Args: "set-clock"},
		{Name: "kernel log", Args: "kernel-log"},
		{Name: "machine", Args: "machine"},
		{Name: "/proc and /sys", Args: "read /proc /proc/self /proc/1 /proc/kcore /proc/keys /sys /sys/kernel /sys/fs/cgroup /sys/devices"},
		{Name: "devices", Args: "read /dev/mem /dev/kmem /dev/port /dev/sda /dev/vda /dev/fuse /dev/kvm"},
		{Name: "never reading stdin", Args: "sleep 1h", Is: sandbox.ErrLimit, Says: "guest wall clock limit: 300ms", Limits: sandbox.Limits{Wall: 300 * time.Millisecond}, Stdin: strings.Repeat("x", 4<<20)},
		{Name: "stopping itself", Args: "stop", Is: sandbox.ErrLimit, Says: "guest wall clock limit: 300ms", Limits: sandbox.Limits{Wall: 300 * time.Millisecond}},
		{Name: "1 TB of stdout", Args: "out 1000000", Is: sandbox.ErrLimit, Says: "guest output limit: more than 3 MiB", Limits: sandbox.Limits{Output: 3 << 20}},
		{Name: "1 TB of stderr", Args: "err 1000000", Is: sandbox.ErrLimit, Says: "guest wall clock limit: 500ms", Limits: sandbox.Limits{Wall: 500 * time.Millisecond}},
	}
})
