package sandbox

import (
	"context"
	"fmt"
	"runtime"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// A wasmGuest is a compiled WASI command, and an instance of it.
type wasmGuest struct {
	runtime  wazero.Runtime
	cache    wazero.CompilationCache
	code     *rewritten
	mapped   []byte    // where it lies, if it was compiled before
	data     []segment // of its memory, which the engine does not know about
	compiled wazero.CompiledModule
	entry    wazero.CompiledModule
	minimum  uint64 // bytes of linear memory that the module asks for at its start

	host        host
	watch       watch
	instance    *instance // ready for another run; nil: none
	changes     int       // runs in sequence whose arguments or environment were not those of the snapshot
	preparing   bool      // the run under way ends where a snapshot is taken
	interpreted bool      // by an engine that has no snapshots
	held        bool      // the collector is held for it
	early       bool      // that is so often so that a snapshot is taken before the guest sees them
}

// OpenWasm compiles code and opens it, for a program that uses it once. See [CompileWasm].
func OpenWasm(ctx context.Context, code []byte) (Guest, error) {
	compiled, err := CompileWasm(ctx, code)
	if err != nil {
		return nil, err
	}
	f, err := memoryFile("compiled", compiled)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return OpenCompiled(ctx, f, 0)
}

// open makes the engine ready to run the guest, with machine code from s.
func (g *wasmGuest) open(ctx context.Context, s *codeStore) (err error) {
	if g.cache, err = s.cache(); err != nil {
		return err
	}
	return g.openOn(ctx, wazero.NewRuntimeConfigCompiler().WithCompilationCache(g.cache))
}

// openOn makes an engine ready to run the guest.
func (g *wasmGuest) openOn(ctx context.Context, config wazero.RuntimeConfig) (err error) {
	ctx = experimental.WithCompilationWorkers(ctx, runtime.NumCPU())
	g.runtime = wazero.NewRuntimeWithConfig(ctx, config.WithDebugInfoEnabled(false))
	if err = g.host.instantiate(ctx, g.runtime); err != nil {
		return fmt.Errorf("wasi: %w", err)
	}
	if g.compiled, err = compile(ctx, g.runtime, g.code.code); err != nil {
		return err
	}
	if g.entry, err = compile(ctx, g.runtime, entry(g.code)); err != nil {
		return err
	}
	holdCollector()
	g.held = true
	return nil
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
	if g.held {
		releaseCollector()
	}
	var err error
	if g.runtime != nil {
		err = g.runtime.Close(ctx)
	}
	if g.cache != nil {
		err = firstError(err, g.cache.Close(ctx))
	}
	if g.mapped != nil {
		err = firstError(err, unix.Munmap(g.mapped))
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
