package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"
)

// The clock of a wasm guest: it starts at the same moment in every run, the wall clock stands still, the monotonic one
// goes on by a tick at every look and by what the guest sleeps. Nobody really sleeps.
const (
	epoch = 946684800 // 2000-01-01T00:00:00Z
	tick  = int64(time.Microsecond)
)

// Run instantiates the module and runs its start function and _start. Stdin is read and Stdout is written on the calling
// goroutine; a stream that blocks delays the end of the run.
func (g *wasmGuest) Run(ctx context.Context, r *Run) (Report, error) {
	limits := r.Limits.withDefaults()
	if int64(g.minimum) > limits.Memory {
		return Report{}, memoryError(int64(g.minimum), limits.Memory)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	wall := time.AfterFunc(limits.Wall, func() {
		stop(fmt.Errorf("guest wall clock %w: %v", ErrLimit, limits.Wall))
	})
	defer wall.Stop()
	if limits.CPU < limits.Wall {
		watched := watchClock(ctx, threadClock(), limits.CPU, stop)
		defer func() { stop(nil); <-watched }()
	}

	meter := newMeter(&r.Streams, limits, stop)
	memory := &memoryPlan{limit: uint64(limits.Memory)}
	config := wazero.NewModuleConfig().WithName("").WithArgs(append([]string{"guest"}, r.Args...)...).
		WithStdin(meter.stdin()).WithStdout(meter.stdout()).WithStderr(meter.stderr()).
		WithRandSource(seeded(r.Seed)).
		WithWalltime(func() (int64, int32) { return epoch, 0 }, sys.ClockResolution(time.Microsecond)).
		WithOsyield(runtime.Gosched)
	var now int64
	config = config.WithNanotime(func() int64 { now += tick; return now }, sys.ClockResolution(tick)).
		WithNanosleep(func(ns int64) {
			if ns > 0 && now < 1<<62-ns {
				now += ns
			}
		})
	for _, kv := range r.Env {
		k, v, _ := strings.Cut(kv, "=")
		config = config.WithEnv(k, v)
	}

	start, usage := time.Now(), threadUsage()
	module, err := g.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, memory), g.compiled, config)
	if module != nil {
		module.Close(ctx)
	}
	memory.free()
	end := threadUsage()
	report := meter.report()
	report.Wall = time.Since(start)
	report.User = end.user - usage.user
	report.System = end.system - usage.system
	report.PeakMemory = int64(memory.peak)

	err = wasmError(ctx, err, memory, limits, &report)
	return report, err
}

// wasmError says why a run ended: what stopped it counts more than how the engine tells of it.
func wasmError(ctx context.Context, err error, memory *memoryPlan, limits Limits, report *Report) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err == nil {
		return nil
	}
	var exit *sys.ExitError
	isExit := errors.As(err, &exit)
	if isExit {
		report.Exit = int(int32(exit.ExitCode()))
		if report.Exit == 0 {
			return nil
		}
	}
	switch {
	case memory.asked > 0:
		return memoryError(int64(memory.asked), limits.Memory)
	case isExit:
		return &ExitError{Code: report.Exit, Tail: excerpt(report.Log)}
	default:
		text := strings.TrimPrefix(firstLine(err.Error()), "module[] function[_start] failed: ")
		return fmt.Errorf("%w: %s", ErrTrap, strings.TrimPrefix(text, "wasm error: "))
	}
}

func memoryError(asked, limit int64) error {
	return fmt.Errorf("guest memory %w: asked %s of %s", ErrLimit, byteText(asked), byteText(limit))
}

// seeded returns an endless stream of random bytes that seed decides.
func seeded(seed uint64) io.Reader {
	var key [32]byte
	copy(key[:], "millrace guest randomness")
	binary.LittleEndian.PutUint64(key[24:], seed)
	return rand.NewChaCha8(key)
}
