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
	if uint32(p[0]) < 3 {
		h.closed[uint32(p[0])] = true
	} else {
		h.channels.close(p[0])
	}
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

// fdNoSeek is the same of calls that programs expect pipes to refuse.
func (h *host) fdNoSeek(p []uint64) errno {
	if h.channels.at(p[0]) != nil {
		return noSeek
	}
	return h.fdNoCall(p)
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
	if h.channels.isDir(p[0]) {
		statDir(b)
		return success
	}
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
	if h.channels.isDir(p[0]) {
		b[16] = fileDirectory
	}
	return success
}

// fdPrestatGet finds no directory at any descriptor but that of channels; at a stream, one without a name.
func (h *host) fdPrestatGet(p []uint64) errno {
	if h.channels.isDir(p[0]) {
		return h.prestat(p)
	}
	if !h.isOpen(p[0]) {
		return badFile
	}
	return h.put64(p[1], 0)
}

func (h *host) fdPrestatDirName(p []uint64) errno {
	if h.channels.isDir(p[0]) {
		return h.prestatName(p)
	}
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

// pathAt answers a call that would change what is at a path, of which the descriptor of its directory and the path itself are these
// parameters: no descriptor is one of a directory where that could be.
func pathAt(fd, name int) func(h *host, p []uint64) errno {
	return func(h *host, p []uint64) errno {
		e := pathCheck(h, p[fd], p[name], p[name+1])
		if e == notDir && h.channels.isDir(p[fd]) {
			return noAccess
		}
		return e
	}
}

// pathCheck returns what is wrong with a path of n bytes in the directory at fd: if nothing else, that fd is none.
func pathCheck(h *host, fd, name, n uint64) errno {
	b := h.bytes(uint64(uint32(name)), uint64(uint32(n)))
	switch {
	case b == nil:
		return fault
	case len(b) > maxPath:
		return nameTooLong
	case !fs.ValidPath(path.Clean(string(b))):
		return forbidden
	case !h.isOpen(fd):
		return badFile
	}
	return notDir
}
