package digest

import (
	"encoding/binary"
	"unsafe"
)

//go:wasmimport millrace sha256_1
//go:noescape
func hostSHA256(in unsafe.Pointer, size uint32, out unsafe.Pointer) int32

//go:wasmimport millrace crc32c_1
//go:noescape
func hostCRC32C(in unsafe.Pointer, size uint32, sum unsafe.Pointer) int32

//go:wasmimport millrace xxh3_1
//go:noescape
func hostXXH3(in unsafe.Pointer, size uint32, out unsafe.Pointer) int32

func sum256(b []byte) (sum [32]byte) {
	hostSHA256(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b)), unsafe.Pointer(&sum))
	return sum
}

func crc32c(crc uint32, b []byte) uint32 {
	hostCRC32C(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b)), unsafe.Pointer(&crc))
	return crc
}

func xxh3(b []byte) uint64 {
	var sum [8]byte
	hostXXH3(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b)), unsafe.Pointer(&sum))
	return binary.LittleEndian.Uint64(sum[:])
}
