package sandbox

import (
	"encoding/binary"
	"errors"
	"io"
	"path"
	"slices"
	"syscall"
)

// A guest that has channels finds the directory /dev at descriptor 3, and in it the files of its channels, nothing else. It cannot be listed.

// channelDir is the descriptor of that directory.
const channelDir = 3

// maxFiles bounds the files that a guest may have open at once.
const maxFiles = 256

const (
	devPath       = "/dev"
	fileDirectory = 3
	dirRights     = 1<<30 - 1
	rightRead     = 1 << 1
	rightWrite    = 1 << 6
	openCreate    = 1 << 0
	openDirectory = 1 << 1
	openExclusive = 1 << 2
)

// openChannels are the channels of a run and the files of them that the guest has open.
type openChannels struct {
	meters []*channelMeter
	closed bool        // the directory
	used   []bool      // by channel: what is read once was opened
	files  []*openFile // from descriptor 4 on; nil: not open
}

type openFile struct {
	channel int
	file    int // of a channel that is written
}

func newOpenChannels(channels []Channel) openChannels {
	return openChannels{meters: meterChannels(channels), used: make([]bool, len(channels))}
}

func (o *openChannels) isDir(fd uint64) bool {
	return uint32(fd) == channelDir && len(o.meters) > 0 && !o.closed
}

// at returns the file that is open at fd, nil if there is none.
func (o *openChannels) at(fd uint64) *openFile {
	n := int64(uint32(fd)) - channelDir - 1
	if n < 0 || n >= int64(len(o.files)) {
		return nil
	}
	return o.files[n]
}

func (o *openChannels) close(fd uint64) {
	if uint32(fd) == channelDir {
		o.closed = true
		return
	}
	f := o.at(fd)
	if m := o.meters[f.channel]; m.In != nil {
		m.stop()
	}
	o.files[uint32(fd)-channelDir-1] = nil
}

// find returns the file of that path below /dev.
func (o *openChannels) find(name string) (f openFile, ok bool) {
	for i, m := range o.meters {
		if n := slices.Index(m.files(), name); n >= 0 {
			return openFile{i, n}, true
		}
	}
	return f, false
}

// flush lets others have what the guest has written, before it waits for them.
func (o *openChannels) flush() {
	for _, m := range o.meters {
		m.flush()
	}
}

// path returns the path below /dev that the guest gives, and an error number if there can be none.
func (h *host) path(dir, p, n uint64) (string, errno) {
	if e := pathCheck(h, dir, p, n); e != notDir || !h.channels.isDir(dir) {
		return "", e
	}
	return path.Clean(string(h.bytes(uint64(uint32(p)), uint64(uint32(n))))), success
}

func (h *host) pathOpen(p []uint64) errno {
	h.asked = h.asked || h.instance.channels
	name, e := h.path(p[0], p[2], p[3])
	if e != success {
		return e
	}
	o, flags, rights := &h.channels, uint16(p[4]), p[5]
	f, ok := o.find(name)
	switch {
	case !ok && flags&openCreate != 0:
		return noAccess
	case !ok:
		return noEntry
	case flags&openDirectory != 0:
		return notDir
	case flags&openCreate != 0 && flags&openExclusive != 0:
		return exists
	}
	if reads := o.meters[f.channel].In != nil; reads && (o.used[f.channel] || rights&rightWrite != 0) || !reads && rights&rightWrite == 0 {
		return noAccess
	}
	n := slices.Index(o.files, nil)
	if n < 0 {
		if n = len(o.files); n == maxFiles {
			return tooManyFiles
		}
		o.files = append(o.files, nil)
	}
	if e := h.put32(p[8], uint32(n+channelDir+1)); e != success {
		return e
	}
	o.files[n] = &f
	o.used[f.channel] = true
	return success
}

func (h *host) pathFilestatGet(p []uint64) errno {
	name, e := h.path(p[0], p[2], p[3])
	if e != success {
		return e
	}
	b := h.bytes(uint64(uint32(p[4])), 64)
	if b == nil {
		return fault
	}
	kind := byte(fileDevice)
	if name == "." || name == "in" || name == "out" {
		kind = fileDirectory
	} else if _, ok := h.channels.find(name); !ok {
		return noEntry
	}
	clear(b)
	b[16], b[24] = kind, 1
	return success
}

// readChannel reads what the guest has open as f; one that is to be written cannot be.
func (h *host) readChannel(f *openFile, b []byte) (int, errno) {
	m := h.channels.meters[f.channel]
	if m.In == nil {
		return 0, badFile
	}
	if h.buf == nil {
		h.buf = make([]byte, maxRead)
	}
	h.channels.flush()
	pollCollector()
	buf := h.buf[:min(len(b), maxRead)]
	n, err := m.read(buf)
	if err != nil && err != io.EOF {
		h.fail(err)
		h.end()
	}
	return copy(b, buf[:n]), success
}

// writeChannel is the same for one that is written.
func (h *host) writeChannel(f *openFile, b []byte) errno {
	m := h.channels.meters[f.channel]
	if m.In != nil {
		return badFile
	}
	pollCollector()
	err := m.write(f.file, b)
	switch {
	case errors.Is(err, syscall.EPIPE):
		return brokenPipe
	case err != nil:
		h.fail(err)
		h.end()
	}
	return success
}

// readFile is fd_read of a channel. It reads into the first buffer that has room: what fills a second one may be long in coming.
func (h *host) readFile(f *openFile, p []uint64) errno {
	done := false
	n, e := h.each(p[1], p[2], func(b []byte) (int, errno) {
		if done || len(b) == 0 {
			return 0, success
		}
		done = true
		return h.readChannel(f, b)
	})
	if e != success {
		return e
	}
	return h.put32(p[3], n)
}

// writeFile is fd_write to a channel: all buffers are one call.
func (h *host) writeFile(f *openFile, p []uint64) errno {
	var all []byte
	n, e := h.each(p[1], p[2], func(b []byte) (int, errno) {
		b = b[:min(len(b), maxRead-len(all))]
		all = append(all, b...)
		return len(b), success
	})
	if e != success {
		return e
	}
	if n > 0 {
		if e := h.writeChannel(f, all); e != success {
			return e
		}
	}
	return h.put32(p[3], n)
}

// prestat answers fd_prestat_get and fd_prestat_dir_name for the directory.
func (h *host) prestat(p []uint64) errno { return h.put64(p[1], uint64(len(devPath))<<32) }

func (h *host) prestatName(p []uint64) errno {
	b := h.bytes(uint64(uint32(p[1])), uint64(uint32(p[2])))
	switch {
	case b == nil:
		return fault
	case len(b) < len(devPath):
		return nameTooLong
	}
	copy(b, devPath)
	return success
}

// statDir answers fd_fdstat_get for the directory.
func statDir(b []byte) {
	b[0] = fileDirectory
	binary.LittleEndian.PutUint64(b[8:], dirRights)
	binary.LittleEndian.PutUint64(b[16:], dirRights)
}
