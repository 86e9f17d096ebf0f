package sandbox

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"
)

// The clock of a wasm guest: it starts at the same moment in every run, the wall clock stands still, the monotonic one
// goes on by a tick at every look and by what the guest sleeps. Nobody really sleeps.
const (
	epoch = 946684800 // 2000-01-01T00:00:00Z
	tick  = int64(time.Microsecond)
)

// Run runs the module's start function and _start, or goes on where a snapshot was taken. Stdin is read and Stdout is written on the
// calling goroutine; a stream that blocks delays the end of the run.
func (g *wasmGuest) Run(ctx context.Context, r *Run) (Report, error) {
	limits := r.Limits.withDefaults()
	if int64(g.minimum) > limits.Memory {
		return Report{}, memoryError(int64(g.minimum), limits.Memory)
	}
	if ctx.Err() != nil {
		return Report{}, context.Cause(ctx)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	pollCollector()
	start, usage := time.Now(), threadUsage()
	meter := newMeter(&r.Streams, limits)
	x, err := g.prepare(r, meter, limits)
	if err != nil {
		return Report{}, err
	}
	restored := x.resume != nil
	g.watch.start(ctx, x, limits, start)
	err = x.call()
	cause := g.watch.stop()
	end := threadUsage()
	report := meter.report()
	report.Restored = restored
	report.Wall = time.Since(start)
	report.User = end.user - usage.user
	report.System = end.system - usage.system
	report.PeakMemory = int64(x.memory.peak)
	report.Channels = channelUses(g.host.channels.meters)
	asked := x.memory.asked
	if x.snapshot != nil {
		x.snapshot.pages.end(end.faults)
	}
	g.keep(x, cause == nil && err == nil)
	if cause == nil {
		cause = g.host.failed
	}
	if cause != nil {
		return report, cause
	}
	return report, g.verdict(err, asked, limits, &report)
}

// maxChanges is how often in sequence arguments or environment must be other than those of the snapshot, for the next one to be taken before the
// guest sees them. Thus a job whose objects all get the same is served best, and one whose objects have their own is served as well as can be.
const maxChanges = 3

// prepare makes an instance ready for a run.
func (g *wasmGuest) prepare(r *Run, m *meter, limits Limits) (*instance, error) {
	if x := g.instance; x != nil {
		if x.serves(r, limits) && x.snapshot.restore(x) {
			if err := x.tell(r); err != nil {
				g.keep(x, false)
				return nil, err
			}
			g.host.reset(x, r, m, &x.snapshot.host)
			g.changes = 0
			return x, nil
		}
		if x.differs(r) {
			g.changes++
			g.early = g.early || g.changes == maxChanges
		}
		g.keep(x, false)
	}
	x, err := g.newInstance(limits)
	if err != nil {
		return nil, err
	}
	x.channels = len(r.Channels) > 0
	if err := x.tell(r); err != nil {
		x.close()
		return nil, err
	}
	fresh := freshHost()
	g.host.reset(x, r, m, &fresh)
	return x, nil
}

// keep keeps an instance whose run ended well for the next one, if that is of any use.
func (g *wasmGuest) keep(x *instance, well bool) {
	if well && x.snapshot != nil {
		g.instance = x
		return
	}
	x.close()
	g.instance = nil
}

// verdict says how a run ended that nobody stopped. Asked is the memory that the guest was refused; err is the engine's.
func (g *wasmGuest) verdict(err error, asked uint64, limits Limits, report *Report) error {
	if g.host.exited {
		report.Exit = int(int32(g.host.code))
	}
	switch {
	case err == nil && report.Exit == 0:
		return nil
	case asked > 0:
		return memoryError(int64(asked), limits.Memory)
	case err == nil:
		return &ExitError{Code: report.Exit, Tail: excerpt(report.Log)}
	}
	text := strings.TrimPrefix(firstLine(err.Error()), "wasm error: ")
	if text == ErrStack.Error() { // the engine's own error is not exported
		return fmt.Errorf("%w: %w", ErrTrap, ErrStack)
	}
	return fmt.Errorf("%w: %s", ErrTrap, text)
}

func memoryError(asked, limit int64) error {
	return fmt.Errorf("guest memory %w: asked %s of %s", ErrLimit, byteText(asked), byteText(limit))
}
