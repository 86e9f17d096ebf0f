//go:build linux

package file

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// buffers are what one goroutine needs to read directories, used again and again.
type buffers struct {
	dents   []byte // what getdents fills
	text    []byte // the names of one directory
	raw     []rawEntry
	entries []entry
	names   []string
	line    []byte
}

func newBuffers() *buffers { return &buffers{dents: make([]byte, 64<<10)} }

// A rawEntry is a name within buffers.text.
type rawEntry struct {
	start, end int
	kind       byte // DT_REG, DT_DIR, …
}

// nextDent cuts the first record off what getdents64 returned. The name is nil for one that is of no interest. A record is
//
//	inode 8 | offset 8 | length of the record 2 | kind 1 | name, NUL, padding
func nextDent(b []byte) (name []byte, kind byte, rest []byte) {
	const head = 19
	if len(b) < head {
		return nil, 0, nil
	}
	size := int(binary.NativeEndian.Uint16(b[16:]))
	if size < head || size > len(b) {
		return nil, 0, nil
	}
	name, _, _ = bytes.Cut(b[head:size], []byte{0})
	if len(name) == 0 || string(name) == "." || string(name) == ".." {
		name = nil
	}
	return name, b[18], b[size:]
}

// fstatat is unix.Fstatat without following symbolic links and without an allocation.
func fstatat(dir int, name string, st *unix.Stat_t) error {
	var buf [256]byte
	if len(name) >= len(buf) {
		return unix.ENAMETOOLONG
	}
	copy(buf[:], name)
	for {
		_, _, errno := unix.Syscall6(sysFstatat, uintptr(dir), uintptr(unsafe.Pointer(&buf[0])),
			uintptr(unsafe.Pointer(st)), unix.AT_SYMLINK_NOFOLLOW, 0, 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}
