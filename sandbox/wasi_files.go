package sandbox

import (
	"encoding/binary"
	"io/fs"
	"path"
)

// What a standard stream is: a device that takes all that a file does, so that C libraries buffer it.
const (
	fileDevice   = 1
	streamRights = 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<21 | 1<<22 | 1<<23 | 1<<27
)

// Flags of a file descriptor.
const (
	flagDsync, flagNonblock, flagRsync, flagSync = 1 << 1, 1 << 2, 1 << 3, 1 << 4
)

func (h *host) fdClose(p []uint64) errno {
	if !h.isOpen(p[0]) {
		return badFile
	}
	h.closed[uint32(p[0])] = true
	return success
}

func (h *host) fdSync(p []uint64) errno {
	if !h.isOpen(p[0]) {
		return badFile
	}
	return success
}

// fdNoCall is what a file can do and a stream cannot.
func (h *host) fdNoCall(p []uint64) errno {
	if !h.isOpen(p[0]) {
		return badFile
	}
	return notHere
}

func (h *host) fdAdvise(p []uint64) errno {
	if !h.isOpen(p[0]) {
		return badFile
	}
	if byte(p[3]) > 5 {
		return invalid
	}
	return success
}

func (h *host) fdAllocate(p []uint64) errno {
	switch end := int64(p[1] + p[2]); {
	case !h.isOpen(p[0]):
		return badFile
	case end < 0:
		return invalid
	case end == 0:
		return success
	}
	return notHere
}

func (h *host) fdFdstatGet(p []uint64) errno {
	b := h.bytes(uint64(uint32(p[1])), 24)
	if b == nil {
		return fault
	}
	if !h.isOpen(p[0]) {
		return badFile
	}
	clear(b)
	b[0] = fileDevice
	binary.LittleEndian.PutUint64(b[8:], streamRights)
	return success
}

func (h *host) fdFdstatSetFlags(p []uint64) errno {
	switch flags := uint16(p[1]); {
	case flags&(flagDsync|flagRsync|flagSync) != 0:
		return invalid
	case !h.isOpen(p[0]):
		return badFile
	case flags&flagNonblock != 0:
		return notHere
	}
	return success
}

func (h *host) fdFilestatGet(p []uint64) errno {
	b := h.bytes(uint64(uint32(p[1])), 64)
	if b == nil {
		return fault
	}
	if !h.isOpen(p[0]) {
		return badFile
	}
	clear(b)
	b[16], b[24] = fileDevice, 1
	return success
}

// fdPrestatGet finds no directory at any descriptor; at a stream, one without a name.
func (h *host) fdPrestatGet(p []uint64) errno {
	if !h.isOpen(p[0]) {
		return badFile
	}
	return h.put64(p[1], 0)
}

func (h *host) fdPrestatDirName(p []uint64) errno {
	switch {
	case !h.isOpen(p[0]):
		return badFile
	case uint32(p[2]) > 0:
		return nameTooLong
	case h.bytes(uint64(uint32(p[1])), 0) == nil:
		return fault
	}
	return success
}

func (h *host) fdReaddir(p []uint64) errno {
	if uint32(p[2]) < 24 {
		return invalid
	}
	return badFile
}

func (h *host) fdRenumber(p []uint64) errno {
	if !h.isOpen(p[0]) || int32(p[1]) < 0 {
		return badFile
	}
	return unsupported
}

func (h *host) noSocket([]uint64) errno { return badFile }

// maxPath bounds the paths that are looked at.
const maxPath = 4096

// pathAt answers a call on a path, of which the descriptor of its directory and the path itself are these parameters: no
// descriptor is one of a directory.
func pathAt(fd, name int) func(h *host, p []uint64) errno {
	return func(h *host, p []uint64) errno {
		b := h.bytes(uint64(uint32(p[name])), uint64(uint32(p[name+1])))
		switch {
		case b == nil:
			return fault
		case len(b) > maxPath:
			return nameTooLong
		case !fs.ValidPath(path.Clean(string(b))):
			return forbidden
		case !h.isOpen(p[fd]):
			return badFile
		}
		return notDir
	}
}
