package sandbox

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// minimal is a command that does nothing, with a custom section.
var minimal = []byte("\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x00\x05\x04name" + "\x03\x02\x01\x00" + "\x05\x03\x01\x00\x02" +
	"\x07\x0a\x01\x06_start\x00\x00" + "\x0a\x04\x01\x02\x00\x0b")

func TestCheckModule(t *testing.T) {
	m, err := checkModule(minimal)
	if err != nil {
		t.Fatal(err)
	}
	if m.minMemory != 2*wasmPage || len(m.functions) != 1 {
		t.Errorf("memory %d, functions %d; want 2 pages, 1", m.minMemory, len(m.functions))
	}
	if want := bytes.Replace(minimal, []byte("\x00\x05\x04name"), nil, 1); !bytes.Equal(m.code, want) {
		t.Errorf("code %q; want it without the custom section: %q", m.code, want)
	}
	for n := range len(minimal) {
		if _, err := checkModule(minimal[:n]); err == nil {
			t.Errorf("the first %d bytes pass", n)
		}
	}
}

// Parts of modules. Type 0 is () -> (), type 1 that of fd_write.
var (
	someTypes  = list("\x60\x00\x00", "\x60\x04\x7f\x7f\x7f\x7f\x01\x7f")
	fdWrite    = sized("wasi_snapshot_preview1") + sized("fd_write") + "\x00"
	startIs0   = sized("_start") + "\x00\x00"
	oneTable   = list("\x70\x00\x01")
	oneMemory  = list("\x01\x02\x10")
	oneElement = list("\x01\x00\x01\x00")
	oneData    = list("\x01\x01x")
)

// TestModuleFacts checks what the validator has learned of a module with everything in it.
func TestModuleFacts(t *testing.T) {
	withCode := func(code string) *module {
		t.Helper()
		m, err := checkModule(assemble(1, someTypes, 2, list(fdWrite+"\x01"), 0, sized("name"), 3, list("\x00"), 4, oneTable, 5, oneMemory,
			6, list("\x7f\x01\x41\x00\x0b", "\x7e\x00\x42\x00\x0b"), 7, list(sized("_start")+"\x00\x01", sized("memory")+"\x02\x00"),
			9, oneElement, 12, "\x01", 10, list(body(code)), 11, oneData))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := withCode("")
	if want := []globalType{{i32, true}, {i64, false}}; !slices.Equal(m.globals, want) {
		t.Errorf("globals %v; want %v", m.globals, want)
	}
	if want := (limits{least: 2, most: 16, bounded: true}); m.memory == nil || *m.memory != want {
		t.Errorf("memory %v; want %v", m.memory, want)
	}
	if want := (exportedThing{externalMemory, 0}); m.exports["memory"] != want {
		t.Errorf("memory is %v; want %v", m.exports["memory"], want)
	}
	if len(m.imports) != 1 || m.imports[0].name != "fd_write" || m.imports[0].signature.String() != "(i32, i32, i32, i32) -> (i32)" {
		t.Errorf("imports %v", m.imports)
	}
	for _, c := range []struct {
		code           string
		changes, drops bool
	}{
		{"", false, false},
		{"\x41\x00\x25\x00\x1a", false, false},                     // table.get
		{"\x41\x00\xd0\x70\x26\x00", true, false},                  // table.set
		{"\xd0\x70\x41\x00\xfc\x0f\x00\x1a", true, false},          // table.grow
		{"\x41\x00\xd0\x70\x41\x00\xfc\x11\x00", true, false},      // table.fill
		{"\x41\x00\x41\x00\x41\x00\xfc\x0e\x00\x00", true, false},  // table.copy
		{"\x41\x00\x41\x00\x41\x00\xfc\x0c\x00\x00", true, false},  // table.init
		{"\x41\x00\x41\x00\x41\x00\xfc\x08\x00\x00", false, false}, // memory.init
		{"\xfc\x0d\x00", false, true},                              // elem.drop
		{"\xfc\x09\x00", false, true},                              // data.drop
	} {
		if m := withCode(c.code); m.changesTables != c.changes || m.dropsSegments != c.drops {
			t.Errorf("code %q: changes tables %t, drops segments %t; want %t, %t", c.code, m.changesTables, m.dropsSegments, c.changes, c.drops)
		}
	}
}

// TestModuleRefused checks what is refused of modules that are valid, but nothing for us.
func TestModuleRefused(t *testing.T) {
	for _, c := range []struct {
		name, says string
		sections   []any
	}{
		{"a function of another module", `unknown import "env"."fd_write"`,
			[]any{1, someTypes, 2, list(sized("env") + sized("fd_write") + "\x00\x01")}},
		{"a host function of another type", `import "wasi_snapshot_preview1"."fd_write" has type () -> (); want (i32, i32, i32, i32) -> (i32)`,
			[]any{1, someTypes, 2, list(fdWrite + "\x00")}},
		{"a version that is not there", `unknown import "millrace"."search_2"`,
			[]any{1, someTypes, 2, list(sized("millrace") + sized("search_2") + "\x00\x00")}},
		{"a function of millrace of another type", `import "millrace"."xxh3_1" has type () -> (); want (i32, i32, i32) -> (i32)`,
			[]any{1, someTypes, 2, list(sized("millrace") + sized("xxh3_1") + "\x00\x00")}},
		{"a global", `import "env"."g" is not a function`, []any{2, list(sized("env") + sized("g") + "\x03\x7f\x01")}},
		{"start with parameters", "_start has type (i32, i32, i32, i32) -> (i32); want () -> (): not a WASI command",
			[]any{1, someTypes, 3, list("\x01"), 7, list(startIs0), 10, list(body("\x00"))}},
		{"start that is a memory", "no function _start is exported", []any{5, oneMemory, 7, list(sized("_start") + "\x02\x00")}},
		{"tables", "tables of 2000001 elements; at most 2000000", []any{4, list("\x70\x00"+number(2_000_000), "\x70\x00\x01")}},
		{"memory", "memory of 32769 pages at the start; at most 32768", []any{5, list("\x00" + number(32769))}},
	} {
		code := assemble(c.sections...)
		if _, err := validateModule(code); err != nil {
			t.Errorf("%s is not valid: %v", c.name, err)
		}
		if _, err := checkModule(code); !errors.Is(err, ErrModule) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v; want %q", c.name, err, c.says)
		}
	}
}

// TestVectorNumbers checks that there is one way to write the number of a vector instruction.
func TestVectorNumbers(t *testing.T) {
	withCode := func(code string) error {
		_, err := validateModule(assemble(1, someTypes, 3, list("\x00"), 10, list(body(code))))
		return err
	}
	zero := "\xfd\x0c" + strings.Repeat("\x00", 16)
	if err := withCode(zero + "\xfd\xe0\x01\x1a"); err != nil { // f32x4.abs
		t.Error(err)
	}
	for _, code := range []string{"\xfd\x8c\x00" + strings.Repeat("\x00", 16) + "\x1a", zero + "\xfd\xe0\x81\x00\x1a"} {
		if err := withCode(code); err == nil || !strings.Contains(err.Error(), "vector instruction is too long") {
			t.Errorf("%q: error %v", code, err)
		}
	}
}

// TestHostFunctions checks that the types of our table are those of the functions.
func TestHostFunctions(t *testing.T) {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	wasi, err := wasi_snapshot_preview1.NewBuilder(r).Compile(ctx)
	if err != nil {
		t.Fatal(err)
	}
	functions := wasi.ExportedFunctions()
	for name, short := range wasiFunctions() {
		f := functions[name]
		if f == nil {
			t.Errorf("%s is not there", name)
		} else if got, want := parseSignature(short), (signature{f.ParamTypes(), f.ResultTypes()}); !got.equal(want) {
			t.Errorf("%s has type %v; want %v", name, got, want)
		}
	}
}
