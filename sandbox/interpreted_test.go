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
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/guest"
)

// buildLook compiles testdata/look.
func buildLook(t *testing.T) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "look.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-o", out, "./testdata/look")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	code, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// bothEngines opens code on the compiler and on the interpreter.
func bothEngines(t *testing.T, code []byte) (compiled, interpreted Guest) {
	t.Helper()
	compiled, err := OpenWasm(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	interpreted, err = OpenInterpreted(t.Context(), code)
	t.Cleanup(func() {
		if err := errors.Join(compiled.Close(), interpreted.Close()); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return compiled, interpreted
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
	compiled, interpreted := bothEngines(t, buildLook(t))
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
	bodies, _ := mails(60)
	for _, name := range []string{"empty", "regexp", "c"} {
		t.Run(name, func(t *testing.T) {
			compiled, interpreted := bothEngines(t, buildMail(t, name))
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

// floatOps are the instructions whose result may be a NaN: their number of operands and code, and the width in bytes.
var floatOps = []struct {
	name     string
	operands int
	code     string
	wide     bool
}{
	{"f32.ceil", 1, "\x8d", false}, {"f32.floor", 1, "\x8e", false}, {"f32.trunc", 1, "\x8f", false}, {"f32.nearest", 1, "\x90", false}, {"f32.sqrt", 1, "\x91", false},
	{"f32.add", 2, "\x92", false}, {"f32.sub", 2, "\x93", false}, {"f32.mul", 2, "\x94", false}, {"f32.div", 2, "\x95", false}, {"f32.min", 2, "\x96", false}, {"f32.max", 2, "\x97", false},
	{"f64.ceil", 1, "\x9b", true}, {"f64.floor", 1, "\x9c", true}, {"f64.trunc", 1, "\x9d", true}, {"f64.nearest", 1, "\x9e", true}, {"f64.sqrt", 1, "\x9f", true},
	{"f64.add", 2, "\xa0", true}, {"f64.sub", 2, "\xa1", true}, {"f64.mul", 2, "\xa2", true}, {"f64.div", 2, "\xa3", true}, {"f64.min", 2, "\xa4", true}, {"f64.max", 2, "\xa5", true},
	{"f32.demote", 1, "\xb6", false}, {"f64.promote", 1, "\xbb", true},
}

// calculator assembles a module that reads two operands of 8 bytes, and writes 8 bytes for the result of each instruction.
func calculator() []byte {
	call := func(f string) string { // with the 16 bytes at 32, or however many are meant, of descriptor and a vector at 16
		return "\x41" + f + "\x41\x10\x41\x01\x41\x08\x10" + f + "\x1a"
	}
	vector := func(at, n int32) string { // at 16
		return "\x41\x10" + constant(at) + "\x36\x02\x00" + "\x41\x14" + constant(n) + "\x36\x02\x00"
	}
	code := vector(32, 16) + call("\x00")
	for i, op := range floatOps {
		load, store := "\x2a\x02\x00", "\x38\x02\x00"
		if op.wide {
			load, store = "\x2b\x03\x00", "\x39\x03\x00"
		}
		from := load
		switch op.name {
		case "f32.demote":
			from = "\x2b\x03\x00"
		case "f64.promote":
			from = "\x2a\x02\x00"
		}
		code += constant(int32(64 + 8*i))
		for n := range op.operands {
			code += constant(int32(32+8*n)) + from
		}
		code += op.code + store
	}
	code += vector(64, int32(8*len(floatOps))) + call("\x01")
	wasi := sized("wasi_snapshot_preview1")
	return assemble(1, list("\x60\x04\x7f\x7f\x7f\x7f\x01\x7f", "\x60\x00\x00"),
		2, list(wasi+sized("fd_read")+"\x00\x00", wasi+sized("fd_write")+"\x00\x00"), 3, list("\x01"), 5, list("\x00\x01"),
		7, list(sized("_start")+"\x00\x02", sized("memory")+"\x02\x00"), 10, list(body(code)))
}

// constant is i32.const n.
func constant(n int32) string {
	b := []byte{0x41}
	for ; n >= 0x40; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return string(append(b, byte(n)))
}

// Both engines compute the same floats; of a NaN, which the specification leaves partly open, the bits may differ.
func TestInterpretedFloats(t *testing.T) {
	compiled, interpreted := bothEngines(t, calculator())
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	special := []uint64{
		0, 1 << 63, math.Float64bits(1), math.Float64bits(-2.5), math.Float64bits(math.Inf(1)), math.Float64bits(math.Inf(-1)),
		0x7ff8000000000000, 0xfff8000000000000, 0x7ff8000000000001, 0x7ff0000000000001, 0xfff4000000000123, 1, 0x000fffffffffffff,
		0x7fc00000, 0xffc00000, 0x7f800001, 0xffa01234, 0x7f800000, 0xff800000, 0x3f800000, 0x80000000,
	}
	operand := func() uint64 {
		if random.IntN(2) == 0 {
			return special[random.IntN(len(special))]
		}
		return random.Uint64()
	}
	differ := make(map[string]int)
	for range 3000 {
		var in [16]byte
		x, y := operand(), operand()
		binary.LittleEndian.PutUint64(in[:], x)
		binary.LittleEndian.PutUint64(in[8:], y)
		var outs [2]bytes.Buffer
		for i, g := range []Guest{compiled, interpreted} {
			if _, err := g.Run(t.Context(), &Run{Streams: Streams{Stdin: bytes.NewReader(in[:]), Stdout: &outs[i]}}); err != nil {
				t.Fatal(err)
			}
			if outs[i].Len() != 8*len(floatOps) {
				t.Fatalf("engine %d wrote %d bytes", i, outs[i].Len())
			}
		}
		for i, op := range floatOps {
			a, b := binary.LittleEndian.Uint64(outs[0].Bytes()[8*i:]), binary.LittleEndian.Uint64(outs[1].Bytes()[8*i:])
			if a == b {
				continue
			}
			nan := func(v uint64) bool {
				if op.wide {
					return math.IsNaN(math.Float64frombits(v))
				}
				return v>>32 == 0 && math.IsNaN(float64(math.Float32frombits(uint32(v))))
			}
			if !nan(a) || !nan(b) {
				t.Errorf("%s of %x, %x: compiled %x, interpreted %x", op.name, x, y, a, b)
			}
			if differ[op.name]++; differ[op.name] == 1 {
				t.Logf("%s of %x, %x: NaN compiled %x, interpreted %x", op.name, x, y, a, b)
			}
		}
	}
	t.Logf("NaNs of other bits, in 3,000 calculations: %v", differ)
}

// The limits hold on the interpreter as well, and one run that failed does not spoil the next.
func TestInterpretedLimits(t *testing.T) {
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
