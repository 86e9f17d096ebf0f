package local_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/agent"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
)

// A frame is a step of the conversation between an agent and a runner.
type frame struct {
	runner  int  // number of the runner, from 1
	toAgent bool // or to the runner
	kind    runner.Kind
	attempt job.AttemptID // under way; zero: none was begun
	payload []byte
}

// name says what step of which phase it is: "map ← D" is the report of a map attempt.
func (f *frame) name() string {
	phase, arrow := "start", "→"
	switch {
	case f.attempt.Task == "":
	case f.attempt.Try == 0:
		phase = "sample"
	case f.attempt.Task.IsReduce():
		phase = "reduce"
	default:
		phase = "map"
	}
	if f.toAgent {
		arrow = "←"
	}
	return fmt.Sprintf("%s %s %c", phase, arrow, f.kind)
}

// A relay stands between an agent and its runners, and sees each frame before it is passed on.
type relay struct {
	launch agent.Launcher
	// see is told of each frame, one at a time in each direction of a runner. What it does with the runner has happened when it returns.
	see func(f frame, p *relayed)
	n   atomic.Int32 // runners so far
}

// A relayed is a runner behind a relay.
type relayed struct {
	agent.Process
	toAgent, toRunner *runner.Conn
	number            int
	wg                sync.WaitGroup
	mu                sync.Mutex
	attempt           job.AttemptID
	gone              bool // who waits for its end is told at once
}

// start is an agent.Launcher.
func (r *relay) start(ctx context.Context, socket, memory *os.File) (agent.Process, error) {
	fd, err := unix.FcntlInt(socket.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	p := &relayed{number: int(r.n.Add(1))}
	if p.toAgent, err = runner.NewConn(os.NewFile(uintptr(fd), "agent")); err != nil {
		return nil, err
	}
	ours, theirs, err := runner.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	if p.toRunner, err = runner.NewConn(ours); err != nil {
		return nil, err
	}
	if p.Process, err = r.launch(ctx, theirs, memory); err != nil {
		return nil, errors.Join(err, p.toAgent.Close(), p.toRunner.Close())
	}
	p.wg.Go(func() { p.pump(r, p.toAgent, p.toRunner, false) })
	p.wg.Go(func() { p.pump(r, p.toRunner, p.toAgent, true) })
	return p, nil
}

// pump passes frames on until either end is gone.
func (p *relayed) pump(r *relay, from, to *runner.Conn, toAgent bool) {
	defer p.hang()
	for {
		k, payload, file, err := from.Recv()
		if err != nil {
			return
		}
		f := frame{runner: p.number, toAgent: toAgent, kind: k, payload: payload, attempt: p.begun(k, payload)}
		r.see(f, p)
		var files []*os.File
		if file != nil {
			files = append(files, file)
		}
		err = to.Send(k, payload, files...)
		if file != nil {
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			return
		}
	}
}

// begun returns the attempt under way, which a frame may begin.
func (p *relayed) begun(k runner.Kind, payload []byte) job.AttemptID {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k == runner.KindMap || k == runner.KindReduce {
		var m struct{ Attempt job.AttemptID }
		_ = json.Unmarshal(payload, &m) // else it is none
		p.attempt = m.Attempt
	}
	return p.attempt
}

func (p *relayed) hang() {
	p.toAgent.Hang()
	p.toRunner.Hang()
}

// Kill ends the runner at once.
func (p *relayed) Kill() {
	p.Process.Kill()
	p.hang()
}

// Wait waits for the end of the runner, unless that does not end.
func (p *relayed) Wait() agent.Exit {
	p.mu.Lock()
	gone := p.gone
	p.mu.Unlock()
	if gone {
		return agent.Exit{Text: "killed"}
	}
	x := p.Process.Wait()
	p.wg.Wait()
	if err := errors.Join(p.toAgent.Close(), p.toRunner.Close()); err != nil {
		x.Text += err.Error()
	}
	return x
}

// forget has nobody wait for the runner: a goroutine that hangs cannot be killed.
func (p *relayed) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
}
