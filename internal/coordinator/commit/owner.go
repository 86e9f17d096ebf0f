package commit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// An Owner identifies a process, among all hosts and times.
type Owner struct {
	Host  string `json:"host"`
	Boot  string `json:"boot"` // of the kernel, from /proc
	PIDs  string `json:"pids"` // the namespace of process ids: containers of one host differ in it
	PID   int    `json:"pid"`
	Start string `json:"start"` // of the process, in ticks since boot
}

func (w Owner) String() string { return fmt.Sprintf("process %d on %s", w.PID, w.Host) }

// Self returns this process.
func Self() (Owner, error) {
	host, err := os.Hostname()
	if err != nil {
		return Owner{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Owner{}, err
	}
	pids, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return Owner{}, err
	}
	w := Owner{Host: host, Boot: strings.TrimSpace(string(boot)), PIDs: pids, PID: os.Getpid()}
	w.Start, _, err = process(w.PID)
	return w, err
}

// dead reports whether other is gone, as far as a process on this host can know.
func (w Owner) dead(other Owner) (dead, known bool) {
	if other.Host != w.Host || other.Boot != w.Boot || other.PIDs != w.PIDs || other.PID <= 0 {
		return false, false
	}
	start, zombie, err := process(other.PID)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, true
	case err != nil:
		return false, false
	}
	return zombie || start != other.Start, true
}

// process returns when a process of this host started, and whether it has ended but is still listed.
func process(pid int) (start string, zombie bool, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", false, err
	}
	// The name, in parentheses, may hold anything; what follows it is field 3.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return "", false, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	return fields[19], fields[0] == "Z" || fields[0] == "X", nil
}
