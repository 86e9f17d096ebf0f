package sandbox

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
)

// Where wazero and we may disagree.
var (
	// wazeroRefuses are parts of what wazero says of modules that are valid.
	wazeroRefuses = []string{
		"empty module name",
	}
	// wazeroAccepts are parts of what we say of modules that wazero accepts.
	wazeroAccepts = []string{
		"at most", "more than", // our bounds
		"is not constant",                                            // imported globals that are mutable, in constant expressions
		"unknown instruction 0xfd", "number of a vector instruction", // it reads one byte of the number: see vector
		"unknown value type 0x63", "unknown value type 0x64", "unknown value type 0x69", "unknown reference type", // typed references, exceptions
		"type is not a function", // recursive types
		"unknown type -",         // types of blocks in several bytes
	}
)

// FuzzModule validates modules: in bounded time, with the same answer for what it made of them, and with the same verdict as wazero
// but for what the lists above name.
func FuzzModule(f *testing.F) {
	f.Add(minimal)
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	addSpec(f)
	ctx := context.Background()
	quick := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	real := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCloseOnContextDone(true).WithDebugInfoEnabled(false))
	f.Cleanup(func() { quick.Close(ctx); real.Close(ctx) })
	f.Fuzz(func(t *testing.T, code []byte) {
		runtime.LockOSThread()
		begin := threadUsage().user
		m, err := validateModule(code)
		took := threadUsage().user - begin
		runtime.UnlockOSThread()
		if allowed := time.Second + time.Duration(len(code))*time.Microsecond; took > allowed {
			t.Errorf("%v for %d bytes; at most %v", took, len(code), allowed)
		}
		if err != nil {
			if hasLargeNumber(code) {
				return
			}
			c, wazeroErr := compile(ctx, quick, code)
			if wazeroErr == nil {
				c.Close(ctx)
				if !mentions(err, wazeroAccepts) {
					t.Errorf("wazero accepts, we do not: %v", err)
				}
			}
			return
		}
		if again, err := validateModule(m.code); err != nil || !bytes.Equal(again.code, m.code) || again.exportSection != m.exportSection {
			t.Errorf("its own answer does not pass: %v", err)
		}
		c, err := compile(ctx, real, m.code)
		if err != nil {
			if !mentions(err, wazeroRefuses) {
				t.Errorf("we accept, wazero does not: %v", err)
			}
			return
		}
		defer c.Close(ctx)
		compareExports(t, m, c)
	})
}

// hasLargeNumber says that there may be a number of 2^21 or more in code. wazero makes room for as many of something as a module says
// before it has seen that they are there: it may not be asked for its opinion on modules that we refuse.
func hasLargeNumber(code []byte) bool {
	long := 0
	for _, c := range code {
		if c < 0x80 {
			long = 0
		} else if long++; long == 3 {
			return true
		}
	}
	return false
}

// compareExports checks that wazero sees the exports that we see, and the same memory.
func compareExports(t *testing.T, m *module, c wazero.CompiledModule) {
	var ours []string
	for name, e := range m.exports {
		if e.kind == externalFunction {
			ours = append(ours, name)
		}
	}
	slices.Sort(ours)
	theirs := c.ExportedFunctions()
	if names := slices.Sorted(maps.Keys(theirs)); !slices.Equal(ours, names) {
		t.Errorf("functions exported %q; to wazero %q", ours, names)
	}
	for name, d := range theirs {
		s := m.types[m.functions[m.exports[name].index]]
		if !bytes.Equal(s.params, d.ParamTypes()) || !bytes.Equal(s.results, d.ResultTypes()) {
			t.Errorf("function %q has type %v; to wazero %v %v", name, s, d.ParamTypes(), d.ResultTypes())
		}
	}
	for name, d := range c.ExportedMemories() {
		e := m.exports[name]
		most, bounded := d.Max()
		if e.kind != externalMemory || d.Min() != m.memory.least || bounded != m.memory.bounded || bounded && most != m.memory.most {
			t.Errorf("memory %q of %+v; to wazero %d to %d", name, m.memory, d.Min(), most)
		}
	}
}

func mentions(err error, parts []string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(err.Error(), p) })
}

// addSpec adds small modules of the specification's tests as seeds, some of each script.
func addSpec(f *testing.F) {
	_, dir, err := specSuites(f)
	if err != nil {
		f.Logf("no seeds from the specification: %v", err)
		return
	}
	of := map[string]int{}
	specCommands(f, dir, func(script string, c specCommand) {
		if c.Filename == "" || c.ModuleType == "text" || of[script+c.Type] == 4 {
			return
		}
		code, err := os.ReadFile(filepath.Join(dir, c.Filename))
		if err != nil {
			f.Fatal(err)
		}
		if len(code) < 2000 {
			f.Add(code)
			of[script+c.Type]++
		}
	})
}
