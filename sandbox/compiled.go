package sandbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"slices"
	"sync"

	"github.com/tetratelabs/wazero"
	"golang.org/x/sys/cpu"
)

// A module is compiled once, in a jail of its own, and what comes of it is opened wherever it is needed:
//
//	0          4
//	| length n | n bytes of JSON: a compiledHead | skeleton | code of shim, module, entry |
//
// The skeleton is the rewritten module with empty function bodies. The engine reads a module even if its machine code is there already,
// and most of a module is bodies.
type compiledHead struct {
	Memory   uint64 `json:"memory"` // bytes, at the start
	Prefix   string `json:"prefix"` // as in rewritten
	State    int    `json:"state"`
	Start    bool   `json:"start"`
	Fixed    string `json:"fixed"`
	Skeleton int    `json:"skeleton"` // bytes
	Code     []int  `json:"code"`     // bytes, of each
}

// CompileWasm checks code, a WebAssembly module that is a WASI preview 1 command, and compiles it for [OpenCompiled]. Modules that are malformed
// or beyond our bounds (see checkModule) are refused with ErrModule before the compiler sees them. Compiling ends early when ctx
// does, but only between functions: the deadline that counts is a kill from outside.
func CompileWasm(ctx context.Context, code []byte) ([]byte, error) {
	m, err := checkModule(code)
	if err != nil {
		return nil, err
	}
	w, err := rewrite(m)
	if err != nil {
		return nil, err
	}
	s := &codeStore{}
	g := &wasmGuest{code: w, minimum: m.minMemory}
	err = errors.Join(g.open(ctx, s), g.Close())
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %s", ErrModule, firstLine(err.Error()))
	}
	skeleton := withoutBodies(w.code)
	h := compiledHead{Memory: m.minMemory, Prefix: w.prefix, State: w.state, Start: w.start, Fixed: w.fixed, Skeleton: len(skeleton)}
	for _, c := range s.code {
		h.Code = append(h.Code, len(c))
	}
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	out := append(binary.LittleEndian.AppendUint32(nil, uint32(len(head))), head...)
	return slices.Concat(append([][]byte{out, skeleton}, s.code...)...), nil
}

// OpenCompiled opens what [CompileWasm] returned, in a program that has the same [Compiler]. It is trusted as the program itself is: who could change
// it can do in the jail whatever the jail allows. The guest uses compiled until it is closed; until then the garbage collector of this process runs
// when the guest allows it.
//
// Each run begins from fresh state. The first one runs the module from its start, until it is about to learn or do something that is that of
// one run: to read its input, write, or see randomness that the run's seed decides. There a snapshot is taken, and later runs go
// on from it: they cannot tell the difference. Not so for modules that change tables or drop data or element segments, have
// mutable globals of vectors or references or more than 256 of others, or use a megabyte of stack before that point; and not for a run
// after one that trapped or was stopped, or whose limit of memory is another one. Those begin at the module's start, which takes longer and gives
// the same.
//
// Run.Seed decides all randomness of a guest but for what it draws before it first asks for its arguments, its environment or input
// (as language runtimes do at their start): this is the same in each run.
func OpenCompiled(ctx context.Context, compiled []byte) (Guest, error) {
	h, skeleton, s, err := parseCompiled(compiled)
	if err != nil {
		return nil, fmt.Errorf("compiled module: %w", err)
	}
	g := &wasmGuest{
		code:    &rewritten{code: skeleton, prefix: h.Prefix, state: h.State, start: h.Start, fixed: h.Fixed},
		minimum: h.Memory,
	}
	if err := g.open(ctx, s); err != nil {
		return nil, errors.Join(fmt.Errorf("compiled module: %w", err), g.Close())
	}
	return g, nil
}

var errCompiled = errors.New("it is not one")

func parseCompiled(b []byte) (h *compiledHead, skeleton []byte, s *codeStore, err error) {
	if len(b) < 4 {
		return nil, nil, nil, errCompiled
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if b = b[4:]; n > int64(len(b)) {
		return nil, nil, nil, errCompiled
	}
	h = new(compiledHead)
	if err := json.Unmarshal(b[:n], h); err != nil {
		return nil, nil, nil, err
	}
	b = b[n:]
	s = &codeStore{opening: true}
	for i, size := range append([]int{h.Skeleton}, h.Code...) {
		if size < 0 || size > len(b) {
			return nil, nil, nil, errCompiled
		}
		if i == 0 {
			skeleton = b[:size]
		} else {
			s.code = append(s.code, b[:size])
		}
		b = b[size:]
	}
	return h, skeleton, s, nil
}

// withoutBodies returns the module with functions that do nothing but trap.
func withoutBodies(code []byte) []byte {
	out := slices.Clone(code[:8])
	for r := (cursor{code[8:]}); len(r.b) > 0; {
		id := r.take(1)[0]
		body := r.take(r.number())
		if id == sectionCode {
			inner := cursor{body}
			n := inner.number()
			body = append(binary.AppendUvarint(nil, uint64(n)), bytes.Repeat([]byte{3, 0, 0x00, 0x0b}, n)...) // 3 bytes: no locals, unreachable, end
		}
		out = append(binary.AppendUvarint(append(out, id), uint64(len(body))), body...)
	}
	return out
}

// A codeStore takes the place of the directory in which the engine keeps machine code. Modules are compiled and opened in the same order,
// so it needs no keys; and opening, nothing may be compiled: there is no code.
type codeStore struct {
	opening bool
	code    [][]byte
	next    int
}

var errNoCode = errors.New("compiled by another version of the engine")

// Get implements the engine's cache.
func (s *codeStore) Get([sha256.Size]byte) (io.ReadCloser, bool, error) {
	if !s.opening {
		return nil, false, nil
	}
	if s.next == len(s.code) {
		return nil, false, errNoCode
	}
	s.next++
	return io.NopCloser(bytes.NewReader(s.code[s.next-1])), true, nil
}

// Add implements the engine's cache.
func (s *codeStore) Add(_ [sha256.Size]byte, content io.Reader) error {
	if s.opening {
		return errNoCode
	}
	b, err := io.ReadAll(content)
	s.code = append(s.code, b)
	return err
}

// Delete implements the engine's cache, which calls it for code that it cannot use.
func (s *codeStore) Delete([sha256.Size]byte) error { return errNoCode }

// cache makes the engine use the store. It offers only directories, which a jailed process has none of; so the store is put in place of
// one, in a field that is not exported.
func (s *codeStore) cache() (c wazero.CompilationCache, err error) {
	c = wazero.NewCompilationCache()
	field := reflect.Indirect(reflect.ValueOf(c)).FieldByName("fileCache")
	store := reflect.ValueOf(s)
	if !field.IsValid() || !field.CanAddr() || !store.Type().AssignableTo(field.Type()) {
		return nil, errors.New("this version of the engine keeps its code in another way")
	}
	reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Elem().Set(store)
	return c, nil
}

// Compiler names what CompileWasm makes its code with and for: this very build of the program and this kind of processor. Nothing but letters and digits.
var Compiler = sync.OnceValues(func() (string, error) {
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	id := f.Section(".note.go.buildid")
	if id == nil {
		return "", errors.New("the executable has no build id")
	}
	build, err := id.Data()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %s %+v %+v", build, runtime.GOARCH, cpu.X86, cpu.ARM64)
	return hex.EncodeToString(h.Sum(nil)), nil
})
