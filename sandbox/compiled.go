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
	"os"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
)

// A module is compiled once, in a jail of its own, and what comes of it is opened wherever it is needed:
//
//	0          4
//	| length n | n bytes of JSON: a compiledHead | skeleton | data | zeros | code of shim | zeros | code of module | zeros | code of entry |
//
// The skeleton begins at the beginning of a page. There are as many zeros as it takes for machine code to begin at one, so that
// it can be mapped. See newSkeleton.
type compiledHead struct {
	Memory   uint64 `json:"memory"` // bytes, at the start
	Prefix   string `json:"prefix"` // as in rewritten
	State    int    `json:"state"`
	Start    bool   `json:"start"`
	Fixed    string `json:"fixed"`
	Skeleton part   `json:"skeleton"`
	Data     []part `json:"data"`   // of the memory at the start,
	Places   []int  `json:"places"` // each at its place
	Code     []part `json:"code"`
}

// A part is that of a file, from an offset on. Those of a compiledHead are from the skeleton's beginning on.
type part struct {
	At   int `json:"at"`
	Size int `json:"size"`
}

func (p part) of(b []byte) []byte { return b[p.At : p.At+p.Size] }

// CompileWasm checks code, a WebAssembly module that is a WASI preview 1 command, and compiles it for [OpenCompiled]. Modules that are malformed
// or beyond our bounds (see checkModule) are refused with ErrModule before the compiler sees them. Compiling ends early when ctx
// does, but only between functions: the deadline that counts is a kill from outside.
func CompileWasm(ctx context.Context, code []byte) ([]byte, error) {
	defer collecting()()
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
	content, data := newSkeleton(w.code, m.minMemory)
	h := compiledHead{Memory: m.minMemory, Prefix: w.prefix, State: w.state, Start: w.start, Fixed: w.fixed, Skeleton: part{0, len(content)}}
	for _, d := range data {
		h.Data, h.Places = append(h.Data, part{len(content), len(d.content)}), append(h.Places, d.begin)
		content = append(content, d.content...)
	}
	for _, c := range s.added {
		content = append(content, make([]byte, toPage(len(content)+machineCode(c)))...)
		h.Code = append(h.Code, part{len(content), len(c)})
		content = append(content, c...)
	}
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	head = append(head, bytes.Repeat([]byte{' '}, toPage(4+len(head)))...)
	return slices.Concat(binary.LittleEndian.AppendUint32(nil, uint32(len(head))), head, content), nil
}

// toPage returns how many bytes there are from n on to the beginning of a page.
func toPage(n int) int { return -n & (os.Getpagesize() - 1) }

// OpenCompiled opens what [CompileWasm] returned, in a program that has the same [Compiler]. It lies in f, from at on, which is the beginning of a
// page; f is a file in memory that nobody can change any more, and stays the caller's. It is trusted as the program itself is: who could
// change it can do in the jail whatever the jail allows. Guests of several processes share the memory that it takes. Until a
// guest is closed, the garbage collector of this process runs when the guest allows it.
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
func OpenCompiled(ctx context.Context, f *os.File, at int64) (Guest, error) {
	g, err := openCompiled(ctx, f, at)
	if err != nil {
		return nil, fmt.Errorf("compiled module: %w", err)
	}
	return g, nil
}

func openCompiled(ctx context.Context, f *os.File, at int64) (Guest, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if at < 0 || at >= info.Size() {
		return nil, errCompiled
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	g := &wasmGuest{mapped: mapped}
	h, content, err := parseCompiled(mapped[at:])
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	s := &codeStore{file: f, mapped: mapped}
	for _, c := range h.Code {
		s.code = append(s.code, part{len(mapped) - len(content) + c.At, c.Size})
	}
	for i, d := range h.Data {
		g.data = append(g.data, segment{h.Places[i], d.of(content)})
	}
	g.code = &rewritten{code: h.Skeleton.of(content), prefix: h.Prefix, state: h.State, start: h.Start, fixed: h.Fixed}
	g.minimum = h.Memory
	if err := g.open(ctx, s); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

var errCompiled = errors.New("it is not one")

// parseCompiled returns the head and what follows it. All that the head names lies in there.
func parseCompiled(b []byte) (h *compiledHead, content []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errCompiled
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if b = b[4:]; n > int64(len(b)) {
		return nil, nil, errCompiled
	}
	h = new(compiledHead)
	if err := json.Unmarshal(b[:n], h); err != nil {
		return nil, nil, err
	}
	content = b[n:]
	for _, p := range slices.Concat([]part{h.Skeleton}, h.Data, h.Code) {
		if p.At < 0 || p.Size < 0 || p.At > len(content) || p.Size > len(content)-p.At {
			return nil, nil, errCompiled
		}
	}
	if len(h.Places) != len(h.Data) {
		return nil, nil, errCompiled
	}
	for i, place := range h.Places {
		if place < 0 || uint64(place)+uint64(h.Data[i].Size) > h.Memory {
			return nil, nil, errCompiled
		}
	}
	return h, content, nil
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
