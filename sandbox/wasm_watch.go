package sandbox

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A watch stops a guest's run when it has taken too long, or its context ends. There is one for all runs of a guest: a
// timer that is set again only if it would fire too late, and a look at a context only when it is another one than before.
type watch struct {
	mu       sync.Mutex
	running  *instance // nil: none
	ctx      context.Context
	unwatch  func() bool
	timer    *time.Timer
	fires    time.Time // when the timer will; zero: it will not
	deadline time.Time // of the run
	wall     time.Duration
	cpu      time.Duration // limit; 0: none
	clock    int32         // of the thread that runs
	began    time.Duration // by that clock
	cause    error         // why the run was stopped
	tripped  atomic.Bool   // it was: what the host looks at while it works for the guest
}

// start begins to watch a run on the calling thread, which stays the same until stop. Now is now.
func (w *watch) start(ctx context.Context, x *instance, limits Limits, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running, w.cause = x, nil
	w.tripped.Store(false)
	w.wall, w.deadline = limits.Wall, now.Add(limits.Wall)
	next := w.deadline
	if w.cpu = 0; limits.CPU < limits.Wall {
		w.cpu, w.clock = limits.CPU, threadClock()
		w.began, _ = readClock(w.clock) // without it there is no such limit, and the wall's holds
		next = now.Add(limits.CPU)
	}
	w.arm(next)
	if ctx != w.ctx {
		w.forget()
		w.ctx = ctx
		if ctx.Done() != nil {
			w.unwatch = context.AfterFunc(ctx, func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				if w.ctx == ctx {
					w.trip(context.Cause(ctx))
				}
			})
		}
	}
}

// stop ends the watch and returns why the run was stopped; nil if it was not.
func (w *watch) stop() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = nil
	return w.cause
}

// arm has the timer fire at a time, or before.
func (w *watch) arm(at time.Time) {
	switch {
	case w.timer == nil:
		w.timer = time.AfterFunc(time.Until(at), w.look)
	case w.fires.IsZero() || w.fires.After(at):
		w.timer.Reset(time.Until(at))
	default:
		return
	}
	w.fires = at
}

// look is called by the timer.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fires = time.Time{}
	if w.running == nil || w.cause != nil {
		return
	}
	now := time.Now()
	next := w.deadline
	if w.cpu > 0 {
		used, err := readClock(w.clock)
		if used -= w.began; err == nil && used >= w.cpu {
			w.trip(timeError("CPU", w.cpu))
			return
		}
		if check := now.Add(max(w.cpu-used, time.Millisecond)); check.Before(next) {
			next = check
		}
	}
	if !now.Before(w.deadline) {
		w.trip(timeError("wall clock", w.wall))
		return
	}
	w.arm(next)
}

// trip stops the run under way: the guest traps at its next call or turn of a loop.
func (w *watch) trip(cause error) {
	if w.running != nil && w.cause == nil {
		w.cause = cause
		w.tripped.Store(true)
		w.running.stop.Set(1)
		for _, m := range w.running.guest.host.channels.meters {
			go m.stop() // the guest may wait for it
		}
	}
}

// forget ends the look at a context.
func (w *watch) forget() {
	if w.unwatch != nil {
		w.unwatch()
	}
	w.ctx, w.unwatch = nil, nil
}

func (w *watch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget()
	if w.timer != nil {
		w.timer.Stop()
	}
}
