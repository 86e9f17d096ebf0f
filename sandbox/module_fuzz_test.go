package sandbox

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
)

// Where wazero and we may disagree: parts of what the one says that refuses.
var (
	wazeroRefuses = []string{
		"empty module name",
		"too many type immediates", // of select, when their number is in several bytes
	}
	wazeroAccepts = []string{
		"at most", "more than", // our bounds
		"is not constant",                    // imported globals that are mutable, in constant expressions
		"data count section: ends too early", // when it is the last and empty
		"unknown instruction 0xfd",           // it reads one byte of the number, and what follows as instructions: see vector
		"number of a vector instruction",     // the same
		"unknown value type 0x63",            // typed references
		"unknown value type 0x64",            // the same
		"unknown value type 0x69",            // exceptions
		"unknown reference type",             // the same
		"type is not a function",             // recursive types
		"unknown type -",                     // types of blocks in several bytes
	}
)

// weAreStricter says whether we know why wazero accepts a module that we refuse with err.
func weAreStricter(err error, code []byte) bool {
	const selectOfType = "\x1c\x01" // of which wazero ignores the type
	return mentions(err, wazeroAccepts) || strings.Contains(err.Error(), "on the stack; want") && bytes.Contains(code, []byte(selectOfType))
}

func mentions(err error, parts []string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(err.Error(), p) })
}

// FuzzModule validates modules: in bounded time, with the same answer for what it made of them, and with the same verdict as wazero
// but for what the lists above name.
func FuzzModule(f *testing.F) {
	f.Add(minimal)
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	eachSpecModule(f, func(code []byte) { f.Add(code) })
	engines := newEngines(f)
	f.Fuzz(func(t *testing.T, code []byte) { engines.check(t, code) })
}

// FuzzModuleCode does the same with the locals and instructions of a function.
func FuzzModuleCode(f *testing.F) {
	for _, c := range []string{"\x00\x0b", "\x00\x20\x00\x0b", "\x01\x02\x7f\x41\x00\x22\x01\x0b"} {
		for kind := range byte(4) {
			f.Add(kind, []byte(c))
		}
	}
	eachSpecModule(f, func(code []byte) {
		m, err := validateModule(code)
		if err != nil {
			return
		}
		for i, b := range codeOf(m.code) {
			f.Add(byte(m.functions[m.imported+i]), b)
		}
	})
	engines := newEngines(f)
	f.Fuzz(func(t *testing.T, kind byte, code []byte) { engines.check(t, withFunction(kind, code)) })
}

// withFunction returns a module that has something of everything, and a function of type kind%4 with these locals and instructions.
func withFunction(kind byte, code []byte) []byte {
	return assemble(
		1, list("\x60\x00\x00", "\x60\x01\x7f\x01\x7f", "\x60\x02\x7e\x7b\x02\x7b\x7e", "\x60\x01\x70\x01\x6f"),
		2, list(sized("m")+sized("f")+"\x00\x01", sized("m")+sized("g")+"\x03\x7f\x00"),
		3, list(string([]byte{kind % 4}), "\x00"),
		4, list("\x70\x00\x01", "\x6f\x00\x01"),
		5, oneMemory,
		6, list("\x7f\x01\x41\x00\x0b", "\x7b\x01\xfd\x0c"+string(make([]byte, 16))+"\x0b", "\x70\x01\xd0\x70\x0b"),
		7, list(sized("f")+"\x00\x01", sized("m")+"\x02\x00"),
		9, list("\x01\x00\x01\x00", "\x05\x6f\x01\xd0\x6f\x0b"),
		12, "\x01",
		10, list(sized(string(code)), body("")),
		11, oneData)
}

// engines are those whose verdict on modules is compared with ours: quick for what we refuse, real for what we accept.
type engines struct{ quick, real wazero.Runtime }

func newEngines(f *testing.F) engines {
	ctx := context.Background()
	e := engines{
		quick: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter()),
		real:  wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCloseOnContextDone(true).WithDebugInfoEnabled(false)),
	}
	f.Cleanup(func() { e.quick.Close(ctx); e.real.Close(ctx) })
	return e
}

func (e engines) check(t *testing.T, code []byte) {
	ctx := context.Background()
	took, m, err := validation(code)
	if allowed := time.Second + time.Duration(len(code))*time.Microsecond; took > allowed {
		t.Errorf("%v for %d bytes; at most %v", took, len(code), allowed)
	}
	if err != nil {
		if hasLargeNumber(code) {
			return
		}
		c, wazeroErr := compile(ctx, e.quick, code)
		if wazeroErr == nil {
			c.Close(ctx)
			if !weAreStricter(err, code) {
				t.Errorf("wazero accepts, we do not: %v", err)
			}
		}
		return
	}
	if again, err := validateModule(m.code); err != nil || !bytes.Equal(again.code, m.code) {
		t.Errorf("its own answer does not pass: %v", err)
	}
	c, err := compile(ctx, e.real, m.code)
	if err != nil {
		if !mentions(err, wazeroRefuses) {
			t.Errorf("we accept, wazero does not: %v", err)
		}
		return
	}
	defer c.Close(ctx)
	compareExports(t, m, c)
}

// codeOf returns the bodies of a valid module's functions: locals and instructions.
func codeOf(code []byte) [][]byte {
	var bodies [][]byte
	r := &moduleReader{b: code, off: 8}
	for r.off < len(r.b) {
		id, size := r.byte(), int(r.u32())
		if id != 10 {
			r.skip(size)
			continue
		}
		for range r.u32() {
			bodies = append(bodies, r.bytes(int(r.u32())))
		}
	}
	return bodies
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

// eachSpecModule yields small modules of the specification's tests, some of each script.
func eachSpecModule(f *testing.F, each func(code []byte)) {
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
			each(code)
			of[script+c.Type]++
		}
	})
}
