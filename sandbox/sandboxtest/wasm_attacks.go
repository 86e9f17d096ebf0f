package sandboxtest

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/sandbox"
)

// A WasmAttack is a module that is hostile.
type WasmAttack struct {
	Name    string
	Code    []byte
	Refused bool   // when it is opened
	Is      error  // that a run of it ends with; nil: it finds that nothing works, and ends well
	Says    string // in that error, or in the refusal
	Limits  sandbox.Limits
	Kill    bool // it cannot be stopped from inside, only by a kill
}

// WasmAttacks returns the attacks that are modules written by hand. They are made when they are first asked for: each jail of a test
// starts this package.
var WasmAttacks = sync.OnceValue(func() []WasmAttack {
	return []WasmAttack{
		{Name: "endless loop", Code: command(1, body(0x03, 0x40, 0x0c, 0, 0x0b)), Is: sandbox.ErrLimit, Says: "guest wall clock limit: 300ms"},
		{Name: "endless start function", Code: newWat().section(1, list([]byte{0x60, 0, 0})...).section(3, 1, 0).section(7, list(cat(name("_start"), []byte{0, 0}))...).
			section(8, 0).section(10, list(sized(body(0x03, 0x40, 0x0c, 0, 0x0b)))...), Is: sandbox.ErrLimit, Says: "wall clock"},
		{Name: "endless recursion", Code: command(1, body(0x10, 0)), Is: sandbox.ErrTrap, Says: "stack overflow", Limits: sandbox.Limits{Wall: 5 * time.Second}},
		{Name: "calls without a loop", Code: command(1, calls(40)...), Is: sandbox.ErrLimit, Says: "wall clock"},
		{Name: "unreachable", Code: command(1, body(0x00)), Is: sandbox.ErrTrap, Says: "unreachable"},
		{Name: "division by zero", Code: command(1, body(0x41, 1, 0x41, 0, 0x6d, 0x1a)), Is: sandbox.ErrTrap, Says: "integer divide by zero"},
		{Name: "read beyond memory", Code: command(1, body(cat(i32(65535), []byte{0x28, 2, 0, 0x1a})...)), Is: sandbox.ErrTrap, Says: "out of bounds memory access"},
		{Name: "memory.grow to 4 GiB", Code: command(1, body(cat(i32(65535), []byte{0x40, 0}, i32(-1), []byte{0x46, 0x04, 0x40, 0x00, 0x0b})...)), Is: sandbox.ErrLimit, Says: "guest memory limit: asked 4 GiB of 64 MiB"},
		{Name: "memory.fill in a loop", Code: command(1024, body(repeatedFill()...)), Is: sandbox.ErrLimit, Says: "wall clock"},
		{Name: "straight-line memory.fill", Code: command(1024, body(straight(0xfc, 11, 0)...)), Is: sandbox.ErrLimit, Says: "wall clock", Kill: true},
		{Name: "straight-line memory.copy", Code: command(1024, body(straight(0xfc, 10, 0, 0)...)), Is: sandbox.ErrLimit, Says: "wall clock", Kill: true},
		{Name: "table.grow without end", Code: growsTable(), Is: sandbox.ErrLimit, Says: "wall clock"},
		{Name: "65,536 pages", Code: command(65536, body()), Refused: true, Says: "memory of 65536 pages"},
		{Name: "more pages than the limit", Code: command(2000, body()), Is: sandbox.ErrLimit, Says: "guest memory limit: asked 125 MiB of 64 MiB"},
		{Name: "several memories", Code: newWat().section(5, list([]byte{0, 1}, []byte{0, 1})...), Refused: true, Says: "2 memories; at most 1"},
		{Name: "giant table", Code: newWat().section(4, list(cat([]byte{0x70, 0}, num(1<<31)))...), Refused: true, Says: "tables of 2147483648 elements"},
		{Name: "2^26 locals in 38 bytes", Code: command(1, cat(num(1), num(1<<26), []byte{0x7f, 0x0b})), Refused: true, Says: "67108864 locals"},
		{Name: "2,000 functions of 50,000 locals", Code: command(1, slices.Repeat([][]byte{cat(num(1), num(50000), []byte{0x7f, 0x0b})}, 2000)...), Refused: true, Says: "50000 locals"},
		{Name: "200,000-way br_table", Code: command(1, body(cat(i32(0), []byte{0x0e}, num(200000), repeat(200001, 0))...)), Refused: true, Says: "200000 targets of br_table"},
		{Name: "2 MB function", Code: command(1, body(repeat(2<<20, 0x01)...)), Refused: true, Says: "function 0 of 2097154 bytes"},
		{Name: "300,000 functions", Code: newWat().section(3, cat(num(300000), repeat(300000, 0))...), Refused: true, Says: "300000 functions"},
		{Name: "deep blocks", Code: command(1, body(cat(repeat(10000, 0x02, 0x40), repeat(10000, 0x0b))...)), Refused: true, Says: "nested"},
		{Name: "overlong number", Code: append(newWat(), 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0), Refused: true, Says: "number is too long"},
		{Name: "section twice", Code: newWat().section(1, 0).section(1, 0), Refused: true, Says: "type section twice or out of order"},
		{Name: "sections out of order", Code: newWat().section(3, 0).section(1, 0), Refused: true, Says: "type section twice or out of order"},
		{Name: "section beyond the end", Code: append(newWat(), 1, 100), Refused: true, Says: "goes beyond the end"},
		{Name: "unknown import", Code: newWat().section(1, list([]byte{0x60, 0, 0})...).section(2, list(cat(name("env"), name("system"), []byte{0, 0}))...), Refused: true, Says: `unknown import "env"."system"`},
		{Name: "imported memory", Code: newWat().section(2, list(cat(name("env"), name("memory"), []byte{2, 0, 1}))...), Refused: true, Says: `import "env"."memory" is not a function`},
		{Name: "no command", Code: newWat(), Refused: true, Says: "no function _start"},
		{Name: "wrong types", Code: command(1, body(0x41, 0)), Refused: true, Says: "program refused"},
		{Name: "text", Code: []byte("#!/bin/sh\n"), Refused: true, Says: "not a WebAssembly module"},
		{Name: "empty", Code: nil, Refused: true, Says: "not a WebAssembly module"},
		{Name: "200,000 opens", Code: opens(200_000, "etc/passwd"), Limits: sandbox.Limits{Wall: 5 * time.Second}},
		{Name: "paths outside, absolute", Code: opens(10, "/etc/passwd")},
		{Name: "paths outside, upwards", Code: opens(10, "../../../../etc/passwd")},
		{Name: "paths outside, with NUL", Code: opens(10, "etc\x00/passwd")},
		{Name: "sockets", Code: sockets()},
		{Name: "proc_exit in the start function", Code: exits(true, 1), Is: sandbox.ErrExit, Says: "guest exited 7"},
		{Name: "proc_exit inside calls", Code: exits(false, 50), Is: sandbox.ErrExit, Says: "guest exited 7"},
	}
})

// calls returns functions that call the next one twice: 2^n calls, no loop.
func calls(n int) [][]byte {
	var bodies [][]byte
	for i := range n {
		bodies = append(bodies, body(0x10, byte(i+1), 0x10, byte(i+1)))
	}
	return append(bodies, body())
}

// repeatedFill fills 64 MiB again and again.
func repeatedFill() []byte {
	one := cat(i32(0), i32(1), i32(64<<20), []byte{0xfc, 11, 0})
	return cat([]byte{0x03, 0x40}, bytes.Repeat(one, 20), []byte{0x0c, 0, 0x0b})
}

// straight fills or copies 64 MiB, 3,000 times without a loop or a call.
func straight(op ...byte) []byte {
	return bytes.Repeat(cat(i32(0), i32(1), i32(64<<20-1), op), 3000)
}
