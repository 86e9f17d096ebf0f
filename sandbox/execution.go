package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An execution is one run of a native guest.
type execution struct {
	guest  *nativeGuest
	limits Limits
	kills  int64 // OOM kills before

	pid    int
	status unix.WaitStatus // of the program itself
	used   cpuTime         // of everything that was reaped
	peak   int64           // bytes, of the largest process
}

func (x *execution) run(ctx context.Context, r *Run) (Report, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	meter := newMeter(&r.Streams, x.limits)
	pipes, err := newPipes(r.Laps != nil)
	if err != nil {
		return Report{}, err
	}
	defer pipes.close()
	channels, err := startRelays(r.Channels, stop)
	if err != nil {
		return Report{}, err
	}
	begin := time.Now()
	if err := x.start(r, pipes); err != nil {
		channels.finish()
		return Report{}, err
	}
	late := context.AfterFunc(ctx, channels.interrupt)
	if r.Laps != nil {
		r.Laps.clock.Store(processClock(x.pid))
	}
	wall := time.AfterFunc(x.limits.Wall, func() {
		stop(timeError("wall clock", x.limits.Wall))
	})
	defer wall.Stop()
	ended := make(chan struct{})
	var background sync.WaitGroup
	background.Go(func() {
		select {
		case <-ctx.Done():
			x.kill()
		case <-ended:
		}
	})
	watched := watchClock(ctx, processClock(x.pid), x.limits.CPU, stop)

	var streams sync.WaitGroup
	streams.Go(func() {
		_, _ = io.CopyBuffer(onlyWriter{pipes.stdin}, meter.stdin(stop), pipes.buffer()) // errors of the reader are in the meter; the guest need not read
		pipes.stdin.Close()
	})
	streams.Go(func() { _, _ = io.CopyBuffer(meter.stdout(stop), onlyReader{pipes.stdout}, pipes.buffer()) }) // errors are in the meter
	streams.Go(func() { _, _ = io.Copy(meter.stderr(), onlyReader{pipes.stderr}) })                           // it has none

	x.reap()
	if r.Laps != nil {
		r.Laps.end()
	}
	close(ended)
	channels.finish()
	late()
	streams.Wait()
	report := meter.report()
	report.Channels = channelUses(channels.meters)
	report.Wall = time.Since(begin)
	report.User, report.System, report.PeakMemory = x.used.user, x.used.system, x.peak
	err = x.verdict(ctx, &report)
	stop(nil)
	background.Wait()
	<-watched
	return report, err
}

// start runs the program and sets the limits that are its own. The first instructions may run without them: the
// limits count what was before, and the cgroup holds from the start.
func (x *execution) start(r *Run, pipes *pipes) error {
	p := x.guest.jail
	attr := &syscall.ProcAttr{
		Dir:   p.Work,
		Env:   append([]string{}, r.Env...),
		Files: pipes.ends(r.Files),
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	}
	if p.Guest != p.Runner {
		attr.Sys.Credential = &syscall.Credential{Uid: uint32(p.Guest), Gid: uint32(p.Guest), Groups: []uint32{}}
	}
	pid, err := x.guest.spawn(x.guest.path, append([]string{"guest"}, r.Args...), attr)
	if err != nil {
		return err
	}
	x.pid = pid
	pipes.started()
	seconds := uint64((x.limits.CPU-1)/time.Second) + 1
	// The limit counts what a process maps, and runtimes map more than they use.
	const spare = 64 << 20
	data := uint64(x.limits.Memory + spare)
	limits := map[int]unix.Rlimit{
		unix.RLIMIT_CPU:  {Cur: seconds, Max: seconds + 1},
		unix.RLIMIT_DATA: {Cur: data, Max: data},
	}
	if x.guest.pids > 0 {
		limits[unix.RLIMIT_NPROC] = unix.Rlimit{Cur: uint64(x.guest.pids), Max: uint64(x.guest.pids)}
	}
	for resource, limit := range limits {
		err := unix.Prlimit(pid, resource, &limit, nil)
		if errors.Is(err, unix.EPERM) && !p.has(UserNS) {
			continue // a root that lacks CAP_SYS_RESOURCE, without a namespace of its own to have it in: cgroup and watch must do
		}
		if err != nil && !errors.Is(err, unix.ESRCH) {
			x.kill()
			x.reap()
			return fmt.Errorf("limits of the guest: %w", err)
		}
	}
	return nil
}

// kill ends the guest and all that it has started. As the first process of its pid namespace, the runner can ask the kernel for just
// that; where that layer was given up, only the process group is in reach.
func (x *execution) kill() {
	target := -x.pid
	if os.Getpid() == 1 {
		target = -1
	}
	_ = unix.Kill(target, unix.SIGKILL) // they may be gone
}

// reap waits for the program, then kills what it left behind and waits for that.
func (x *execution) reap() {
	for running := true; ; {
		var status unix.WaitStatus
		var ru unix.Rusage
		options := 0
		if !running {
			x.kill()
			if os.Getpid() != 1 {
				options = unix.WNOHANG // survivors out of reach must not hold us
			}
		}
		pid, err := unix.Wait4(-1, &status, options, &ru)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid == 0 { // nobody is left
			return
		}
		x.used.user += time.Duration(ru.Utime.Nano())
		x.used.system += time.Duration(ru.Stime.Nano())
		x.peak = max(x.peak, ru.Maxrss<<10)
		if pid == x.pid {
			x.status, running = status, false
		}
	}
}

// verdict says how the run ended: what stopped it, else what became of the program.
func (x *execution) verdict(ctx context.Context, report *Report) error {
	report.Exit = x.status.ExitStatus()
	if x.status.Exited() && report.Exit == 0 && context.Cause(ctx) == nil {
		return nil
	}
	if x.guest.oomKills() > x.kills {
		return fmt.Errorf("guest memory %w: more than %s", ErrLimit, byteText(min(x.guest.jail.Memory, x.limits.Memory)))
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	err := x.failure(report)
	if x.peak > x.limits.Memory/5*4 {
		// A program that is refused memory ends as it likes. This one came close enough to say so.
		return fmt.Errorf("guest memory %w: used %s of %s: %w", ErrLimit, byteText(x.peak), byteText(x.limits.Memory), err)
	}
	return err
}

// failure says how the program itself ended.
func (x *execution) failure(report *Report) error {
	if x.status.Exited() {
		return &ExitError{Code: report.Exit, Tail: excerpt(report.Log)}
	}
	signal := x.status.Signal()
	switch total := x.used.user + x.used.system; {
	case signal == unix.SIGXCPU, signal == unix.SIGKILL && total >= x.limits.CPU:
		return timeError("CPU", x.limits.CPU)
	case signal == unix.SIGXFSZ:
		return fmt.Errorf("guest file size %w: more than %s", ErrLimit, byteText(x.guest.jail.FileSize))
	}
	return fmt.Errorf("%w: %v", ErrTrap, signal)
}

// onlyReader and onlyWriter hide methods for which the runner has no system calls: splice, sendfile.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)
