package sandboxtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox"
)

// A wat is a module under construction, section by section.
type wat []byte

func newWat() wat { return wat("\x00asm\x01\x00\x00\x00") }

func (w wat) section(id byte, body ...byte) wat {
	w = append(w, id)
	return append(binary.AppendUvarint(w, uint64(len(body))), body...)
}

// list prefixes items with their number.
func list(items ...[]byte) []byte {
	b := binary.AppendUvarint(nil, uint64(len(items)))
	for _, i := range items {
		b = append(b, i...)
	}
	return b
}

func sized(b []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(b))), b...) }
func name(s string) []byte  { return sized([]byte(s)) }
func num(n uint64) []byte   { return binary.AppendUvarint(nil, n) }

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// command returns a module with one memory of pages (min, max 65,536), and functions of type () -> () with these bodies, of which the first is _start.
func command(pages uint64, bodies ...[]byte) []byte {
	var kinds, codes [][]byte
	for _, b := range bodies {
		kinds = append(kinds, []byte{0})
		codes = append(codes, sized(b))
	}
	return newWat().section(1, list([]byte{0x60, 0, 0})...).
		section(3, list(kinds...)...).
		section(5, list(cat([]byte{1}, num(pages), num(65536)))...).
		section(7, list(cat(name("_start"), []byte{0, 0}))...).
		section(10, list(codes...)...)
}

// body returns a function body without locals.
func body(code ...byte) []byte { return append(append([]byte{0}, code...), 0x0b) }

func repeat(n int, b ...byte) []byte { return bytes.Repeat(b, n) }

func i32(n int32) []byte {
	b := []byte{0x41}
	for {
		c := byte(n & 0x7f)
		n >>= 7
		if n == 0 && c&0x40 == 0 || n == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

var wasmAttacks = []struct {
	name string
	code []byte
	open bool // it is refused when it is opened
	is   error
	says string
	lim  sandbox.Limits
	kill bool // it cannot be stopped from inside
}{
	{name: "endless loop", code: command(1, body(0x03, 0x40, 0x0c, 0, 0x0b)), is: sandbox.ErrLimit, says: "guest wall clock limit: 300ms"},
	{name: "endless start function", code: newWat().section(1, list([]byte{0x60, 0, 0})...).section(3, 1, 0).section(7, list(cat(name("_start"), []byte{0, 0}))...).
		section(8, 0).section(10, list(sized(body(0x03, 0x40, 0x0c, 0, 0x0b)))...), is: sandbox.ErrLimit, says: "wall clock"},
	{name: "endless recursion", code: command(1, body(0x10, 0)), is: sandbox.ErrTrap, says: "stack overflow", lim: sandbox.Limits{Wall: 5 * time.Second}},
	{name: "calls without a loop", code: command(1, calls(40)...), is: sandbox.ErrLimit, says: "wall clock", kill: true},
	{name: "unreachable", code: command(1, body(0x00)), is: sandbox.ErrTrap, says: "unreachable"},
	{name: "division by zero", code: command(1, body(0x41, 1, 0x41, 0, 0x6d, 0x1a)), is: sandbox.ErrTrap, says: "integer divide by zero"},
	{name: "read beyond memory", code: command(1, body(cat(i32(65535), []byte{0x28, 2, 0, 0x1a})...)), is: sandbox.ErrTrap, says: "out of bounds memory access"},
	{name: "memory.grow to 4 GiB", code: command(1, body(cat(i32(65535), []byte{0x40, 0}, i32(-1), []byte{0x46, 0x04, 0x40, 0x00, 0x0b})...)), is: sandbox.ErrLimit, says: "guest memory limit: asked 4 GiB of 64 MiB"},
	{name: "memory.fill", code: command(1024, body(repeatedFill()...)), is: sandbox.ErrLimit, says: "wall clock"},
	{name: "65,536 pages", code: command(65536, body()), open: true, says: "memory of 65536 pages"},
	{name: "more pages than the limit", code: command(2000, body()), is: sandbox.ErrLimit, says: "guest memory limit: asked 125 MiB of 64 MiB"},
	{name: "several memories", code: newWat().section(5, list([]byte{0, 1}, []byte{0, 1})...), open: true, says: "2 memories; at most 1"},
	{name: "giant table", code: newWat().section(4, list(cat([]byte{0x70, 0}, num(1<<31)))...), open: true, says: "tables of 2147483648 elements"},
	{name: "2^26 locals in 38 bytes", code: command(1, cat(num(1), num(1<<26), []byte{0x7f, 0x0b})), open: true, says: "67108864 locals"},
	{name: "functions of 50,000 locals", code: command(1, cat(num(1), num(50000), []byte{0x7f, 0x0b})), open: true, says: "50000 locals"},
	{name: "200,000-way br_table", code: command(1, body(cat(i32(0), []byte{0x0e}, num(200000), repeat(200001, 0))...)), open: true, says: "200000 targets of br_table"},
	{name: "2 MB function", code: command(1, body(repeat(2<<20, 0x01)...)), open: true, says: "function 0 of 2097154 bytes"},
	{name: "300,000 functions", code: newWat().section(3, cat(num(300000), repeat(300000, 0))...), open: true, says: "300000 functions"},
	{name: "deep blocks", code: command(1, body(cat(repeat(10000, 0x02, 0x40), repeat(10000, 0x0b))...)), open: true, says: "nested"},
	{name: "overlong number", code: append(newWat(), 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0), open: true, says: "number is too long"},
	{name: "section twice", code: newWat().section(1, 0).section(1, 0), open: true, says: "type section twice or out of order"},
	{name: "sections out of order", code: newWat().section(3, 0).section(1, 0), open: true, says: "type section twice or out of order"},
	{name: "section beyond the end", code: append(newWat(), 1, 100), open: true, says: "goes beyond the end"},
	{name: "unknown import", code: newWat().section(1, list([]byte{0x60, 0, 0})...).section(2, list(cat(name("env"), name("system"), []byte{0, 0}))...), open: true, says: `unknown import "env"."system"`},
	{name: "imported memory", code: newWat().section(2, list(cat(name("env"), name("memory"), []byte{2, 0, 1}))...), open: true, says: `import "env"."memory" is not a function`},
	{name: "no command", code: newWat(), open: true, says: "no function _start"},
	{name: "wrong types", code: command(1, body(0x41, 0)), open: true, says: "program refused"},
	{name: "text", code: []byte("#!/bin/sh\n"), open: true, says: "not a WebAssembly module"},
	{name: "empty", code: nil, open: true, says: "not a WebAssembly module"},
	{name: "wild pointers in host calls", code: wild(), lim: sandbox.Limits{Wall: 5 * time.Second}},
}

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

// wild calls host functions with pointers and lengths at and beyond the end of memory; each must answer with an error number.
func wild() []byte {
	funcs := []struct {
		name string
		args string
	}{
		{"args_get", "ii"}, {"args_sizes_get", "ii"}, {"environ_get", "ii"}, {"environ_sizes_get", "ii"}, {"clock_time_get", "iIi"}, {"clock_res_get", "ii"},
		{"fd_write", "iiii"}, {"fd_read", "iiii"}, {"fd_fdstat_get", "ii"}, {"fd_filestat_get", "ii"}, {"fd_prestat_get", "ii"}, {"fd_prestat_dir_name", "iii"},
		{"fd_readdir", "iiiIi"}, {"fd_seek", "iIii"}, {"path_open", "iiiiiIIii"}, {"path_filestat_get", "iiiii"}, {"path_unlink_file", "iii"},
		{"poll_oneoff", "iiii"}, {"random_get", "ii"}, {"sock_recv", "iiiiii"}, {"sock_send", "iiiii"},
	}
	types, imports := [][]byte{{0x60, 0, 0}}, [][]byte{}
	var code []byte
	for i, f := range funcs {
		kinds := bytes.NewBufferString(f.args)
		params := bytes.Map(func(r rune) rune { return map[rune]rune{'i': 0x7f, 'I': 0x7e}[r] }, kinds.Bytes())
		types = append(types, cat([]byte{0x60}, sized(params), []byte{1, 0x7f}))
		imports = append(imports, cat(name("wasi_snapshot_preview1"), name(f.name), []byte{0}, num(uint64(i+1))))
		for _, v := range []int32{-1, 65535, 65536, -65536, 1 << 30} {
			for j, k := range f.args {
				switch {
				case k == 'I':
					code = append(code, 0x42, 0)
				case j == 0 && (strings.HasPrefix(f.name, "fd_") || strings.HasPrefix(f.name, "clock") || strings.HasPrefix(f.name, "sock")):
					code = append(code, i32(1)...)
				default:
					code = append(code, i32(v)...)
				}
			}
			code = append(code, 0x10, byte(i), 0x1a)
		}
	}
	return newWat().section(1, list(types...)...).section(2, list(imports...)...).section(3, 1, 0).
		section(5, list([]byte{1, 1, 1})...).
		section(7, list(cat(name("_start"), []byte{0}, num(uint64(len(funcs)))), cat(name("memory"), []byte{2, 0}))...).
		section(10, list(sized(body(code...)))...)
}

func TestWasmAttacks(t *testing.T) {
	if raced {
		t.Skip("the race detector takes memory and time that the limits of this test do not leave")
	}
	for _, a := range wasmAttacks {
		t.Run(a.name, func(t *testing.T) {
			begin := time.Now()
			j, err := Open(t, Wasm, a.code, nil)
			if a.open {
				if !errors.Is(err, sandbox.ErrModule) || !strings.Contains(err.Error(), a.says) {
					t.Errorf("error %v; want %v with %q", err, sandbox.ErrModule, a.says)
				}
				if took := time.Since(begin); took > 2*time.Second {
					t.Errorf("refused after %v", took)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			limits := a.lim
			if limits.Wall == 0 {
				limits = sandbox.Limits{Wall: 300 * time.Millisecond, Memory: 64 << 20}
			}
			for range 2 { // what a run did to its guest, the next one would show
				begin = time.Now()
				_, err = j.Run(context.Background(), &sandbox.Run{Limits: limits})
				if took := time.Since(begin); took > limits.Wall+500*time.Millisecond {
					t.Errorf("ended after %v; limit %v", took, limits.Wall)
				}
				if a.is == nil && err != nil || !errors.Is(err, a.is) || err != nil && !strings.Contains(err.Error(), a.says) {
					t.Errorf("error %v; want %v with %q", err, a.is, a.says)
				}
				if a.kill {
					break
				}
			}
		})
	}
}

func TestWasmGuestAttacks(t *testing.T) {
	healthy := open(t, Wasm, nil)
	for _, args := range []string{"recurse", "memory 2000", "loop", "out 100000", "panic", "sleep 1h", "err 100"} {
		t.Run(args, func(t *testing.T) {
			run := &sandbox.Run{Args: strings.Fields(args), Limits: sandbox.Limits{Wall: 5 * time.Second, CPU: time.Second, Memory: 64 << 20, Output: 1 << 20}}
			_, err := healthy.Run(context.Background(), run)
			if harmless := strings.HasPrefix(args, "sleep") || strings.HasPrefix(args, "err"); harmless != (err == nil) {
				t.Errorf("error %v", err)
			}
			alive(t, healthy)
		})
	}
}

// TestWasmClock checks that time and chance are those of the run, not those of the machine.
func TestWasmClock(t *testing.T) {
	j := open(t, Wasm, nil)
	get := func(verb string, seed uint64) string {
		t.Helper()
		var out bytes.Buffer
		if _, err := j.Run(context.Background(), &sandbox.Run{Args: []string{verb}, Seed: seed, Streams: sandbox.Streams{Stdout: &out}}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got, want := get("clock", 1), "2000-01-01T00:00:00Z\n"; got != want {
		t.Errorf("clock %q; want %q", got, want)
	}
	if a, b, c := get("random", 1), get("random", 1), get("random", 2); a != b || a == c {
		t.Errorf("random bytes %q, %q with seed 1, %q with 2", a, b, c)
	}
}

// TestWasmMutants opens damaged modules: none may end the process that opens it.
func TestWasmMutants(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	whole := wild()
	j := open(t, Wasm, nil)
	for range 300 {
		m := bytes.Clone(whole)
		for range 1 + rng.IntN(3) {
			m[rng.IntN(len(m))] ^= 1 << rng.IntN(8)
		}
		m = m[:len(m)-rng.IntN(2)*rng.IntN(len(m))]
		if err := j.open(Wasm, m); err != nil {
			if !errors.Is(err, sandbox.ErrModule) {
				t.Fatalf("module %x: %v", m, err)
			}
			continue
		}
		_, err := j.Run(context.Background(), &sandbox.Run{Limits: sandbox.Limits{Wall: 200 * time.Millisecond, Memory: 16 << 20}})
		if err != nil && !errors.Is(err, sandbox.ErrTrap) && !errors.Is(err, sandbox.ErrLimit) && !errors.Is(err, sandbox.ErrExit) {
			t.Fatalf("module %x: %v", m, err)
		}
	}
}
