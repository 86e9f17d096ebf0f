package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// childName is argv[0] of a jailed child; [IsChild] knows it by that.
const childName = "millrace-jail"

// childEnv speeds the start up and keeps the runtime from opening files of its cgroup, which would stay open in the jail. Enter undoes it.
var childEnv = []string{"GOGC=off", "GODEBUG=containermaxprocs=0,updatemaxprocs=0"}

// Host ids of jailed processes started by root: a range that no distribution gives to people or services. A process tree has two
// of them, and trees that live at the same time have different ones, as far as the range goes.
const (
	firstID = 0x6d000000
	idPairs = 1 << 20
)

// A launch is what Start needs once.
type launch struct {
	cfg   *Config
	plan  plan
	group *cgroup
	temp  []string
	root  bool     // started by root: there are ids to give away
	path  string   // of this executable
	exe   *os.File // its copy, if it needs one

	childIn, planOut  *os.File // the child's stdin
	replyIn, childOut *os.File // its stdout, until the jail is complete
	events            *os.File // the cgroup's count of OOM kills
}

func newLaunch(cfg *Config) (l *launch, err error) {
	l = &launch{cfg: cfg, root: os.Geteuid() == 0}
	defer func() {
		if err != nil {
			l.close()
			if l.group != nil {
				l.group.remove()
			}
			for _, dir := range l.temp {
				os.RemoveAll(dir)
			}
		}
	}()
	l.plan = plan{
		Native: cfg.Native, Insecure: cfg.Insecure, Files: len(cfg.Files),
		Memory: cfg.Memory, Pids: cfg.Pids, FileSize: cfg.FileSize, WorkBytes: cfg.WorkBytes, WorkFiles: cfg.WorkFiles,
		Work: workDir, Program: programDir, Channels: cfg.Channels,
	}
	for _, d := range []struct {
		n        *int64
		standard int64
	}{{&l.plan.Memory, defaultJailMemory}, {&l.plan.WorkBytes, defaultWorkBytes}} {
		if *d.n <= 0 {
			*d.n = d.standard
		}
	}
	if l.plan.Pids <= 0 {
		l.plan.Pids = defaultPids
	}
	if l.plan.WorkFiles <= 0 {
		l.plan.WorkFiles = defaultWorkFiles
	}
	if cfg.Native && l.plan.has(UID) && !l.root {
		return l, &LayerError{Layer: UID, Cause: errors.New("only root can give native guests a uid of their own"), Fix: "run as root, or use wasm"}
	}
	if len(cfg.Channels) > 0 && (!cfg.Native || !l.plan.has(UserNS)) {
		return l, errors.New("channels of native guests are files of a root of their own: they need the layer userns")
	}
	if l.plan.has(Cgroup) {
		l.group, err = newCgroup(l.plan.Memory, l.plan.Pids)
		switch {
		case err == nil:
			l.plan.Capped = true
		case cfg.Native:
			return l, cgroupError(err)
		}
	}
	if l.path, l.exe, err = executable(); err != nil {
		return l, err
	}
	if l.plan.Dynamic, err = dynamic(); err != nil {
		return l, err
	}
	if l.childIn, l.planOut, err = os.Pipe(); err != nil {
		return l, err
	}
	if l.replyIn, l.childOut, err = os.Pipe(); err != nil {
		return l, err
	}
	if l.group != nil && cfg.Native {
		if l.events, err = l.group.events(); err != nil {
			return l, cgroupError(err)
		}
		l.plan.Events = 3 + len(cfg.Files)
	}
	return l, l.identify()
}

// identify settles the ids and, where the jail has no file system of its own, the directories of a native guest.
func (l *launch) identify() error {
	if l.plan.has(UserNS) {
		l.plan.Runner, l.plan.Guest = 0, 0
		if l.plan.has(UID) && l.root {
			l.plan.Guest = 1
		}
		return nil
	}
	l.plan.Runner, l.plan.Guest = os.Geteuid(), os.Geteuid()
	if l.root {
		id := hostID()
		l.plan.Switch, l.plan.Runner, l.plan.Guest = true, id, id
		if l.plan.has(UID) {
			l.plan.Guest = id + 1
		}
	}
	if !l.cfg.Native {
		return nil
	}
	for _, d := range []struct {
		path  *string
		owner int
	}{{&l.plan.Work, l.plan.Guest}, {&l.plan.Program, l.plan.Runner}} {
		dir, err := os.MkdirTemp("", "millrace-jail-")
		if err != nil {
			return err
		}
		l.temp = append(l.temp, dir)
		*d.path = dir
		if err := firstError(os.Chown(dir, d.owner, d.owner), os.Chmod(dir, 0o755)); err != nil {
			return err
		}
	}
	return nil
}

// hostID returns the first of two ids for a new tree. Time tells trees of one process apart, whatever process asks.
func hostID() int {
	n := uint64(os.Getpid())*2654435761 + uint64(time.Now().UnixNano())/1000
	return firstID + 2*int(n%idPairs)
}

func (l *launch) command(stderr io.Writer) *exec.Cmd {
	cmd := &exec.Cmd{
		Path:       l.path,
		Args:       append([]string{childName}, l.cfg.Args...),
		Env:        childEnv,
		Dir:        "/",
		Stdin:      l.childIn,
		Stdout:     l.childOut,
		Stderr:     stderr,
		ExtraFiles: l.cfg.Files,
		WaitDelay:  2 * time.Second,
		SysProcAttr: &syscall.SysProcAttr{
			Setsid:    true,
			Pdeathsig: syscall.SIGKILL,
		},
	}
	if l.events != nil {
		cmd.ExtraFiles = append(append([]*os.File{}, l.cfg.Files...), l.events)
	}
	if l.group != nil {
		l.group.place(cmd.SysProcAttr)
	}
	if !l.plan.has(UserNS) {
		return cmd
	}
	attr := cmd.SysProcAttr
	attr.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS |
		unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP
	if !l.root {
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
		return cmd
	}
	id := hostID()
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 2}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 2}}
	attr.GidMappingsEnableSetgroups = true
	attr.Credential = &syscall.Credential{Uid: 0, Gid: 0, Groups: []uint32{}}
	return cmd
}

// explain names the layer behind an error of the start itself.
func (l *launch) explain(err error) error {
	if errors.Is(err, ErrLayer) {
		return err
	}
	if !l.plan.has(UserNS) {
		return fmt.Errorf("start a jailed child: %w", err)
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EUSERS) {
		return namespaceError(err)
	}
	return fmt.Errorf("start a jailed child: %w", err)
}

func (l *launch) close() {
	for _, f := range []*os.File{l.exe, l.childIn, l.planOut, l.replyIn, l.childOut, l.events} {
		if f != nil {
			f.Close()
		}
	}
}
