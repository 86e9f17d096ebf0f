package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/runner"
)

// A Pool starts runners, and keeps some that have no program yet, so that a job need not wait until their jails are built.
// Its methods may be called concurrently.
type Pool struct {
	launcher Launcher
	ctx      context.Context // of runners in process
	stop     context.CancelFunc

	mu   sync.Mutex
	idle []<-chan started // runners that are ready, or nearly
}

type started struct {
	link    *link
	err     error
	mapOnly bool // the program has nothing to reduce
}

// NewPool returns an empty pool whose runners are started by l.
func NewPool(l Launcher) *Pool {
	ctx, stop := context.WithCancel(context.Background())
	return &Pool{launcher: l, ctx: ctx, stop: stop}
}

// Fill starts runners, in the background, until n stand ready.
func (p *Pool) Fill(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) < n {
		c := make(chan started, 1)
		go func() {
			l, err := p.launch()
			c <- started{link: l, err: err}
		}()
		p.idle = append(p.idle, c)
	}
}

// take returns the runner that has been ready longest, or a new one if there is none. It is the caller's.
func (p *Pool) take() (*link, error) {
	p.mu.Lock()
	var c <-chan started
	if len(p.idle) > 0 {
		c, p.idle = p.idle[0], p.idle[1:]
	}
	p.mu.Unlock()
	if c == nil {
		return p.launch()
	}
	s := <-c
	return s.link, s.err
}

// compileTime bounds the compilation of a module.
const compileTime = 2 * time.Minute

// Compile compiles a WebAssembly module in a runner of its own, for the Code of a [Job]. What it returns is a file in memory that nobody can
// change any more; the caller closes it.
func (p *Pool) Compile(ctx context.Context, code *os.File) (compiled *os.File, err error) {
	ctx, stop := context.WithTimeoutCause(ctx, compileTime, fmt.Errorf("the compilation took more than %v", compileTime))
	defer stop()
	err = insist(ctx, func() error {
		compiled, err = p.compile(ctx, code)
		return err
	})
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return compiled, err
}

func (p *Pool) compile(ctx context.Context, code *os.File) (*os.File, error) {
	l, err := p.take()
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.close() }() // what it was for is done
	defer context.AfterFunc(ctx, l.hang)()
	compiled, err := runner.Compile(l.conn, code)
	if err == nil {
		return compiled, nil
	}
	if err = l.died(err); errors.Is(err, errDied) && l.exit().OOM {
		return nil, runner.Refusal("its compilation takes more memory than a runner may have")
	}
	return nil, err
}

// Close ends the runners that nobody took.
func (p *Pool) Close() error {
	p.stop()
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	var err error
	for _, c := range idle {
		if s := <-c; s.link != nil {
			err = errors.Join(err, s.link.close())
		}
	}
	return err
}

// launch starts a runner that has not been told of a job.
func (p *Pool) launch() (*link, error) {
	mem, memFile, err := runner.NewMemory()
	if err != nil {
		return nil, err
	}
	defer memFile.Close()
	ours, theirs, err := runner.Pair()
	if err != nil {
		return nil, errors.Join(err, mem.Close())
	}
	defer theirs.Close() // so that its death is the end of the stream
	proc, err := p.launcher(p.ctx, theirs, memFile)
	if err != nil {
		return nil, errors.Join(err, ours.Close(), mem.Close())
	}
	conn, err := runner.NewConn(ours)
	if err != nil {
		proc.Kill()
		proc.Wait()
		return nil, errors.Join(err, mem.Close())
	}
	l := &link{
		conn: conn, mem: mem, proc: proc,
		free: make(chan uint32, runner.Slabs), stop: make(chan struct{}), exit: sync.OnceValue(proc.Wait),
	}
	l.closed = sync.OnceValue(l.end)
	for i := range uint32(runner.Slabs) {
		l.free <- i
	}
	return l, nil
}
