package sandbox

import (
	"encoding/binary"
	"math"
)

// Kinds of events that a guest can wait for.
const (
	eventClock = iota
	eventRead
	eventWrite
)

// pollOneoff answers all subscriptions at once, since nobody waits here: stdin can always be read, and the time that the guest
// wants to sleep is added to its clock.
func (h *host) pollOneoff(p []uint64) errno {
	count := uint64(uint32(p[2]))
	if count == 0 {
		return invalid
	}
	in, out := h.bytes(uint64(uint32(p[0])), 48*count), h.bytes(uint64(uint32(p[1])), 32*count)
	if in == nil || out == nil {
		return fault
	}
	if e := h.put32(p[3], uint32(count)); e != success {
		return e
	}
	clear(out)
	events := out
	answer := func(sub []byte, e errno) {
		copy(events, sub[:8]) // the guest's own mark
		events[8] = byte(e)
		events[10] = sub[8]
		events = events[32:]
	}
	waiting := 0 // for a stream to have something to read: they are answered last
	sleep, clocks := uint64(math.MaxInt64), false
	for in := in; len(in) > 0; in = in[48:] {
		fd := uint64(binary.LittleEndian.Uint32(in[16:]))
		switch in[8] {
		case eventClock:
			switch binary.LittleEndian.Uint16(in[40:]) {
			case 0:
			case 1: // a moment, not a duration
				return unsupported
			default:
				return invalid
			}
			sleep, clocks = min(sleep, binary.LittleEndian.Uint64(in[24:])), true // one that is too long is none
			answer(in, success)
		case eventRead:
			switch {
			case int32(fd) < 0:
				return badFile
			case !h.isOpen(fd):
				answer(in, badFile)
			default:
				waiting++
			}
		case eventWrite:
			switch {
			case int32(fd) < 0:
				return badFile
			case !h.isOpen(fd):
				answer(in, badFile)
			default:
				answer(in, unsupported)
			}
		default:
			return invalid
		}
	}
	if waiting == 0 && clocks && h.now < 1<<62-int64(sleep) {
		h.now += int64(sleep)
	}
	if waiting > 0 && h.closed[0] {
		return badFile
	}
	for ; waiting > 0 && len(in) > 0; in = in[48:] {
		if in[8] == eventRead && h.isOpen(uint64(binary.LittleEndian.Uint32(in[16:]))) {
			answer(in, success)
			waiting--
		}
	}
	return success
}
