package sandbox

import (
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// A spawner is a thread that may do what guests may do and nothing more: what it starts inherits that.
// Between fork and exec no code of ours can run, so the fence stands around the thread that forks.
type spawner struct {
	orders chan order
}

type order struct {
	path    string
	args    []string
	attr    *syscall.ProcAttr
	started chan<- started
}

type started struct {
	pid int
	err error
}

// open starts the thread and fences it in.
func (s *spawner) open(p *plan) error {
	s.orders = make(chan order)
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := fence(p)
		ready <- err
		if err != nil {
			return
		}
		for o := range s.orders {
			// A child starts with the score of its parent: the kernel kills it before us when memory runs out.
			setScore(p, "1000")
			pid, err := syscall.ForkExec(o.path, o.args, o.attr)
			setScore(p, "0")
			o.started <- started{pid, err}
		}
	}()
	return <-ready
}

func fence(p *plan) error {
	if p.has(Landlock) {
		if err := restrict(oneThread, p.guestRules()); err != nil {
			return landlockError(err)
		}
	}
	if err := passNoCaps(); err != nil {
		return err
	}
	if p.has(Seccomp) {
		if err := confine(roleGuest, false); err != nil {
			return seccompError(err)
		}
	}
	return nil
}

// spawn starts a program and returns its process id.
func (s *spawner) spawn(path string, args []string, attr *syscall.ProcAttr) (int, error) {
	answer := make(chan started)
	s.orders <- order{path, args, attr, answer}
	a := <-answer
	if a.err != nil {
		return 0, fmt.Errorf("%w: it cannot be executed: %w", ErrModule, a.err)
	}
	return a.pid, nil
}

func (s *spawner) close() { close(s.orders) }

func setScore(p *plan, score string) {
	if p.Score > 0 {
		_, _ = unix.Write(p.Score, []byte(score)) // see build: a kindness
	}
}
