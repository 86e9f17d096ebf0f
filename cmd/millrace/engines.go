package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
)

// emptyModule is the least WASI command: it has a memory, and a _start that does nothing.
var emptyModule = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x04\x01\x60\x00\x00" + // type 0: () -> ()
	"\x03\x02\x01\x00" + // function 0 of type 0
	"\x05\x03\x01\x00\x01" + // a memory of one page
	"\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x00" + // exports
	"\x0a\x04\x01\x02\x00\x0b") // its code: end

// tryEngines runs a job of each engine over one small file, jail and all. Only native may be missing.
func (a *app) tryEngines() []finding {
	dir, err := os.MkdirTemp("", "millrace-doctor-")
	if err != nil {
		return []finding{{name: "sandbox", detail: err.Error()}}
	}
	defer func() { _ = os.RemoveAll(dir) }()
	input, module := filepath.Join(dir, "in"), filepath.Join(dir, "empty.wasm")
	err = errors.Join(os.Mkdir(input, 0o700), os.WriteFile(filepath.Join(input, "a"), []byte("a\n"), 0o600), os.WriteFile(module, emptyModule, 0o600))
	if err != nil {
		return []finding{{name: "sandbox", detail: err.Error()}}
	}
	try := func(name string, p job.Program) finding {
		spec := &job.Spec{Name: "doctor", Inputs: []string{input}, Program: p, Slots: 1, Tolerate: "0"}
		_, err := local.Run(a.ctx, spec, &local.Options{Schemes: schemes(), Stdout: io.Discard})
		if err == nil {
			return finding{name: name, ok: true, detail: "programs run in the jail"}
		}
		f := finding{name: name, detail: err.Error()}
		if missing, ok := errors.AsType[*sandbox.LayerError](err); ok {
			f.fix = missing.Fix
		}
		return f
	}
	native := try("native", job.Program{Engine: job.Native, Name: "true", Path: "/bin/true"})
	native.optional = true
	return []finding{
		try("builtin", job.Program{Engine: job.Builtin, Name: "words"}),
		try("wasm", job.Program{Engine: job.Wasm, Name: "empty", Path: module}),
		native,
	}
}
