package decompress

import (
	"unsafe"

	"github.com/millrace/millrace/internal/hostfn"
)

//go:wasmimport millrace decompress_1
//go:noescape
func decompress(format uint32, in unsafe.Pointer, inSize uint32, out unsafe.Pointer, outSize uint32) int32

func decode(f Format, dst, src []byte) (int, error) {
	n := decompress(uint32(f), unsafe.Pointer(unsafe.SliceData(src)), uint32(len(src)), unsafe.Pointer(unsafe.SliceData(dst)), uint32(len(dst)))
	switch {
	case n >= 0:
		return int(n), nil
	case n == hostfn.Invalid:
		return 0, ErrFormat
	case n == hostfn.TooSmall:
		return 0, errShort
	}
	return 0, ErrCorrupt
}
