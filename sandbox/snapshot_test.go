package sandbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/guest"
)

// A code is the body of a function under construction.
type code []byte

func (c code) op(b ...byte) code { return append(c, b...) }

// i32 pushes a constant; i64 the same.
func (c code) i32(n int32) code { return append(append(c, 0x41), signed(int64(n))...) }
func (c code) i64(n int64) code { return append(append(c, 0x42), signed(n)...) }

// at is a load or store at an offset from the address on the stack.
func (c code) at(op byte, offset uint64) code {
	return binary.AppendUvarint(append(c, op, 0), offset)
}

func (c code) put32(at, v int32) code { return c.i32(at).i32(v).at(0x36, 0) }

func signed(n int64) (b []byte) {
	for {
		c := byte(n & 0x7f)
		if n >>= 7; n == 0 && c&0x40 == 0 || n == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

// Calls of a program made by command, in the order of its imports.
const (
	callRead, callWrite, callClose, callRandom, callExit = 0, 1, 2, 3, 4
)

// command makes a program with 4 pages of memory, globals 0 (i64) and 1 (i32), and locals 0 and 1 (i32).
func command(body code) []byte {
	i := i32
	import_ := func(typ int, name string) []byte { return external(typ, "wasi_snapshot_preview1", name) }
	return newAssembled().
		section(1, []byte{0x60, 0, 0}, []byte{0x60, 4, i, i, i, i, 1, i}, []byte{0x60, 1, i, 1, i}, []byte{0x60, 2, i, i, 1, i}, []byte{0x60, 1, i, 0}).
		section(2, import_(1, "fd_read"), import_(1, "fd_write"), import_(2, "fd_close"), import_(3, "random_get"), import_(4, "proc_exit")).
		section(3, []byte{0}).section(5, []byte{0, 4}).
		section(6, []byte{0x7e, 1, 0x42, 0, 0x0b}, []byte{i, 1, 0x41, 0, 0x0b}).
		section(7, external(5, "_start")).
		section(10, prefixed(append(append([]byte{1, 2, i}, body...), 0x0b)...))
}

// read reads 16 bytes of stdin to 1024; write writes n bytes from 2048.
func (c code) read() code {
	return c.put32(16, 1024).put32(20, 16).i32(0).i32(16).i32(1).i32(8).op(0x10, callRead, 0x1a)
}

func (c code) write(n int32) code {
	return c.put32(16, 2048).put32(20, n).i32(1).i32(16).i32(1).i32(8).op(0x10, callWrite, 0x1a)
}

// canaries is a program that looks for what a run before it left, writes which of it it has found, and leaves as much as it can:
// in globals, in memory at places that its input chooses, in memory that it grows, in descriptors.
func canaries() []byte {
	const canary = 0x0123456789abcdef
	c := code{}.read()
	found := func(c code, bit int32) code { // if the condition on the stack holds
		return c.op(0x04, 0x40).op(0x20, 1).i32(bit).op(0x72, 0x21, 1).op(0x0b)
	}
	c = found(c.op(0x23, 0).i64(0).op(0x52), 1)                    // global 0 is not 0
	c = found(c.op(0x23, 1).i32(0).op(0x47), 2)                    // global 1 is not 0
	c = found(c.op(0x3f, 0).i32(4).op(0x47), 4)                    // memory.size
	c = c.i32(4096).op(0x21, 0).op(0x03, 0x40)                     // from page 1 to the end of memory:
	c = found(c.op(0x20, 0).at(0x29, 0).i64(0).op(0x52), 8)        // not 0
	c = c.op(0x20, 0).i32(8).op(0x6a, 0x22, 0)                     // next
	c = c.op(0x3f, 0).i32(16).op(0x74, 0x49).op(0x0d, 0, 0x0b)     // below memory.size << 16: again
	c = found(c.i32(2).op(0x10, callClose), 16)                    // stderr is closed
	c = c.i32(2048).op(0x20, 1).at(0x36, 0).write(1)               // tell
	c = c.i64(canary).op(0x24, 0).i32(1).op(0x24, 1)               // leave: globals
	c = c.i32(1024).at(0x2d, 0).i32(1).op(0x71, 0x04, 0x40)        // input[0] & 1:
	c = c.i32(1).op(0x40, 0, 0x1a, 0x0b)                           // grow by a page
	c = c.i32(1025).at(0x2d, 0).i32(5).op(0x74).i32(4096).op(0x6a) // from input[1] << 5 + 4096
	c = c.op(0x21, 0).op(0x03, 0x40)                               // on:
	c = c.op(0x20, 0).i64(canary).at(0x37, 0)                      // a canary
	c = c.op(0x20, 0).i32(1026).at(0x2d, 0).i32(5).op(0x74)        // each input[2] << 5
	c = c.i32(4088).op(0x6a).i32(-8).op(0x71, 0x6a, 0x22, 0)       // + 4088 bytes
	c = c.op(0x3f, 0).i32(16).op(0x74, 0x49).op(0x0d, 0, 0x0b)     // to the end
	c = c.i32(1027).at(0x2d, 0).i32(1).op(0x71, 0x04, 0x40)        // input[3] & 1:
	return command(c.i32(0).op(0x10, callExit, 0x0b))              // exit, else return
}

// TestCanaries looks for what a run may have left for the next one. SANDBOX_SOAK is the number of runs, 5,000 if unset.
func TestCanaries(t *testing.T) {
	runs := 5000
	if s := os.Getenv("SANDBOX_SOAK"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		runs = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	g, err := OpenWasm(context.Background(), canaries())
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	restored := 0
	var in [16]byte
	for i := range runs {
		for b := range in {
			in[b] = byte(rng.Uint32())
		}
		if g.(*wasmGuest).instance != nil {
			restored++
		}
		var out bytes.Buffer
		if _, err := g.Run(context.Background(), &Run{Streams: Streams{Stdin: bytes.NewReader(in[:]), Stdout: &out}}); err != nil {
			t.Fatalf("run %d: %v", i, err)
		}
		if !bytes.Equal(out.Bytes(), []byte{0}) {
			t.Fatalf("run %d found canaries %b after input %x", i, out.Bytes(), in)
		}
	}
	t.Logf("%d runs, %d of them restored, no canary", runs, restored)
	if restored < runs*9/10 {
		t.Errorf("%d of %d runs were restored", restored, runs)
	}
}

// TestEveryPage holds the whole memory against the image after each restore.
func TestEveryPage(t *testing.T) {
	bodies := mails(300)
	for _, name := range []string{"empty", "regexp"} {
		g := openMail(t, name, false)
		for i, body := range bodies {
			if a, err := mapMail(g, "mail.eml", body); err != nil || a.failed != "" {
				t.Fatalf("%s, mail %d: %v %s", name, i, err, a.failed)
			}
			p := g.instance.snapshot.pages
			p.restore(g.instance.memory.peak)
			p.reach = len(p.isHot)
			for page := range p.isHot {
				if p.changed(page) {
					t.Fatalf("%s, mail %d: page %d is not restored (hot: %t)", name, i, page, p.isHot[page])
				}
			}
		}
	}
}

// TestDeepStack takes a snapshot deep in a recursion, and recurses as deep as the input says after it, so that the engine has to move the stack.
func TestDeepStack(t *testing.T) {
	i := i32
	fold := func(c code) code { // global 0 = global 0 * 31 + input[n & 15] + n
		c = c.op(0x23, 0).i64(31).op(0x7e).op(0x20, 0).i32(15).op(0x71).at(0x2d, 1024).op(0xad, 0x7c)
		return c.op(0x20, 0, 0xad, 0x7c, 0x24, 0)
	}
	below := func(c code, f byte) code { return c.op(0x20, 0).i32(1).op(0x6b, 0x10, f) } // f(n - 1)
	const before, after = 6, 7
	down := fold(below(code{}.op(0x20, 0, 0x04, 0x40), before).op(0x05).read().op(0x0b))
	again := fold(below(code{}.op(0x20, 0, 0x04, 0x40), after).op(0x05).write(4).op(0x0b))
	main := code{}.i32(300).op(0x10, before).i32(1024).at(0x2f, 0).i32(0x1fff).op(0x71, 0x10, after)
	main = main.i32(2048).op(0x23, 0).at(0x37, 0).write(8)
	body := func(c code) []byte { return prefixed(append(append([]byte{0}, c...), 0x0b)...) }
	import_ := func(typ int, name string) []byte { return external(typ, "wasi_snapshot_preview1", name) }
	program := newAssembled().
		section(1, []byte{0x60, 0, 0}, []byte{0x60, 4, i, i, i, i, 1, i}, []byte{0x60, 1, i, 1, i}, []byte{0x60, 2, i, i, 1, i}, []byte{0x60, 1, i, 0}).
		section(2, import_(1, "fd_read"), import_(1, "fd_write"), import_(2, "fd_close"), import_(3, "random_get"), import_(4, "proc_exit")).
		section(3, []byte{0}, []byte{4}, []byte{4}).section(5, []byte{0, 1}).section(6, []byte{0x7e, 1, 0x42, 0, 0x0b}).
		section(7, external(5, "_start")).section(10, body(main), body(down), body(again))

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	restored, fresh := pair(t, program)
	for n := range 40 {
		var in [16]byte
		for b := range in {
			in[b] = byte(rng.Uint32())
		}
		if n%4 == 0 {
			in[1] = 0 // not deep
		}
		if got, want := outcome(restored, Run{}, in[:]), outcome(fresh, Run{}, in[:]); got != want {
			t.Fatalf("input %x\nrestored %s\nfresh    %s", in, got, want)
		}
	}
	if restored.(*wasmGuest).instance == nil {
		t.Error("no snapshot was taken")
	}
}

// An outcome is all that a run shows, but for time.
func outcome(g Guest, r Run, in []byte) string {
	var out bytes.Buffer
	r.Streams = Streams{Stdin: bytes.NewReader(in), Stdout: &out}
	report, err := g.Run(context.Background(), &r)
	return fmt.Sprintf("%x %v exit %d peak %d read %d wrote %d/%d log %q", out.Bytes(), err, report.Exit, report.PeakMemory, report.ReadBytes, report.Writes, report.WriteBytes, report.Log)
}

// pair opens a program twice: one guest is restored, the other made afresh for each run.
func pair(t *testing.T, program []byte) (restored, fresh Guest) {
	t.Helper()
	var guests [2]Guest
	for i := range guests {
		g, err := OpenWasm(context.Background(), program)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { g.Close() })
		guests[i] = g
	}
	guests[1].(*wasmGuest).code.fixed = "this is a test"
	return guests[0], guests[1]
}

// TestRestoredLikeFresh runs random programs over random inputs, restored and fresh.
func TestRestoredLikeFresh(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	programs := 60
	if testing.Short() {
		programs = 15
	}
	for range programs {
		program := randomProgram(rng)
		restored, fresh := pair(t, program)
		for range 12 {
			in := make([]byte, rng.IntN(20))
			for i := range in {
				in[i] = byte(rng.Uint32())
			}
			r := Run{Seed: rng.Uint64N(3), Limits: Limits{Memory: 1 << 20, Output: 3000, Log: 100}}
			if got, want := outcome(restored, r, in), outcome(fresh, r, in); got != want {
				t.Fatalf("program %x\ninput %x\nrestored %s\nfresh    %s", program, in, got, want)
			}
		}
	}
}

// randomProgram makes a program that sets up, reads, computes, and tells all of its state.
func randomProgram(rng *rand.Rand) []byte {
	c := randomCode(code{}, rng, 3).read()
	c = randomCode(c, rng, 12)
	for i := range int32(4) { // memory, folded, and globals
		c = c.i32(2048+8*i).i32(4096*(1+i)+8*rng.Int32N(64)).at(0x29, 0).op(0x23, 0, 0x7c).at(0x37, 0)
	}
	c = c.i32(2080).op(0x23, 1).at(0x36, 0).i32(2084).op(0x3f, 0).at(0x36, 0).i32(2088).op(0x20, 0).at(0x36, 0)
	return command(randomCode(c.write(44), rng, 2))
}

// randomCode adds n random statements. Global 1 is what chance and input make of it.
func randomCode(c code, rng *rand.Rand, n int) code {
	for range n {
		address := func() code { // somewhere from page 1 to the end, by global 1
			return c.op(0x23, 1).i32(0x3ffe8).op(0x71).i32(4096 + rng.Int32N(512)*8).op(0x72)
		}
		switch rng.IntN(14) {
		case 0, 1, 2:
			c = address().op(0x23, 0).i64(rng.Int64()).op(0x85).at(0x37, 0)
		case 3, 4:
			c = c.op(0x23, 0).i64(rng.Int64N(1<<20)).op(0x7e).i64(7).op(0x7c, 0x24, 0)
		case 5, 6:
			c = c.op(0x23, 1).i32(1024+rng.Int32N(16)).at(0x2d, 0).op(0x6a).i32(3).op(0x6c, 0x24, 1)
		case 7: // fill memory: a loop
			c = c.i32(0).op(0x21, 0, 0x03, 0x40).i32(4096).op(0x20, 0, 0x6a, 0x23, 0).at(0x37, 0)
			c = c.op(0x20, 0).i32(8+8*rng.Int32N(100)).op(0x6a, 0x22, 0).i32(rng.Int32N(200000)).op(0x49, 0x0d, 0, 0x0b)
		case 8:
			c = c.i32(rng.Int32N(6)).op(0x40, 0, 0x24, 1) // grow, sometimes beyond the limit
		case 9:
			c = c.i32(8192).i32(rng.Int32N(100)).op(0x10, callRandom, 0x1a)
		case 10:
			c = c.op(0x23, 1).i32(1024).at(0x2d, 0).i32(200).op(0x4b, 0x04, 0x40, 0x00, 0x0b, 0x24, 1) // trap, by the input
		case 11:
			c = c.i32(1025).at(0x2d, 0).i32(220).op(0x4b, 0x04, 0x40).i32(1025).at(0x2d, 0).op(0x10, callExit, 0x0b)
		case 12:
			c = c.i32(rng.Int32N(4)).op(0x10, callClose, 0x24, 1)
		case 13:
			c = c.write(rng.Int32N(100))
		}
	}
	return c
}

// TestMailsLikeFresh runs real programs over mails, restored and fresh.
func TestMailsLikeFresh(t *testing.T) {
	bodies := mails(150)
	if testing.Short() {
		bodies = bodies[:15]
	}
	for _, name := range []string{"empty", "regexp", "c"} {
		t.Run(name, func(t *testing.T) {
			run := mapMail
			if name == "c" {
				run = mapCommand
			}
			restored, fresh := openMail(t, name, false), openMail(t, name, true)
			for i, body := range bodies {
				a, errA := run(restored, fmt.Sprint(i), body)
				b, errB := run(fresh, fmt.Sprint(i), body)
				if a != b || fmt.Sprint(errA) != fmt.Sprint(errB) {
					t.Fatalf("mail %d: restored %+v %v, fresh %+v %v", i, a, errA, b, errB)
				}
			}
			if restored.instance == nil || fresh.instance != nil {
				t.Error("no snapshot was taken, or one too many")
			}
		})
	}
}

// TestChangingEnvironment gives each run its own, then all runs the same.
func TestChangingEnvironment(t *testing.T) {
	bodies := mails(2)
	g := openMail(t, "regexp", false)
	for i := range 12 {
		m := &guest.Meta{Key: "a", Size: int64(len(bodies[0]))}
		a := answer{}
		replies := guest.NewReplies(&a, 1, guest.Bounds{})
		_, err := g.Run(context.Background(), &Run{
			Env:     append(guest.Env(guest.Map), fmt.Sprint("OBJECT=", i)),
			Streams: Streams{Stdin: guest.ObjectStream(nil, m, nil, bodies[0]), Stdout: replies},
		})
		if err != nil || replies.Close() != nil {
			t.Fatalf("run %d: %v, %v", i, err, replies.Close())
		}
		if x := g.instance; i > maxChanges && (x == nil || x.sawEnv || !g.early) {
			t.Errorf("run %d: the snapshot is of one environment", i)
		}
	}
}
