package sandbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/guest"
)

// bothEngines opens code on the compiler and on the interpreter.
func bothEngines(t *testing.T, code []byte) (compiled, interpreted Guest) {
	t.Helper()
	compiled, err := OpenWasm(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := compiled.Close(); err != nil {
			t.Error(err)
		}
	})
	return compiled, openInterpreted(t, code)
}

// openInterpreted opens code on the interpreter.
func openInterpreted(t *testing.T, code []byte) Guest {
	t.Helper()
	g, err := OpenInterpreted(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// output runs a guest and returns what it wrote and how it ended.
func output(g Guest, r Run, stdin io.Reader) string {
	var out bytes.Buffer
	r.Streams = Streams{Stdin: stdin, Stdout: &out}
	report, err := g.Run(context.Background(), &r)
	return fmt.Sprintf("%s%s%d %v", &out, report.Log, report.Exit, err)
}

// A guest sees the same in each run of the same seed, arguments and environment, on either engine, and chance is another one for
// another seed.
func TestGuestSeesTheSame(t *testing.T) {
	look := programOf(t, "look")
	compiled, interpreted := look.open(t), openInterpreted(t, look.code)
	run := Run{Args: []string{"a=1", "b=2"}, Env: []string{"Z=1", "A=2"}, Seed: 7}
	want := output(compiled, run, nil)
	if !strings.Contains(want, `args ["guest" "a=1" "b=2"]`) || !strings.Contains(want, `environ ["Z=1" "A=2"]`) || !strings.HasSuffix(want, "0 <nil>") {
		t.Fatalf("got %s", want)
	}
	for range 3 {
		if got := output(compiled, run, nil); got != want {
			t.Errorf("compiled: got\n%s\nfirst\n%s", got, want)
		}
	}
	for range 2 {
		if got := output(interpreted, run, nil); got != want {
			t.Errorf("interpreted: got\n%s\ncompiled\n%s", got, want)
		}
	}
	run.Seed = 8
	other := output(compiled, run, nil)
	if got := output(interpreted, run, nil); got != other {
		t.Errorf("interpreted: got\n%s\ncompiled\n%s", got, other)
	}
	if line(want, "random") == line(other, "random") {
		t.Errorf("two seeds, the same chance: %s", line(want, "random"))
	}
	if line(want, "shuffled") != line(other, "shuffled") { // Go's runtime asks for it before the guest has seen anything
		t.Errorf("the runtime's own chance: %s and %s", line(want, "shuffled"), line(other, "shuffled"))
	}
}

// line returns the line of text that begins with word.
func line(text, word string) string {
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, word+" ") {
			return l
		}
	}
	return ""
}

// Compiled and brought back to a snapshot, or interpreted from the start: the programs of testdata say the same of each mail.
func TestInterpretedSaysTheSame(t *testing.T) {
	bodies := mails(60)
	for _, name := range []string{"empty", "regexp", "c"} {
		t.Run(name, func(t *testing.T) {
			p := programOf(t, "mail-"+name)
			compiled, interpreted := p.open(t), openInterpreted(t, p.code)
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			var slow, fast time.Duration
			for i, body := range bodies {
				if i%4 == 3 { // not even mail
					for range 100 {
						body[random.IntN(len(body))] = byte(random.Uint32())
					}
				}
				run, stdin := Run{Seed: uint64(i)}, func() io.Reader { return bytes.NewReader(body) }
				if name != "c" {
					m := &guest.Meta{Key: fmt.Sprint(i), URI: "mem:in/x", Size: int64(len(body)), Modified: time.Unix(epoch, 0)}
					run.Env = guest.Env(guest.Map)
					stdin = func() io.Reader { return guest.ObjectStream(nil, m, nil, body) }
				}
				began := time.Now()
				want := output(compiled, run, stdin())
				fast += time.Since(began)
				began = time.Now()
				got := output(interpreted, run, stdin())
				slow += time.Since(began)
				if got != want {
					t.Errorf("mail %d: got %q, compiled %q", i, got, want)
				}
			}
			t.Logf("%v for each mail, interpreted %v", fast/time.Duration(len(bodies)), slow/time.Duration(len(bodies)))
		})
	}
}

// Recursion that the compiler has stack for, the interpreter may have none for, and says so.
func TestInterpretedStack(t *testing.T) {
	// A function that calls itself n times: local.get 0, if, local.get 0, i32.const 1, i32.sub, call 0, end.
	recurse := sized("\x00\x20\x00\x04\x40\x20\x00\x41\x01\x6b\x10\x00\x0b\x0b")
	start := body("\x41\xb8\x17\x10\x00") // i32.const 3000, call 0
	code := assemble(1, list("\x60\x01\x7f\x00", "\x60\x00\x00"), 3, list("\x00", "\x01"), 5, list("\x00\x01"),
		7, list(sized("_start")+"\x00\x01", sized("memory")+"\x02\x00"), 10, list(recurse, start))
	compiled, interpreted := bothEngines(t, code)
	if _, err := compiled.Run(t.Context(), &Run{}); err != nil {
		t.Error(err)
	}
	if _, err := interpreted.Run(t.Context(), &Run{}); !errors.Is(err, ErrStack) || !errors.Is(err, ErrTrap) {
		t.Errorf("got %v, want %v", err, ErrStack)
	}
}

// A floatOp is an instruction whose result may be a NaN.
type floatOp struct {
	name     string
	operands int
	code     string
	width    int // of a float in the result, bytes
	vector   bool
}

// floatOps are all of them.
func floatOps() []floatOp {
	ops := []floatOp{{"f32.demote_f64", 1, "\xb6", 4, false}, {"f64.promote_f32", 1, "\xbb", 8, false}, {"f32x4.demote_f64x2", 1, "\x5e", 4, true}, {"f64x2.promote_f32x4", 1, "\x5f", 8, true}}
	names := []string{"ceil", "floor", "trunc", "nearest", "sqrt", "add", "sub", "mul", "div", "min", "max", "pmin", "pmax"}
	codes := map[string][]int{ // by their type
		"f32":   {0x8d, 0x8e, 0x8f, 0x90, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97},
		"f64":   {0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5},
		"f32x4": {103, 104, 105, 106, 227, 228, 229, 230, 231, 232, 233, 234, 235},
		"f64x2": {116, 117, 122, 148, 239, 240, 241, 242, 243, 244, 245, 246, 247},
	}
	for _, kind := range []string{"f32", "f64", "f32x4", "f64x2"} {
		for i, c := range codes[kind] {
			op := floatOp{name: kind + "." + names[i], operands: 2, code: string([]byte{byte(c)}), width: 4, vector: len(kind) > 3}
			if names[i] == "sqrt" || i < 4 {
				op.operands = 1
			}
			if strings.HasPrefix(kind, "f64") {
				op.width = 8
			}
			if op.vector {
				op.code = number(c)
			}
			ops = append(ops, op)
		}
	}
	return ops
}

// calculator assembles a module that reads two operands of 16 bytes, and writes 16 bytes for the result of each instruction.
func calculator(ops []floatOp) []byte {
	const in, out = 32, 128
	call := func(f string) string { // of one vector at 16, with 8 for the answer; the descriptor has the number of the function
		return "\x41" + f + "\x41\x10\x41\x01\x41\x08\x10" + f + "\x1a"
	}
	vector := func(at, n int) string {
		return "\x41\x10" + constant(at) + "\x36\x02\x00" + "\x41\x14" + constant(n) + "\x36\x02\x00"
	}
	code := vector(in, 32) + call("\x00")
	for i, op := range ops {
		load, store := map[int]string{4: "\x2a\x02\x00", 8: "\x2b\x03\x00"}, map[int]string{4: "\x38\x02\x00", 8: "\x39\x03\x00"}[op.width]
		from := op.width
		if strings.Contains(op.name, "mote_") {
			from = 12 - from
		}
		prefix, get := "", load[from]
		if op.vector {
			prefix, get, store = "\xfd", "\xfd\x00\x04\x00", "\xfd\x0b\x04\x00"
		}
		code += constant(out + 16*i)
		for n := range op.operands {
			code += constant(in+16*n) + get
		}
		code += prefix + op.code + store
	}
	code += vector(out, 16*len(ops)) + call("\x01")
	wasi := sized("wasi_snapshot_preview1")
	return assemble(1, list("\x60\x04\x7f\x7f\x7f\x7f\x01\x7f", "\x60\x00\x00"),
		2, list(wasi+sized("fd_read")+"\x00\x00", wasi+sized("fd_write")+"\x00\x00"), 3, list("\x01"), 5, list("\x00\x01"),
		7, list(sized("_start")+"\x00\x02", sized("memory")+"\x02\x00"), 10, list(body(code)))
}

// constant is i32.const n.
func constant(n int) string {
	b := []byte{0x41}
	for ; n >= 0x40; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return string(append(b, byte(n)))
}

// Both engines compute the same floats; of a NaN, which the specification leaves partly open, the bits may differ.
func TestInterpretedFloats(t *testing.T) {
	ops := floatOps()
	compiled, interpreted := bothEngines(t, calculator(ops))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	special := []uint64{
		0, 1 << 63, math.Float64bits(1), math.Float64bits(-2.5), math.Float64bits(math.Inf(1)), math.Float64bits(math.Inf(-1)),
		0x7ff8000000000000, 0xfff8000000000000, 0x7ff8000000000001, 0x7ff0000000000001, 0xfff4000000000123, 1, 0x000fffffffffffff,
		0x7fc000007fc00000, 0xffc00000ffc00000, 0x7f8000017f800001, 0xffa01234ffa01234, 0x7f8000007f800000, 0xff800000ff800000, 0x3f8000003f800000, 0x8000000080000000,
	}
	differ := make(map[string]int)
	for range 3000 {
		var in [32]byte
		for i := 0; i < len(in); i += 8 {
			v := random.Uint64()
			if random.IntN(2) == 0 {
				v = special[random.IntN(len(special))]
			}
			binary.LittleEndian.PutUint64(in[i:], v)
		}
		var outs [2]bytes.Buffer
		for i, g := range []Guest{compiled, interpreted} {
			if _, err := g.Run(t.Context(), &Run{Streams: Streams{Stdin: bytes.NewReader(in[:]), Stdout: &outs[i]}}); err != nil {
				t.Fatal(err)
			}
			if outs[i].Len() != 16*len(ops) {
				t.Fatalf("engine %d wrote %d bytes", i, outs[i].Len())
			}
		}
		for i, op := range ops {
			for at := 0; at < 16; at += op.width {
				a, b := outs[0].Bytes()[16*i+at:][:op.width], outs[1].Bytes()[16*i+at:][:op.width]
				if bytes.Equal(a, b) {
					continue
				}
				if !isNaN(a) || !isNaN(b) {
					t.Errorf("%s of %x: compiled %x, interpreted %x", op.name, in, a, b)
				}
				differ[op.name]++
			}
		}
	}
	t.Logf("%d instructions, 3,000 calculations; NaNs of other bits: %v", len(ops), differ)
}

// isNaN reports whether b is a NaN, little-endian.
func isNaN(b []byte) bool {
	if len(b) == 4 {
		return math.IsNaN(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
	}
	return math.IsNaN(math.Float64frombits(binary.LittleEndian.Uint64(b)))
}

// The limits hold on the interpreter as well, and one run that failed does not spoil the next.
func TestInterpretedLimits(t *testing.T) {
	if raced {
		t.Skip("the watch sets a global without a lock, which machine code reads as well as the interpreter, and of the latter the race detector knows")
	}
	loop := assemble(1, list("\x60\x00\x00"), 3, list("\x00"), 5, list("\x00\x01"),
		7, list(sized("_start")+"\x00\x00", sized("memory")+"\x02\x00"), 10, list(body("\x03\x40\x0c\x00\x0b")))
	_, g := bothEngines(t, loop)
	for range 2 {
		if _, err := g.Run(t.Context(), &Run{Limits: Limits{Wall: 50 * time.Millisecond}}); !errors.Is(err, ErrLimit) || !errors.Is(err, ErrTime) {
			t.Errorf("got %v, want %v", err, ErrTime)
		}
	}
	if _, err := OpenInterpreted(t.Context(), []byte("\x00asm")); !errors.Is(err, ErrModule) {
		t.Errorf("got %v, want %v", err, ErrModule)
	}
}

// Relaxed vector instructions, which may compute something else on another processor, are refused.
func TestRelaxedVectorsAreRefused(t *testing.T) {
	vector := "\xfd\x0c" + strings.Repeat("\x00", 16) // v128.const 0
	for op, operands := range map[string]int{"\x80\x02": 2, "\x85\x02": 3, "\x8d\x02": 2, "\x93\x02": 3} {
		code := assemble(1, list("\x60\x00\x00"), 3, list("\x00"), 5, list("\x00\x01"),
			7, list(sized("_start")+"\x00\x00", sized("memory")+"\x02\x00"),
			10, list(body(strings.Repeat(vector, operands)+"\xfd"+op+"\x1a")))
		for name, open := range map[string]func(context.Context, []byte) (Guest, error){"compiled": OpenWasm, "interpreted": OpenInterpreted} {
			if _, err := open(t.Context(), code); !errors.Is(err, ErrModule) {
				t.Errorf("%x %s: got %v, want %v", op, name, err, ErrModule)
			}
		}
	}
	strict := assemble(1, list("\x60\x00\x00"), 3, list("\x00"), 5, list("\x00\x01"),
		7, list(sized("_start")+"\x00\x00", sized("memory")+"\x02\x00"), 10, list(body(vector+vector+"\xfd\xe4\x01\x1a"))) // f32x4.add
	bothEngines(t, strict)
}
