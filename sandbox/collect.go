package sandbox

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// The garbage collector has to wait for a guest that computes and calls nothing, for machine code has no place where it could be stopped; and all
// goroutines wait with it, among them the watch that is to stop the guest. Therefore it is off in a process that has wasm guests, and runs
// where no guest computes: before a run, and in a guest's calls.

// budget is how much is allocated from one collection to the next, in bytes. Little, so that the same memory is used again and again: page faults of
// our own disturb the runs, see pages.
const budget = 8 << 20

var collector struct {
	sync.Mutex
	guests  int // that are open
	percent int // what the collector was set to before
	last    uint64
	polls   int
}

// holdCollector is called when a guest is opened, releaseCollector when it is closed.
func holdCollector() {
	c := &collector
	c.Lock()
	defer c.Unlock()
	if c.guests++; c.guests > 1 {
		return
	}
	if runtime.GOMAXPROCS(0) == 1 {
		runtime.GOMAXPROCS(2) // one for the guest
	}
	c.percent = debug.SetGCPercent(-1)
	settleHeap()
	c.last = allocated()
}

func releaseCollector() {
	c := &collector
	c.Lock()
	defer c.Unlock()
	if c.guests--; c.guests == 0 {
		debug.SetGCPercent(c.percent)
	}
}

// collecting has the collector run by itself until stop is called, for work that leaves much garbage. No guest must run meanwhile.
func collecting() (stop func()) {
	c := &collector
	c.Lock()
	defer c.Unlock()
	if c.guests == 0 {
		return func() {}
	}
	debug.SetGCPercent(c.percent)
	return func() {
		c.Lock()
		defer c.Unlock()
		if c.guests > 0 {
			debug.SetGCPercent(-1)
		}
	}
}

// pollCollector collects if it is time. It is called on a guest's goroutine, while the guest waits.
func pollCollector() {
	c := &collector
	c.Lock()
	defer c.Unlock()
	if c.polls++; c.polls%8 != 0 {
		return
	}
	if now := allocated(); now-c.last > budget {
		c.last = now
		runtime.GC()
	}
}

// allocated returns the bytes that this process has allocated so far. Large objects are counted at once.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// settleHeap gives back what the compiler has used, and has what is used from one collection to the next faulted in.
func settleHeap() {
	debug.FreeOSMemory()
	const piece = 12 << 10
	for left := budget; left > 0; left -= piece {
		b := make([]byte, piece)
		for i := 0; i < piece; i += pageSize {
			b[i] = 1
		}
	}
	runtime.GC()
}
