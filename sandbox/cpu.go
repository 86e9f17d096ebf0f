package sandbox

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// A cpuTime is what a thread or process has used.
type cpuTime struct{ user, system time.Duration }

// A threadUse is what the calling thread has used.
type threadUse struct {
	cpuTime
	faults int64 // of pages; -1: unknown
}

func threadUsage() threadUse {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &ru); err != nil {
		return threadUse{faults: -1}
	}
	return threadUse{cpuTime{time.Duration(ru.Utime.Nano()), time.Duration(ru.Stime.Nano())}, ru.Minflt + ru.Majflt}
}

// Clocks of CPU time, made as clock_getcpuclockid(3) makes them.
func threadClock() int32         { return int32(^unix.Gettid())<<3 | 4 | 2 }
func processClock(pid int) int32 { return int32(^pid)<<3 | 2 }

func readClock(clock int32) (time.Duration, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(clock, &ts)
	return time.Duration(ts.Nano()), err
}

// watchClock calls stop when limit has passed from now on by a clock of CPU time. The channel is closed when the watch has ended,
// which it does when ctx does or the clock's owner is gone.
func watchClock(ctx context.Context, clock int32, limit time.Duration, stop context.CancelCauseFunc) <-chan struct{} {
	first, err := readClock(clock)
	done := make(chan struct{})
	if err != nil {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		timer := time.NewTimer(limit)
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			now, err := readClock(clock)
			if err != nil {
				return
			}
			left := limit - (now - first)
			if left <= 0 {
				stop(timeError("CPU", limit))
				return
			}
			timer.Reset(max(left/8, time.Millisecond)) // as many threads as it has may count at once
		}
	}()
	return done
}
