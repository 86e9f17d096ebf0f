package sandbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero"
)

// OpenInterpreted checks code as [CompileWasm] does and opens it on the engine's interpreter, which shares no machine code with its compiler.
// What it computes is the same, some ten to a hundred times slower; only the bits of a NaN may differ. It has 2,000 frames of stack: a guest that
// needs more crashes with a stack overflow, see [ErrStack].
func OpenInterpreted(ctx context.Context, code []byte) (Guest, error) {
	defer collecting()()
	m, err := checkModule(code)
	if err != nil {
		return nil, err
	}
	w, err := rewrite(m)
	if err != nil {
		return nil, err
	}
	w.fixed = "it is interpreted"
	g := &wasmGuest{code: w, minimum: m.minMemory, interpreted: true}
	if err := g.openOn(ctx, wazero.NewRuntimeConfigInterpreter()); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrModule, firstLine(err.Error())), g.Close())
	}
	return g, nil
}
