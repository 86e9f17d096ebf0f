package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// startTimeout bounds the time from a child's start to its answer that the jail is complete.
const startTimeout = 20 * time.Second

// maxStderr bounds what is kept of a child's stderr.
const maxStderr = 4 << 10

// A Process is a jailed child. Its methods may be called concurrently.
type Process struct {
	cmd    *exec.Cmd
	group  *cgroup // nil: none
	stderr *lockedTail
	temp   []string // directories that go with it
	exit   Exit
	done   chan struct{} // closed when exit is set
}

// An Exit says how a jailed child ended.
type Exit struct {
	Code       int            // -1 if a signal ended it
	Signal     syscall.Signal // 0 if it exited
	OOM        bool           // the kernel killed something in it for memory
	User       time.Duration  // CPU, of the child and the descendants that it waited for
	System     time.Duration
	PeakMemory int64  // bytes: resident, of its largest process; of all processes where a cgroup counts them
	Stderr     string // the end of what it printed, at most 4 KiB
}

func (e Exit) String() string {
	s := fmt.Sprintf("exited %d", e.Code)
	if e.Signal != 0 {
		s = "killed by " + e.Signal.String()
	}
	if e.OOM {
		s += " (out of memory)"
	}
	return s
}

// Start runs this executable again as a jailed child and returns when its jail is complete: [Enter] has returned nil there. The
// child dies with its parent, and everything it started dies with it. A layer that this machine does not give and that cfg does not give
// up is a [LayerError]. The caller keeps cfg.Files and may close them after Start; it must call [Process.Wait].
func Start(cfg *Config) (*Process, error) { return start(cfg, nil) }

// start is Start. Look, if not nil, is called with the child's process id when its namespaces are there and it waits for its plan.
func start(cfg *Config, look func(pid int)) (*Process, error) {
	p := &Process{stderr: &lockedTail{log: logTail{max: maxStderr}}, done: make(chan struct{})}
	l, err := newLaunch(cfg)
	if err != nil {
		return nil, err
	}
	defer l.close()
	p.group, p.temp = l.group, l.temp
	p.cmd = l.command(p.stderr)

	started := make(chan error)
	onOwnThread(func() { // it stays until the child is gone, which is killed when the thread that started it ends
		err := p.start()
		started <- err
		if err == nil {
			p.wait()
		}
	})
	if err := <-started; err != nil {
		p.cleanUp()
		return nil, l.explain(err)
	}
	if look != nil {
		look(p.cmd.Process.Pid)
	}
	if err := l.introduce(); err != nil {
		p.Kill()
		exit := p.Wait()
		var layer *LayerError
		if !errors.As(err, &layer) {
			err = fmt.Errorf("jail: %w; child %v: %s", err, exit, excerpt(exit.Stderr))
		}
		return nil, err
	}
	return p, nil
}

// start starts the child in its cgroup.
func (p *Process) start() error {
	if p.group == nil {
		return p.cmd.Start()
	}
	err := p.group.around(p.cmd.Start)
	if err != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Kill() // it can only be gone
		_ = p.cmd.Wait()
	}
	return err
}

// introduce tells the child its plan and waits for its answer.
func (l *launch) introduce() error {
	l.childIn.Close()
	l.childOut.Close()
	b, err := json.Marshal(&l.plan)
	if err != nil {
		return err
	}
	if _, err := l.planOut.Write(b); err != nil {
		return fmt.Errorf("tell the child its plan: %w", err)
	}
	l.planOut.Close()
	if err := l.replyIn.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		return err
	}
	return readReply(l.replyIn)
}

// Pid returns the process id as the host sees it.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Kill ends the child and everything it started, at once. It may be called again and after the end.
func (p *Process) Kill() {
	if p.group != nil {
		p.group.kill()
	}
	_ = p.cmd.Process.Kill() // only fails when it is gone already
}

// Wait returns when the child has ended and nothing is left of it. It may be called more than once.
func (p *Process) Wait() Exit {
	<-p.done
	return p.exit
}

func (p *Process) wait() {
	_ = p.cmd.Wait() // what it says is in the state
	if p.group != nil {
		p.group.kill()
		p.exit.OOM = p.group.oomKills() > 0
		p.exit.PeakMemory = p.group.peak()
	}
	if s := p.cmd.ProcessState; s != nil {
		p.exit.Code, p.exit.User, p.exit.System = s.ExitCode(), s.UserTime(), s.SystemTime()
		if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
			p.exit.Signal = w.Signal()
		}
		if u, ok := s.SysUsage().(*syscall.Rusage); ok {
			p.exit.PeakMemory = max(p.exit.PeakMemory, u.Maxrss<<10)
		}
	}
	p.exit.Stderr = p.stderr.String()
	p.cleanUp()
	close(p.done)
}

func (p *Process) cleanUp() {
	if p.group != nil {
		p.group.remove()
	}
	for _, dir := range p.temp {
		os.RemoveAll(dir)
	}
}

// A lockedTail is a logTail for two goroutines.
type lockedTail struct {
	mu  sync.Mutex
	log logTail
}

var _ io.Writer = (*lockedTail)(nil)

func (t *lockedTail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.log.Write(p)
}

func (t *lockedTail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.log.String()
}
