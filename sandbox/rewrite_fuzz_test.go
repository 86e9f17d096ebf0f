package sandbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// FuzzRewrite rewrites commands that it makes of bytes, and damaged ones: what is rewritten must be valid, to us and to wazero, it must do the same as
// what it was, and nothing at all once it has been stopped.
func FuzzRewrite(f *testing.F) {
	f.Add([]byte{}, []byte{}, uint32(0))
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i * 7)
	}
	f.Add(every, []byte{}, uint32(1))
	f.Add(every, []byte{1, 0, 4, 2, 0, 1}, uint32(2))
	r := newReference(f)
	f.Fuzz(func(t *testing.T, choices, damage []byte, seed uint32) {
		code := makeCommand(choices)
		whole := bytes.Clone(code)
		for ; len(damage) >= 3; damage = damage[3:] {
			code[int(binary.LittleEndian.Uint16(damage))%len(code)] ^= damage[2]
		}
		r.check(t, code, bytes.Equal(code, whole), seed)
	})
}

// A reference runs modules without rewriting them.
type reference struct {
	runtime wazero.Runtime
	calls   *[]string // of the host
}

// maxPages bounds the memory of what is run, and patience the time of one module.
const (
	maxPages = 16
	patience = time.Second
)

func newReference(tb testing.TB) *reference {
	ctx := context.Background()
	config := wazero.NewRuntimeConfigCompiler().WithCloseOnContextDone(true).WithMemoryLimitPages(maxPages).WithDebugInfoEnabled(false)
	r := &reference{runtime: wazero.NewRuntimeWithConfig(ctx, config), calls: new([]string)}
	tb.Cleanup(func() { r.runtime.Close(ctx) })
	for from, functions := range hostFunctions {
		b := r.runtime.NewHostModuleBuilder(from)
		for name, short := range functions {
			s := parseSignature(short)
			b.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(_ context.Context, stack []uint64) {
				args := slices.Clone(stack[:len(s.params)])
				for i, t := range s.params {
					if t == i32 { // what is in the upper half is anything
						args[i] = uint64(uint32(args[i]))
					}
				}
				call := fmt.Sprint(name, args)
				*r.calls = append(*r.calls, call)
				if len(s.results) > 0 {
					stack[0] = uint64(crc32.ChecksumIEEE([]byte(call)))
				}
			}), s.params, s.results).Export(name)
		}
		if _, err := b.Instantiate(ctx); err != nil {
			tb.Fatal(err)
		}
	}
	return r
}

// check rewrites a module; whole says that it must be valid.
func (r *reference) check(t *testing.T, code []byte, whole bool, seed uint32) {
	ctx := context.Background()
	m, err := checkModule(code)
	if err != nil {
		if whole {
			t.Fatalf("a whole module: %v\n%x", err, code)
		}
		return
	}
	runtime.LockOSThread()
	begin := threadUsage().user
	w, err := rewrite(m)
	took := threadUsage().user - begin
	runtime.UnlockOSThread()
	if err != nil {
		t.Fatalf("%v\n%x", err, code)
	}
	if took > time.Second || len(w.code) > 12*len(code)+100_000 {
		t.Errorf("%v and %d bytes for %d", took, len(w.code), len(code))
	}
	if _, err := validateModule(w.code); err != nil {
		t.Fatalf("what was rewritten: %v\n%x\n%x", err, code, w.code)
	}
	before, err := compile(ctx, r.runtime, m.code)
	if err != nil {
		if whole {
			t.Fatalf("wazero: %v\n%x", err, code)
		}
		return
	}
	defer before.Close(ctx)
	after, err := compile(ctx, r.runtime, w.code)
	if err != nil {
		t.Fatalf("wazero, of what was rewritten: %v\n%x\n%x", err, code, w.code)
	}
	defer after.Close(ctx)

	want, wantEnded := r.behaviour(t, m, before, nil, seed)
	got, gotEnded := r.behaviour(t, m, after, w, seed)
	growsTables := bytes.Contains(m.code, []byte("\xfc\x0f")) // a damaged module may grow them to where rewritten ones do not
	switch {
	case !wantEnded || !gotEnded || strings.Contains(want+got, "stack overflow") || !whole && growsTables:
	case got != want:
		t.Errorf("it did\n%s\nand when it was rewritten\n%s\n%x\n%x", want, got, code, w.code)
	}
}

// behaviour instantiates a module and calls all that it exports. It returns all that can be seen of that, and whether it ended in time. w says how the module
// was rewritten, nil that it was not. At last a rewritten one is stopped.
func (r *reference) behaviour(t *testing.T, m *module, c wazero.CompiledModule, w *rewritten, seed uint32) (seen string, ended bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	*r.calls = nil
	var b strings.Builder
	say := func(what string, err error) {
		text := ""
		if err != nil {
			text = err.Error()
			if _, reason, ok := strings.Cut(text, "wasm error: "); ok {
				text = reason
			}
			text = firstLine(text)
		}
		fmt.Fprintln(&b, what, text)
	}
	x, err := r.runtime.InstantiateModule(ctx, c, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err == nil && w != nil && w.start {
		if _, err = x.ExportedFunction(w.prefix + "start").Call(ctx); err != nil {
			x.Close(ctx)
		}
	}
	if say("start", err); err != nil {
		return b.String(), ctx.Err() == nil
	}
	defer x.Close(context.Background())
	names := slices.Sorted(maps.Keys(m.exports))
	for round := range uint32(2) {
		for _, name := range names {
			if m.exports[name].kind == externalFunction {
				results, err := call(ctx, x.ExportedFunction(name), seed+round)
				say(fmt.Sprint(name, results), err)
			}
		}
	}
	for _, name := range names {
		if m.exports[name].kind == externalGlobal && !isReference(m.globals[m.exports[name].index].value) {
			say(fmt.Sprint(name, " ", x.ExportedGlobal(name).Get()), nil)
		}
	}
	ended = ctx.Err() == nil
	fmt.Fprintln(&b, memory(x), *r.calls)
	if w != nil && ended {
		stop := x.ExportedGlobal(w.prefix + "stop").(api.MutableGlobal)
		if w.state > 0 && seed%8 == 0 {
			stopping(t, x, w, stop, names, seed)
		}
		stopped(t, m, x, stop, seed)
	}
	return b.String(), ended
}

// memory describes the memory of an instance.
func memory(x api.Module) string {
	if x.Memory() == nil {
		return "no memory"
	}
	all, _ := x.Memory().Read(0, x.Memory().Size())
	return fmt.Sprintf("memory of %d bytes, %08x", len(all), crc32.ChecksumIEEE(all))
}

// call calls a function with numbers that seed decides, and null references.
func call(ctx context.Context, f api.Function, seed uint32) (results []uint64, err error) {
	var args []uint64
	for i, t := range f.Definition().ParamTypes() {
		n := uint64(crc32.ChecksumIEEE([]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24), byte(i)}))
		switch t {
		case i32, f32:
			args = append(args, n>>(n%29))
		case i64, f64:
			args = append(args, n*n)
		case v128:
			args = append(args, n, n*n)
		default:
			args = append(args, 0)
		}
	}
	if results, err = f.Call(ctx, args...); err != nil {
		return nil, err
	}
	results = slices.Clone(results)
	at := 0
	for _, t := range f.Definition().ResultTypes() {
		if isReference(t) { // an address of the engine's
			results[at] = min(results[at], 1)
		}
		if at++; t == v128 {
			at++
		}
	}
	return results, nil
}

// stopping calls functions that may now take as many turns as they like, and stops each of them.
func stopping(t *testing.T, x api.Module, w *rewritten, stop api.MutableGlobal, names []string, seed uint32) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	defer cancel()
	for _, name := range names {
		f := x.ExportedFunction(name)
		if f == nil {
			continue
		}
		x.ExportedGlobal(w.prefix + "0").(api.MutableGlobal).Set(math.MaxInt32) // what makeCommand takes from
		stop.Set(0)
		fired := make(chan struct{})
		timer := time.AfterFunc(time.Millisecond, func() {
			stop.Set(1)
			close(fired)
		})
		_, _ = call(ctx, f, seed)
		if !timer.Stop() {
			<-fired
		}
		if ctx.Err() != nil {
			t.Fatalf("%s could not be stopped", name)
		}
	}
}

// stopped stops an instance and checks that none of its functions does anything any more.
func stopped(t *testing.T, m *module, x api.Module, stop api.MutableGlobal, seed uint32) {
	stop.Set(1)
	before := memory(x)
	for name, e := range m.exports {
		if e.kind != externalFunction || e.index < m.imported {
			continue
		}
		if _, err := call(context.Background(), x.ExportedFunction(name), seed); err == nil || !strings.Contains(err.Error(), "unreachable") {
			t.Errorf("stopped, %s ends with %v", name, err)
		}
	}
	if after := memory(x); after != before {
		t.Errorf("stopped, it changed its %s to %s", before, after)
	}
}
