package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// build adds layers from the outermost to the innermost, each needs what the next takes away. If it can put only one thread into the
// jail, it ends in executing this program again.
func (p *plan) build() error {
	// Each thread that is asked gets a Landlock domain of its own, and only one that is above that of a guest may signal it: runners of
	// native guests take the other way.
	on, all := allThreads, !p.Native && canAskAll() && gainNoPrivileges(allThreads) == nil
	if all {
		if err := closeInherited(p.inherited()); err != nil {
			return fmt.Errorf("inherited descriptors: %w", err)
		}
	} else {
		on = oneThread
		runtime.LockOSThread() // for good: this thread is the one that goes into the jail
		if err := gainNoPrivileges(on); err != nil {
			return err
		}
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/null", Err: err}
	}
	self := -1
	if !all {
		if self, err = unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
			return &os.PathError{Op: "open", Path: "/proc/self/exe", Err: err}
		}
	}
	score := -1
	if p.Native {
		// It prefers guests over us when memory runs out. That is a kindness, no layer: without it the jail dies as one.
		if fd, err := unix.Open("/proc/self/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
			score = fd
		}
	}
	if p.has(UserNS) {
		if err := firstError(unix.Sethostname([]byte("jail")), buildRoot(p)); err != nil {
			return namespaceError(err)
		}
	}
	if err := p.limits(); err != nil {
		return err
	}
	if p.Switch {
		if err := become(on, p.Runner); err != nil {
			return err
		}
	}
	caps := uint64(0)
	if p.Native && p.Guest != p.Runner {
		caps = spawnerCaps
	}
	if err := keepCaps(on, caps); err != nil {
		return err
	}
	if p.has(Landlock) {
		rules := p.runnerRules()
		if !all {
			rules = append(rules, landlockRule{fd: self, rights: rightsRun})
		}
		if err := restrict(on, rules); err != nil {
			return landlockError(err)
		}
	}
	if !all {
		return p.again(null, self, score)
	}
	p.Inside, p.Null, p.Score = true, null, max(score, 0)
	return nil
}

// inherited returns the number of the first descriptor that is not inherited on purpose.
func (p *plan) inherited() int {
	n := 3 + p.Files
	if p.Events > 0 {
		n++
	}
	return n
}

// closeInherited closes the descriptors from first on that were inherited. The runtime has opened some of its own by now, which are
// to be closed at the next execution; one that survived an execution is not.
func closeInherited(first int) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < first {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			err = unix.Close(fd)
		}
		if err != nil && !errors.Is(err, unix.EBADF) { // that is the one by which the directory was read
			return err
		}
	}
	return nil
}

// again executes this program once more. What else was inherited, by accident, is closed.
func (p *plan) again(null, self, score int) error {
	inherited := p.inherited()
	p.Inside, p.Null = true, inherited
	if score >= 0 {
		p.Score = inherited + 1
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	if _, err := unix.Write(pipe[1], text); err != nil { // much less than a pipe holds
		return fmt.Errorf("plan: %w", err)
	}
	if err := firstError(unix.Close(pipe[1]), unix.Dup3(pipe[0], 0, 0)); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	// Their numbers may be in use by each other, or by the runtime, which is about to end.
	for _, fd := range []*int{&null, &self, &score} {
		if *fd < 0 {
			continue
		}
		if *fd, err = unix.FcntlInt(uintptr(*fd), unix.F_DUPFD_CLOEXEC, inherited+8); err != nil {
			return fmt.Errorf("descriptors: %w", err)
		}
	}
	if err := unix.CloseRange(uint(inherited), math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("inherited descriptors: %w", err)
	}
	err = unix.Dup3(null, p.Null, 0)
	if p.Score > 0 {
		err = firstError(err, unix.Dup3(score, p.Score, 0))
	}
	if err != nil {
		return fmt.Errorf("descriptors: %w", err)
	}
	return execute(self, os.Args)
}

// execute runs the program that is open as fd in place of this one, with an empty environment.
func execute(fd int, args []string) error {
	argv, err := syscall.SlicePtrFromStrings(args)
	if err != nil {
		return err
	}
	envv := []*byte{nil}
	empty := []byte{0}
	_, _, errno := unix.Syscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envv[0])), unix.AT_EMPTY_PATH, 0)
	return fmt.Errorf("execute the jailed program: %w", errno)
}

// limits sets the resource limits of the process and of all that it starts.
func (p *plan) limits() error {
	set := func(resource int, n uint64) error {
		return unix.Setrlimit(resource, &unix.Rlimit{Cur: n, Max: n})
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("limit of descriptors: %w", err)
	}
	const most = 1 << 16
	err := firstError(set(unix.RLIMIT_CORE, 0), set(unix.RLIMIT_NOFILE, min(files.Max, most)), set(unix.RLIMIT_MEMLOCK, 0),
		set(unix.RLIMIT_MSGQUEUE, 0), set(unix.RLIMIT_RTPRIO, 0))
	if p.FileSize > 0 {
		err = firstError(err, set(unix.RLIMIT_FSIZE, uint64(p.FileSize)))
	}
	if p.Native && p.has(UserNS) {
		err = firstError(err, set(unix.RLIMIT_NPROC, uint64(p.Pids)))
	}
	if !p.Capped {
		// The runtime, its code and what it reserves come on top of what the guest may have.
		const own = 256 << 20
		err = firstError(err, set(unix.RLIMIT_DATA, uint64(min(p.Memory, math.MaxInt64-own)+own)))
	}
	if err != nil {
		return fmt.Errorf("resource limits: %w", err)
	}
	return nil
}

// runnerRules are the files that Landlock leaves the runner.
func (p *plan) runnerRules() []landlockRule {
	switch {
	case p.Native:
		rules := append(p.guestRules(), landlockRule{path: p.Program, rights: rightsWork})
		if len(p.Channels) > 0 {
			rules = append(rules, landlockRule{path: readDir, rights: rightsDevice})
		}
		return rules
	case p.Dynamic:
		return systemRules()
	}
	return nil
}

// guestRules are the files that Landlock leaves a native guest.
func (p *plan) guestRules() []landlockRule {
	rules := append(systemRules(), landlockRule{path: p.Work, rights: rightsWork}, landlockRule{path: p.Program, rights: rightsRun})
	for _, dev := range devices {
		rules = append(rules, landlockRule{path: dev, rights: rightsDevice})
	}
	if len(p.Channels) > 0 {
		rules = append(rules, landlockRule{path: readDir, rights: rightsRead}, landlockRule{path: writeDir, rights: rightsRead | rightsDevice})
	}
	return rules
}

func systemRules() []landlockRule {
	var rules []landlockRule
	for _, dir := range systemDirs {
		if resolved, err := filepath.EvalSymlinks(dir); err == nil {
			rules = append(rules, landlockRule{path: resolved, rights: rightsRun})
		}
	}
	return rules
}
