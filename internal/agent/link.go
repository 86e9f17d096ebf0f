package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/sandbox"
)

// A Process is a runner as its agent sees it.
type Process interface {
	// Kill ends it at once, with all that it started.
	Kill()
	// Wait waits for its end and says how it came.
	Wait() Exit
}

// An Exit is how a runner ended.
type Exit struct {
	OOM  bool   // it ran out of the memory given to it
	Text string // for people: "killed", "exited 2: …"
}

// A Launcher starts a runner at the other ends of a socket and of a memory, which stay the caller's.
type Launcher func(ctx context.Context, socket, memory *os.File) (Process, error)

// A link is a runner that is ready for attempts.
type link struct {
	conn  *runner.Conn
	mem   *runner.Memory
	proc  Process
	ready runner.Ready
	free  chan uint32               // slabs that are ours and unused
	lent  [runner.Slabs]atomic.Bool // those that are the runner's
	dead  bool                      // it can serve no further attempt

	killed atomic.Pointer[string] // why the agent killed it
	stop   chan struct{}          // ends the watch
	wg     sync.WaitGroup
	exit   func() Exit // waits once
	closed func() error
}

// errDied says that a runner ended in the middle of an attempt.
var errDied = errors.New("runner died")

// launches is how often a runner that dies before it is ready is replaced.
const launches = 8

// insist calls f until it has another error than that its runner died before it was ready.
func insist(ctx context.Context, f func() error) (err error) {
	for range launches {
		err = f()
		var refused runner.Refusal
		var missing *sandbox.LayerError
		if err == nil || ctx.Err() != nil || errors.As(err, &refused) || errors.As(err, &missing) {
			return err
		}
	}
	return err
}

// start has a runner load the program, and another one if that dies before it is ready.
func (a *Agent) start(ctx context.Context, h *runner.Hello, code *os.File) (l *link, err error) {
	return a.job.Pool.start(ctx, h, code)
}

func (p *Pool) start(ctx context.Context, h *runner.Hello, code *os.File) (l *link, err error) {
	err = insist(ctx, func() error {
		l, err = p.load(ctx, h, code)
		return err
	})
	return l, err
}

// load takes a runner and makes it load a program.
func (p *Pool) load(ctx context.Context, h *runner.Hello, code *os.File) (*link, error) {
	l, err := p.take()
	if err != nil {
		return nil, err
	}
	interrupt := context.AfterFunc(ctx, l.hang)
	defer interrupt()
	if err := l.greet(h, code); err != nil {
		return nil, errors.Join(err, l.close())
	}
	l.wg.Add(1)
	go l.watch(h.Limits.Wall)
	return l, nil
}

func (l *link) greet(h *runner.Hello, code *os.File) error {
	var files []*os.File
	if code != nil {
		files = append(files, code)
	}
	if err := l.conn.SendJSON(runner.KindHello, h, files...); err != nil {
		return l.died(err)
	}
	k, payload, file, err := l.conn.Recv()
	if file != nil {
		_ = file.Close()
	}
	switch {
	case err != nil:
		return l.died(err)
	case k == runner.KindAbort:
		return runner.Refusal(payload)
	case k != runner.KindReady:
		return fmt.Errorf("%w: frame %c after a hello", runner.ErrProtocol, k)
	}
	return json.Unmarshal(payload, &l.ready)
}

// died explains the end of the stream by the end of the process.
func (l *link) died(err error) error {
	if err != io.EOF && !errors.Is(err, os.ErrClosed) && !errors.Is(err, errPipe) {
		return err
	}
	l.proc.Kill()
	x := l.exit()
	return fmt.Errorf("%w: %s", errDied, x.Text)
}

// back takes back a slab that was lent, and reports false if it was not.
func (l *link) back(slab uint32) bool {
	if !l.lent[slab].Swap(false) {
		return false
	}
	l.free <- slab // there is room: each slab is in one place
	return true
}

// kill ends the runner for a reason that its death will be explained by.
func (l *link) kill(reason string) {
	l.killed.CompareAndSwap(nil, &reason)
	l.proc.Kill()
}

// hang ends the conversation: the attempt under way fails and the runner goes.
func (l *link) hang() {
	l.conn.Hang()
}

// close ends the runner and releases everything.
func (l *link) close() error { return l.closed() }

func (l *link) end() error {
	l.hang()
	close(l.stop)
	l.wg.Wait()
	l.proc.Kill()
	l.exit()
	return errors.Join(l.conn.Close(), l.mem.Close())
}

// grace is how much longer than its limit an object may take before the runner is killed from outside: engines that can
// end a guest by themselves do it within that time, and keep the runner.
const grace = 250 * time.Millisecond

// defaultWall bounds the time of one object where the job does not.
const defaultWall = 60 * time.Second

// watch kills the runner when one object takes too long.
func (l *link) watch(wall time.Duration) {
	defer l.wg.Done()
	if wall == 0 {
		wall = defaultWall
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	st := l.mem.Status()
	seen, since := st.Started.Load(), time.Now()
	for {
		select {
		case <-l.stop:
			return
		case now := <-tick.C:
			n := st.Started.Load()
			if n != seen || st.Current.Load() == 0 {
				seen, since = n, now
			}
			if now.Sub(since) > wall+grace {
				l.kill(fmt.Sprintf("guest wall clock limit: %v", wall))
			}
		}
	}
}
