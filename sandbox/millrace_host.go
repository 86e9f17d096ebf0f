package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"unsafe"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/zeebo/xxh3"

	"github.com/millrace/millrace/internal/hostfn"
	"github.com/millrace/millrace/internal/inflate"
)

// The functions of the import module "millrace" do for guests what these are slow at. What they answer depends on the guest's memory and on patterns
// that it has opened, and on nothing else; so no snapshot need be taken before them. docs/host-functions.md describes them to users.
//
// Their work is bounded by the memory that they are given, and watched: see host.poll.

// A millraceCall is one of them. Types are in the short form of parseSignature.
type millraceCall struct {
	name  string
	types string
	call  func(h *host, p []uint64) hostfn.Code
}

var millraceCalls = []millraceCall{
	{"search_open_1", "iiiii:i", (*host).searchOpen},
	{"search_1", "iiiiiii:i", (*host).search},
	{"decompress_1", "iiiii:i", (*host).decompress},
	{"sha256_1", "iii:i", (*host).sha256},
	{"crc32c_1", "iii:i", (*host).crc32c},
	{"xxh3_1", "iii:i", (*host).xxh3},
}

// millraceFunctions returns the types of the functions by their names.
func millraceFunctions() map[string]string {
	types := map[string]string{}
	for _, c := range millraceCalls {
		types[c.name] = c.types
	}
	return types
}

// instantiateMillrace makes the functions known to the engine.
func (h *host) instantiateMillrace(ctx context.Context, r wazero.Runtime) error {
	b := r.NewHostModuleBuilder("millrace")
	for _, c := range millraceCalls {
		s := parseSignature(c.types)
		f := api.GoFunc(func(_ context.Context, stack []uint64) { stack[0] = uint64(uint32(c.call(h, stack))) })
		b.NewFunctionBuilder().WithGoFunction(f, s.params, s.results).Export(c.name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

// poll ends the run if it was stopped: a host function that works for long calls it.
func (h *host) poll() {
	if h.instance.guest.watch.tripped.Load() {
		h.end()
	}
}

// region returns n bytes of the guest's memory from p on, both as the guest gave them.
func (h *host) region(p, n uint64) []byte { return h.bytes(uint64(uint32(p)), uint64(uint32(n))) }

// overlap reports whether two regions have a byte in common.
func overlap(a, b []byte) bool {
	return len(a) > 0 && len(b) > 0 && uintptr(unsafe.Pointer(&a[0])) <= uintptr(unsafe.Pointer(&b[len(b)-1])) &&
		uintptr(unsafe.Pointer(&b[0])) <= uintptr(unsafe.Pointer(&a[len(a)-1]))
}

// decompress(format, in, inLen, out, outLen) decompresses in to out and answers how many bytes it wrote.
func (h *host) decompress(p []uint64) hostfn.Code {
	in, out := h.region(p[1], p[2]), h.region(p[3], p[4])
	if in == nil || out == nil {
		return hostfn.Fault
	}
	if overlap(in, out) || len(out) > 1<<31-1 {
		return hostfn.Invalid
	}
	d := h.decoder
	h.decoder = nil // one that poll interrupts is lost
	if d == nil {
		d = &inflate.Decoder{Poll: h.poll}
	}
	n, err := d.Decode(inflate.Format(uint32(p[0])), out, in)
	h.decoder = d
	switch {
	case errors.Is(err, inflate.ErrFormat):
		return hostfn.Invalid
	case errors.Is(err, inflate.ErrShort):
		return hostfn.TooSmall
	case err != nil:
		return hostfn.Corrupt
	}
	return hostfn.Code(n)
}

// sha256(in, inLen, out) writes the digest of in, 32 bytes, to out.
func (h *host) sha256(p []uint64) hostfn.Code {
	in, out := h.region(p[0], p[1]), h.region(p[2], sha256.Size)
	if in == nil || out == nil {
		return hostfn.Fault
	}
	d := sha256.New()
	h.digest(d, in)
	d.Sum(out[:0])
	return hostfn.OK
}

// digest has d take all of b.
func (h *host) digest(d hash.Hash, b []byte) {
	for len(b) > 0 {
		n := min(len(b), 1<<20)
		d.Write(b[:n])
		b = b[n:]
		h.poll()
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc32c(in, inLen, sum) adds in to the checksum at sum, 4 bytes.
func (h *host) crc32c(p []uint64) hostfn.Code {
	in, sum := h.region(p[0], p[1]), h.region(p[2], 4)
	if in == nil || sum == nil {
		return hostfn.Fault
	}
	binary.LittleEndian.PutUint32(sum, crc32.Update(binary.LittleEndian.Uint32(sum), castagnoli, in))
	return hostfn.OK
}

// xxh3(in, inLen, out) writes the 64-bit XXH3 hash of in, with seed 0, to out.
func (h *host) xxh3(p []uint64) hostfn.Code {
	in, out := h.region(p[0], p[1]), h.region(p[2], 8)
	if in == nil || out == nil {
		return hostfn.Fault
	}
	binary.LittleEndian.PutUint64(out, xxh3.Hash(in))
	return hostfn.OK
}
