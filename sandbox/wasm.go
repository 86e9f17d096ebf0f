package sandbox

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
)

// WasmOptions are what [OpenWasm] may be told. nil means defaults.
type WasmOptions struct {
	// Workers compile at once; 0 means one per core.
	Workers int
	// Cache is a directory in which compiled code is kept between processes; "" keeps none. Whoever can write to it
	// can run native code in the jail, so it must not be a place that guests reach.
	Cache string
}

// A wasmGuest is a compiled WASI command, and an instance of it.
type wasmGuest struct {
	runtime  wazero.Runtime
	cache    wazero.CompilationCache // nil: none
	code     *rewritten
	compiled wazero.CompiledModule
	entry    wazero.CompiledModule
	minimum  uint64 // bytes of linear memory that the module asks for at its start

	host     host
	watch    watch
	instance *instance // ready for another run; nil: none
	changes  int       // runs in sequence whose arguments or environment were not those of the snapshot
	early    bool      // that is so often so that a snapshot is taken before the guest sees them
}

// OpenWasm checks code, a WebAssembly module that is a WASI preview 1 command, and compiles it. Modules that are malformed or
// beyond our bounds (see checkModule) are refused with ErrModule before the compiler sees them. Compiling ends early when ctx
// does, but only between functions: the deadline that counts is a kill from outside.
//
// Each run begins from fresh state. The first one runs the module from its start, until it is about to learn or do something that is that of
// one run: to read its input, write, or see randomness that the run's seed decides. There a snapshot is taken, and later runs go
// on from it: they cannot tell the difference. Not so for modules that change tables or drop data or element segments, have
// mutable globals of vectors or references or more than 256 of others, or use a megabyte of stack before that point; and not for a run
// after one that trapped or was stopped, or whose limit of memory is another one. Those begin at the module's start, which takes longer and gives
// the same.
//
// Run.Seed decides all randomness of a guest but for what it draws before it first asks for its arguments, its environment or input
// (as language runtimes do at their start): this is the same in each run.
func OpenWasm(ctx context.Context, code []byte, opts *WasmOptions) (Guest, error) {
	if opts == nil {
		opts = &WasmOptions{}
	}
	m, err := checkModule(code)
	if err != nil {
		return nil, err
	}
	workers := opts.Workers
	if workers <= 0 {
		workers = runtime.NumCPU()
	}
	g := &wasmGuest{minimum: m.minMemory}
	if g.code, err = rewrite(m.code); err != nil {
		return nil, err
	}
	config := wazero.NewRuntimeConfigCompiler().WithDebugInfoEnabled(false)
	if opts.Cache != "" {
		g.cache, err = wazero.NewCompilationCacheWithDir(opts.Cache)
		if err != nil {
			return nil, fmt.Errorf("compile cache: %w", err)
		}
		config = config.WithCompilationCache(g.cache)
	}
	ctx = experimental.WithCompilationWorkers(ctx, workers)
	g.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	if err = g.host.instantiate(ctx, g.runtime); err != nil {
		_ = g.Close()
		return nil, fmt.Errorf("wasi: %w", err)
	}
	g.compiled, err = compile(ctx, g.runtime, g.code.code)
	if err == nil {
		g.entry, err = compile(ctx, g.runtime, entry(g.code))
	}
	if err != nil {
		_ = g.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %s", ErrModule, firstLine(err.Error()))
	}
	settleHeap()
	return g, nil
}

// settleHeap gives back what the compiler has used, and has what the heap will use faulted in: page faults of our own, and giving back memory in the
// background, would disturb the runs (see pages).
func settleHeap() {
	debug.FreeOSMemory()
	sample := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	const piece = 12 << 10
	for left := int64(sample[0].Value.Uint64()) - int64(sample[1].Value.Uint64()); left > 0; left -= piece {
		b := make([]byte, piece)
		for i := 0; i < piece; i += pageSize {
			b[i] = 1
		}
	}
}

// compile turns a panic of the compiler into an error: the module may be hostile, and what it breaks is only its own process.
func compile(ctx context.Context, r wazero.Runtime, code []byte) (m wazero.CompiledModule, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the compiler gave up: %v", p)
		}
	}()
	return r.CompileModule(ctx, code)
}

// Close frees the instance and the compiled code.
func (g *wasmGuest) Close() error {
	ctx := context.Background()
	g.watch.close()
	if g.instance != nil {
		g.keep(g.instance, false)
	}
	err := g.runtime.Close(ctx)
	if g.cache != nil {
		err = firstError(err, g.cache.Close(ctx))
	}
	return err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
