package sandbox

import (
	"encoding/binary"
	"io"
)

// maxRead bounds what one read of stdin gives.
const maxRead = 64 << 10

// isOpen reports whether fd is a standard stream that the guest has not closed, or one of its channels.
func (h *host) isOpen(fd uint64) bool {
	if n := uint32(fd); n < 3 {
		return !h.closed[n]
	}
	return h.channels.isDir(fd) || h.channels.at(fd) != nil
}

// each calls f with the buffers of a list of them, in order, until f returns less than the length of one, or an error.
func (h *host) each(iovs, count uint64, f func([]byte) (int, errno)) (uint32, errno) {
	list := h.bytes(uint64(uint32(iovs)), 8*uint64(uint32(count)))
	if list == nil {
		return 0, fault
	}
	total := 0
	for ; len(list) > 0; list = list[8:] {
		b := h.bytes(uint64(binary.LittleEndian.Uint32(list)), uint64(binary.LittleEndian.Uint32(list[4:])))
		if b == nil {
			return 0, fault
		}
		n, e := f(b)
		if e != success {
			return 0, e
		}
		total += n
		if n < len(b) {
			break
		}
	}
	return uint32(total), success
}

func (h *host) fdRead(p []uint64) errno {
	h.asked = true
	if !h.isOpen(p[0]) {
		return badFile
	}
	if f := h.channels.at(p[0]); f != nil {
		return h.readFile(f, p)
	}
	n, e := h.each(p[1], p[2], func(b []byte) (int, errno) {
		switch {
		case len(b) == 0:
			return 0, success
		case uint32(p[0]) != 0:
			return 0, badFile
		}
		return h.read(b), success
	})
	if e != success {
		return e
	}
	return h.put32(p[3], n)
}

// read reads stdin. The reader sees memory of ours and not the guest's: it may hand it to others, who would touch
// pages of the guest's memory without it being noticed.
func (h *host) read(b []byte) int {
	if h.buf == nil {
		h.buf = make([]byte, maxRead)
	}
	h.channels.flush()
	pollCollector()
	buf := h.buf[:min(len(b), maxRead)]
	n, err := h.meter.read(buf)
	if err != nil && err != io.EOF {
		h.fail(err)
		h.end()
	}
	return copy(b, buf[:n])
}

func (h *host) fdWrite(p []uint64) errno {
	if !h.isOpen(p[0]) {
		return badFile
	}
	if f := h.channels.at(p[0]); f != nil {
		return h.writeFile(f, p)
	}
	n, e := h.each(p[1], p[2], func(b []byte) (int, errno) {
		switch uint32(p[0]) {
		case 1:
			pollCollector()
			if _, err := h.meter.write(b); err != nil {
				h.fail(err)
				h.end()
			}
		case 2:
			_, _ = h.meter.note(b) // it has no errors
		default:
			if len(b) > 0 {
				return 0, badFile
			}
		}
		return len(b), success
	})
	if e != success {
		return e
	}
	return h.put32(p[3], n)
}

// fdPread is also fd_pwrite: streams have no places.
func (h *host) fdPread(p []uint64) errno {
	if !h.isOpen(p[0]) {
		return badFile
	}
	n, e := h.each(p[1], p[2], func(b []byte) (int, errno) {
		if len(b) > 0 {
			return 0, badFile
		}
		return 0, success
	})
	if e != success {
		return e
	}
	return h.put32(p[4], n)
}
