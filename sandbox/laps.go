package sandbox

import (
	"context"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Laps divide one run of a guest into pieces of work that it does one after another. The limits of time, output and calls then hold
// for each lap, not for the run; memory and log are those of the run. The caller says when a lap begins and when there is nothing to
// do, from one goroutine at a time. A Laps is good for one run, by [RunLaps].
type Laps struct {
	state   atomic.Uint64 // begun so far, times two; plus one while one is under way
	passed  atomic.Bool
	clock   atomic.Int32 // CPU clock of the guest
	ended   chan struct{}
	endOnce sync.Once
}

// NewLaps returns Laps for one run.
func NewLaps() *Laps { return &Laps{ended: make(chan struct{})} }

// Begin says that the work before is done and that the next piece begins.
func (l *Laps) Begin() { l.state.Store(l.state.Load()&^1 + 3) }

// Rest says that the work before is done and that there is none now: no clock runs.
func (l *Laps) Rest() { l.state.Store(l.state.Load() &^ 1) }

// Passed reports whether the lap under way passed a limit and so ended the run.
func (l *Laps) Passed() bool { return l.passed.Load() }

// Ended is closed when the guest can take no more input: who feeds it need not wait any longer.
func (l *Laps) Ended() <-chan struct{} { return l.ended }

func (l *Laps) end() { l.endOnce.Do(func() { close(l.ended) }) }

// lap returns a number that differs from lap to lap.
func (l *Laps) lap() uint64 {
	if l == nil {
		return 0
	}
	return l.state.Load() >> 1
}

// unlimited stands for no limit of time.
const unlimited = time.Duration(math.MaxInt64)

// lapSlack is what a guest may have written ahead of the lap that it is counted for, in bytes: the answers to several pieces of
// work come in one piece.
const lapSlack = 64 << 10

// RunLaps is g.Run for a run with Laps. Who gives work only when the answer to the last piece has come gets exact limits: other work that was
// given ahead may be charged to the lap under way.
func RunLaps(ctx context.Context, g Guest, r *Run) (Report, error) {
	runtime.LockOSThread() // a wasm guest runs on this thread
	defer runtime.UnlockOSThread()
	r.Laps.clock.Store(threadClock())
	limits := r.Limits.withDefaults()
	run := *r
	run.Wall, run.CPU = unlimited, unlimited

	ctx, stop := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.Laps.watch(ctx, &limits, stop)
	}()
	report, err := g.Run(ctx, &run)
	r.Laps.end()
	stop(nil)
	<-watched
	return report, err
}

// watch calls stop when a lap takes longer than limits allow, give or take an eighth of it.
func (l *Laps) watch(ctx context.Context, limits *Limits, stop context.CancelCauseFunc) {
	tick := time.NewTicker(min(max(min(limits.Wall, limits.CPU)/8, time.Millisecond), 50*time.Millisecond))
	defer tick.Stop()
	state, since, used, clock := uint64(0), time.Now(), time.Duration(0), int32(0)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			cpu, err := readClock(l.clock.Load())
			if s, c := l.state.Load(), l.clock.Load(); s != state || c != clock || s&1 == 0 || err != nil {
				state, since, used, clock = s, now, cpu, c
				continue
			}
			switch {
			case now.Sub(since) > limits.Wall:
				l.pass(stop, timeError("wall clock", limits.Wall))
			case cpu-used > limits.CPU:
				l.pass(stop, timeError("CPU", limits.CPU))
			}
		}
	}
}

// pass ends the run because the lap under way passed a limit.
func (l *Laps) pass(stop context.CancelCauseFunc, err error) {
	l.passed.Store(true)
	stop(err)
}
