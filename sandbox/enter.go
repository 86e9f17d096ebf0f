package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// jail is what Enter has built around this process; nil outside. It is set once: there is no way back out.
var jail atomic.Pointer[plan]

// IsChild reports whether this process was started by [Start]. The first thing that main (or TestMain) does is
//
//	if sandbox.IsChild() {
//		if err := sandbox.Enter(); err != nil {
//			os.Exit(1) // Start has the error
//		}
//		os.Exit(serve(os.Args[1:]))
//	}
func IsChild() bool { return len(os.Args) > 0 && os.Args[0] == childName }

// Enter closes the jail around this process, all of its threads, for good. When it returns, [Start] does, with nil or with the
// same error. Call it before anything that comes from outside is read. Afterwards stdin and stdout are /dev/null, descriptors from 3 on are
// the Files of the Config, and all others are closed.
//
// Much of a jail (Landlock, capabilities) holds for a thread and for what it starts, and a Go program has several threads from its first
// moment. Where all of them can be asked to do the same, Enter does that. With cgo, and for runners of native guests, it builds the jail on
// one thread and executes this very program once more from there: the main function comes here again, inside. What main did before it called
// Enter, it then does twice.
func Enter() error {
	if !IsChild() {
		return errors.New("not started as a jailed child")
	}
	p, err := readPlan()
	if err == nil && !p.Inside {
		err = p.build()
	}
	if err == nil {
		err = p.close()
	}
	b, marshalErr := json.Marshal(replyOf(err))
	if marshalErr != nil {
		return marshalErr
	}
	if err == nil {
		jail.Store(p)
	}
	if _, writeErr := unix.Write(1, b); writeErr != nil {
		return fmt.Errorf("answer: %w", writeErr)
	}
	if err != nil {
		return err
	}
	// What start with them was for is over, and nothing in the jail has an environment.
	os.Clearenv()
	debug.SetGCPercent(100)
	// The pipes to the parent end here: it waits for that.
	return firstError(unix.Dup3(p.Null, 0, 0), unix.Dup3(p.Null, 1, 0), unix.Close(p.Null))
}

// readPlan reads the plan from stdin, without the runtime's poller: there must be no descriptors of it yet.
func readPlan() (*plan, error) {
	var text []byte
	for buf := make([]byte, 4096); ; {
		n, err := unix.Read(0, buf)
		switch {
		case err == unix.EAGAIN:
			_, _ = unix.Poll([]unix.PollFd{{Fd: 0, Events: unix.POLLIN}}, -1) // or read again at once
		case err == unix.EINTR:
		case err != nil:
			return nil, fmt.Errorf("plan: %w", err)
		case n > 0:
			text = append(text, buf[:n]...)
		default:
			p := &plan{}
			if err := json.Unmarshal(text, p); err != nil {
				return nil, fmt.Errorf("plan: %w", err)
			}
			return p, nil
		}
	}
}

// close shuts the process off from the system calls that built the jail.
func (p *plan) close() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("not dumpable: %w", err)
	}
	// Descriptors are for this process, not for what it starts.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("inherited descriptors: %w", err)
	}
	if p.Native {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("subreaper: %w", err)
		}
	}
	if !p.has(Seccomp) {
		return nil
	}
	r := roleEngine
	if p.Native {
		r = roleSpawner
	}
	if err := confine(r, true); err != nil {
		return seccompError(err)
	}
	return nil
}
