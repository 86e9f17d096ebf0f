package agent

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
)

// InProcess returns a Launcher whose runners are goroutines of this process, without a jail, and whose program is j. It is for
// tests and debuggers.
func InProcess(j *job.Job) Launcher {
	return func(ctx context.Context, socket, memory *os.File) (Process, error) {
		fd, err := unix.FcntlInt(socket.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		mem, err := runner.MapMemory(memory)
		if err != nil {
			_ = unix.Close(fd)
			return nil, err
		}
		conn, err := runner.NewConn(os.NewFile(uintptr(fd), "agent"))
		if err != nil {
			return nil, errors.Join(err, mem.Close())
		}
		p := &goroutine{conn: conn, done: make(chan struct{})}
		go func() {
			defer close(p.done)
			err := runner.Serve(ctx, p.conn, mem, j)
			if err == nil {
				err = p.conn.Close()
			} else {
				_ = p.conn.Close()
			}
			if err != nil {
				p.text = err.Error()
			}
			_ = mem.Close()
		}()
		return p, nil
	}
}

// A goroutine is a runner in this process. It ends by itself when its agent hangs up; a mapper in an endless loop cannot be killed.
type goroutine struct {
	conn *runner.Conn
	done chan struct{}
	text string
}

// Kill hangs up.
func (p *goroutine) Kill() { p.conn.Hang() }

// Wait waits for the goroutine.
func (p *goroutine) Wait() Exit {
	<-p.done
	return Exit{Text: p.text}
}
