package sandboxtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
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
	kill bool // it cannot be stopped from inside, only by a kill
}{
	{name: "endless loop", code: command(1, body(0x03, 0x40, 0x0c, 0, 0x0b)), is: sandbox.ErrLimit, says: "guest wall clock limit: 300ms"},
	{name: "endless start function", code: newWat().section(1, list([]byte{0x60, 0, 0})...).section(3, 1, 0).section(7, list(cat(name("_start"), []byte{0, 0}))...).
		section(8, 0).section(10, list(sized(body(0x03, 0x40, 0x0c, 0, 0x0b)))...), is: sandbox.ErrLimit, says: "wall clock"},
	{name: "endless recursion", code: command(1, body(0x10, 0)), is: sandbox.ErrTrap, says: "stack overflow", lim: sandbox.Limits{Wall: 5 * time.Second}},
	{name: "calls without a loop", code: command(1, calls(40)...), is: sandbox.ErrLimit, says: "wall clock"},
	{name: "unreachable", code: command(1, body(0x00)), is: sandbox.ErrTrap, says: "unreachable"},
	{name: "division by zero", code: command(1, body(0x41, 1, 0x41, 0, 0x6d, 0x1a)), is: sandbox.ErrTrap, says: "integer divide by zero"},
	{name: "read beyond memory", code: command(1, body(cat(i32(65535), []byte{0x28, 2, 0, 0x1a})...)), is: sandbox.ErrTrap, says: "out of bounds memory access"},
	{name: "memory.grow to 4 GiB", code: command(1, body(cat(i32(65535), []byte{0x40, 0}, i32(-1), []byte{0x46, 0x04, 0x40, 0x00, 0x0b})...)), is: sandbox.ErrLimit, says: "guest memory limit: asked 4 GiB of 64 MiB"},
	{name: "memory.fill in a loop", code: command(1024, body(repeatedFill()...)), is: sandbox.ErrLimit, says: "wall clock"},
	{name: "straight-line memory.fill", code: command(1024, body(straight(0xfc, 11, 0)...)), is: sandbox.ErrLimit, says: "wall clock", kill: true},
	{name: "straight-line memory.copy", code: command(1024, body(straight(0xfc, 10, 0, 0)...)), is: sandbox.ErrLimit, says: "wall clock", kill: true},
	{name: "table.grow without end", code: growsTable(), is: sandbox.ErrLimit, says: "wall clock"},
	{name: "65,536 pages", code: command(65536, body()), open: true, says: "memory of 65536 pages"},
	{name: "more pages than the limit", code: command(2000, body()), is: sandbox.ErrLimit, says: "guest memory limit: asked 125 MiB of 64 MiB"},
	{name: "several memories", code: newWat().section(5, list([]byte{0, 1}, []byte{0, 1})...), open: true, says: "2 memories; at most 1"},
	{name: "giant table", code: newWat().section(4, list(cat([]byte{0x70, 0}, num(1<<31)))...), open: true, says: "tables of 2147483648 elements"},
	{name: "2^26 locals in 38 bytes", code: command(1, cat(num(1), num(1<<26), []byte{0x7f, 0x0b})), open: true, says: "67108864 locals"},
	{name: "2,000 functions of 50,000 locals", code: command(1, slices.Repeat([][]byte{cat(num(1), num(50000), []byte{0x7f, 0x0b})}, 2000)...), open: true, says: "50000 locals"},
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
	{name: "200,000 opens", code: opens(200_000, "etc/passwd"), lim: sandbox.Limits{Wall: 5 * time.Second}},
	{name: "paths outside, absolute", code: opens(10, "/etc/passwd")},
	{name: "paths outside, upwards", code: opens(10, "../../../../etc/passwd")},
	{name: "paths outside, with NUL", code: opens(10, "etc\x00/passwd")},
	{name: "sockets", code: sockets()},
	{name: "proc_exit in the start function", code: exits(true, 1), is: sandbox.ErrExit, says: "guest exited 7"},
	{name: "proc_exit inside calls", code: exits(false, 50), is: sandbox.ErrExit, says: "guest exited 7"},
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

// straight fills or copies 64 MiB, 3,000 times without a loop or a call.
func straight(op ...byte) []byte {
	return bytes.Repeat(cat(i32(0), i32(1), i32(64<<20-1), op), 3000)
}

// nextWorks checks that another module runs in a jail after an attack, as it does in a new one.
func nextWorks(t *testing.T, j *Jail) {
	t.Helper()
	err := j.open(Wasm, canaries())
	for range 2 {
		if err == nil {
			_, err = j.Run(context.Background(), &sandbox.Run{})
		}
	}
	if err != nil {
		t.Errorf("the slot's next module: %v", err)
	}
}

func TestWasmAttacks(t *testing.T) {
	if raced {
		t.Skip("the race detector takes memory and time that the limits of this test do not leave")
	}
	o := NewOutside(t)
	healthy := canaries()
	for _, a := range wasmAttacks {
		t.Run(a.name, func(t *testing.T) {
			j, err := Open(t, Wasm, healthy, nil)
			if err != nil {
				t.Fatal(err)
			}
			o.Begin()
			defer o.Check(t)
			begin := time.Now()
			err = j.open(Wasm, a.code)
			if a.open {
				if !errors.Is(err, sandbox.ErrModule) || !strings.Contains(err.Error(), a.says) {
					t.Errorf("error %v; want %v with %q", err, sandbox.ErrModule, a.says)
				}
				if took := time.Since(begin); took > Patience {
					t.Errorf("refused after %v", took)
				}
				nextWorks(t, j)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if a.kill { // nothing inside can end it
				j.Grace = 250 * time.Millisecond
			}
			limits := a.lim
			if limits.Wall == 0 {
				limits = sandbox.Limits{Wall: 300 * time.Millisecond, Memory: 64 << 20}
			}
			for range 2 { // what a run did to its guest, the next one would show
				begin = time.Now()
				_, err = j.Run(context.Background(), &sandbox.Run{Limits: limits})
				if took := time.Since(begin); took > limits.Wall+Patience+time.Second {
					t.Errorf("ended after %v; limit %v", took, limits.Wall)
				}
				if a.is == nil && err != nil || !errors.Is(err, a.is) || err != nil && !strings.Contains(err.Error(), a.says) {
					t.Errorf("error %v; want %v with %q", err, a.is, a.says)
				}
				killed := err != nil && strings.HasSuffix(err.Error(), ": killed")
				if killed != a.kill {
					t.Errorf("error %v; want one that ended it from outside: %v", err, a.kill)
				}
				if killed { // its slot gets another jail
					if j, err = Open(t, Wasm, healthy, nil); err != nil {
						t.Fatal(err)
					}
					break
				}
			}
			nextWorks(t, j)
		})
	}
}

// hostErrors are how guests end that call a function so; those of other functions get an error number.
var hostErrors = map[string]error{
	"proc_exit": sandbox.ErrExit,
}

// TestWasmHostCalls calls each host function with pointers and lengths at and beyond the end of memory.
func TestWasmHostCalls(t *testing.T) {
	o := NewOutside(t)
	j, err := Open(t, Wasm, canaries(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, function := range slices.Sorted(maps.Keys(wasiTypes)) {
		t.Run(function, func(t *testing.T) {
			if err := j.open(Wasm, wild(function)); err != nil {
				t.Fatal(err)
			}
			o.Begin()
			_, err := j.Run(context.Background(), &sandbox.Run{Args: []string{"a"}, Env: []string{"A=1"},
				Limits: sandbox.Limits{Wall: 5 * time.Second, Memory: 16 << 20}, Streams: sandbox.Streams{Stdin: strings.NewReader("input")}})
			if want := hostErrors[function]; want == nil && err != nil || !errors.Is(err, want) {
				t.Errorf("error %v; want %v", err, want)
			}
			o.Check(t)
		})
	}
}

// TestWasmCanaries runs a guest that leaves things behind and looks for them.
func TestWasmCanaries(t *testing.T) {
	j, err := Open(t, Wasm, canaries(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := j.Run(context.Background(), &sandbox.Run{}); err != nil {
			t.Fatalf("run %d: %v", i, err)
		}
	}
}

// guestAttacks are what the probe tries as a wasm guest.
var guestAttacks = []string{"recurse", "memory 2000", "loop", "out 1000000", "panic", "sleep 1h", "err 1000000"}

func TestWasmGuestAttacks(t *testing.T) {
	healthy := open(t, Wasm, nil)
	for _, args := range guestAttacks {
		t.Run(args, func(t *testing.T) {
			run := &sandbox.Run{Args: strings.Fields(args), Limits: sandbox.Limits{Wall: 5 * time.Second, CPU: time.Second, Memory: 64 << 20, Output: 1 << 20}}
			_, err := healthy.Run(context.Background(), run)
			if harmless := strings.HasPrefix(args, "sleep"); harmless != (err == nil) {
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

var soak = flag.Bool("soak", false, "run the whole of what is sampled otherwise: minutes")

// TestWasmMutants opens and runs modules that are cut short or have some bits flipped: none may end the process that opens it.
func TestWasmMutants(t *testing.T) {
	modules, seed := 400, uint64(time.Now().UnixNano())
	if *soak {
		modules = 10_000
	}
	t.Logf("%d modules, seed %d", modules, seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	bases := [][]byte{canaries(), wild("fd_write"), wild("poll_oneoff"), wild("path_open"), exits(true, 20), command(1, calls(5)...)}
	o := NewOutside(t)
	j, err := Open(t, Wasm, bases[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Begin()
	ran := 0
	for i := range modules {
		m := bytes.Clone(bases[i%len(bases)])
		if rng.IntN(2) == 0 {
			m = m[:rng.IntN(len(m))]
		} else {
			for range 1 + rng.IntN(3) {
				m[rng.IntN(len(m))] ^= 1 << rng.IntN(8)
			}
		}
		if err := j.open(Wasm, m); err != nil {
			if !errors.Is(err, sandbox.ErrModule) {
				t.Fatalf("module %x: %v", m, err)
			}
			continue
		}
		ran++
		_, err := j.Run(context.Background(), &sandbox.Run{Limits: sandbox.Limits{Wall: 200 * time.Millisecond, Memory: 16 << 20}})
		if err != nil && !errors.Is(err, sandbox.ErrTrap) && !errors.Is(err, sandbox.ErrLimit) && !errors.Is(err, sandbox.ErrExit) {
			t.Fatalf("module %x: %v", m, err)
		}
		if err != nil && strings.HasSuffix(err.Error(), ": killed") { // from outside
			if j, err = Open(t, Wasm, bases[0], nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d were accepted", ran)
	o.Check(t)
}
