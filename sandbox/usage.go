package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Usage is what a jailed child takes at a moment.
type Usage struct {
	CPU    time.Duration // of the child and the descendants that it waited for
	Memory int64         // bytes: of all processes where a cgroup counts them, else resident in the child
}

// clockTick is the unit of CPU time in /proc, the same on all Linux machines that Go runs on.
const clockTick = 10 * time.Millisecond

// Usage returns what the child takes now. It fails when the child is gone.
func (p *Process) Usage() (Usage, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		return Usage{}, err
	}
	u, err := parseStat(string(b))
	if err == nil && p.group != nil {
		if n := p.group.current(); n > 0 {
			u.Memory = n
		}
	}
	return u, err
}

// parseStat reads a line of /proc/PID/stat, see proc(5).
func parseStat(line string) (Usage, error) {
	_, rest, ok := strings.Cut(line, ") ") // the name may hold spaces, not this: it is ours
	f := strings.Fields(rest)
	if !ok || len(f) < 22 {
		return Usage{}, errors.New("/proc/PID/stat: too short")
	}
	var u Usage
	for _, i := range []int{11, 12, 13, 14} { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		u.CPU += time.Duration(n) * clockTick
	}
	pages, err := strconv.ParseInt(f[21], 10, 64)
	if err != nil {
		return Usage{}, fmt.Errorf("/proc/PID/stat: %w", err)
	}
	u.Memory = pages * int64(os.Getpagesize())
	return u, nil
}
