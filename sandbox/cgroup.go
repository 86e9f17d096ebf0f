package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where control groups are mounted.
const cgroupRoot = "/sys/fs/cgroup"

// A cgroup holds the memory and the number of processes of one jail. It lies below the cgroup of this process where that is possible, so
// that limits set on us from above hold for it as well. Version 1 needs a directory in each of two hierarchies, version 2 one.
type cgroup struct {
	version int
	memory  string   // directory that holds memory
	dirs    []string // all of them
	fd      *os.File // version 2: the directory
}

// newCgroup makes a cgroup, after it has removed those that dead processes left behind.
func newCgroup(memory int64, pids int) (*cgroup, error) {
	own, err := ownCgroups()
	if err != nil {
		return nil, err
	}
	name := cgroupName(os.Getpid(), time.Now().UnixNano())
	if _, ok := own["memory"]; ok {
		return newCgroup1(own, name, memory, pids)
	}
	return newCgroup2(own, name, memory, pids)
}

// ownCgroups returns the path of this process's cgroup in each hierarchy of version 1 by controller, and that of version 2 under "".
func ownCgroups() (map[string]string, error) {
	f, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	own := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		_, rest, _ := strings.Cut(s.Text(), ":")
		controllers, path, ok := strings.Cut(rest, ":")
		if !ok || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "/..") {
			continue
		}
		for _, c := range strings.Split(controllers, ",") {
			own[c] = path
		}
	}
	return own, nil
}

// name returns the name of the group within its parent.
func (g *cgroup) name() string { return filepath.Base(g.memory) }

// The name of a cgroup carries who made it: millrace-PID-STARTTIME-NUMBER.
const cgroupPrefix = "millrace-"

func cgroupName(pid int, n int64) string {
	return fmt.Sprintf("%s%d-%d-%d", cgroupPrefix, pid, startTime(pid), n)
}

// startTime returns when a process started, in ticks since boot, 0 if there is no such process.
func startTime(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 20 {
		return 0
	}
	n, err := strconv.ParseInt(f[19], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// sweep removes the cgroups in dir whose makers are dead, with whatever runs in them.
func sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), cgroupPrefix)
		f := strings.Split(rest, "-")
		if !ok || len(f) != 3 {
			continue
		}
		pid, err1 := strconv.Atoi(f[0])
		start, err2 := strconv.ParseInt(f[1], 10, 64)
		if err1 != nil || err2 != nil || startTime(pid) == start {
			continue
		}
		g := &cgroup{dirs: []string{filepath.Join(dir, e.Name())}}
		g.kill()
		g.remove()
	}
}

// place makes a child start in the group, for version 2.
func (g *cgroup) place(attr *syscall.SysProcAttr) {
	if g.fd != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(g.fd.Fd())
	}
}

// around calls start so that the child which that starts is in the group from its beginning. For version 1, the thread goes there, and comes
// back: to move a process, the kernel would have to stop all others from starting and ending. The thread must be one of [onOwnThread].
func (g *cgroup) around(start func() error) error {
	if g.fd != nil {
		return start()
	}
	move := func(dir string) error {
		if err := writeFile(filepath.Join(dir, "tasks"), "0"); err != nil {
			return cgroupError(err)
		}
		return nil
	}
	var err error
	for _, dir := range g.dirs {
		err = firstError(err, move(dir))
	}
	if err == nil {
		err = start()
	}
	for _, dir := range g.dirs {
		err = firstError(err, move(filepath.Dir(dir))) // that of this process
	}
	return err
}

// kill ends every process in the group.
func (g *cgroup) kill() {
	for _, dir := range g.dirs {
		if writeFile(filepath.Join(dir, "cgroup.kill"), "1") == nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue
		}
		for _, line := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(line); err == nil && pid > 1 && pid != os.Getpid() {
				_ = unix.Kill(pid, unix.SIGKILL) // may be gone
			}
		}
	}
}

// remove removes the group. Killed processes need a moment to leave it.
func (g *cgroup) remove() {
	if g.fd != nil {
		g.fd.Close()
	}
	for _, dir := range g.dirs {
		for range 200 {
			if err := os.Remove(dir); err == nil || !errors.Is(err, unix.EBUSY) {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// eventsFile returns the name of the file that counts OOM kills.
func (g *cgroup) eventsFile() string {
	if g.version == 1 {
		return filepath.Join(g.memory, "memory.oom_control")
	}
	return filepath.Join(g.memory, "memory.events")
}

// events opens the file that counts OOM kills.
func (g *cgroup) events() (*os.File, error) { return os.Open(g.eventsFile()) }

// oomKills returns how many processes the kernel has killed for memory.
func (g *cgroup) oomKills() int64 {
	b, err := os.ReadFile(g.eventsFile())
	if err != nil {
		return 0
	}
	return parseOOMKills(string(b))
}

// parseOOMKills finds the count in memory.events or memory.oom_control.
func parseOOMKills(text string) int64 {
	for line := range strings.Lines(text) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name == "oom_kill" {
			n, err := strconv.ParseInt(value, 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// current and peak return bytes of memory, 0 if unknown.
func (g *cgroup) current() int64 { return g.number("memory.usage_in_bytes", "memory.current") }
func (g *cgroup) peak() int64    { return g.number("memory.max_usage_in_bytes", "memory.peak") }

func (g *cgroup) number(v1, v2 string) int64 {
	name := v2
	if g.version == 1 {
		name = v1
	}
	b, err := os.ReadFile(filepath.Join(g.memory, name))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// writeFile writes to a control file that exists.
func writeFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return firstError(err, f.Close())
}

func cgroupError(err error) error {
	return &LayerError{Layer: Cgroup, Cause: err,
		Fix: "run as root, or in a delegated cgroup: systemd-run --scope -p Delegate=yes, Delegate=yes in the unit; in a container, mount /sys/fs/cgroup writable"}
}
