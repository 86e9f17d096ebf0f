package sandbox

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// newSkeleton returns what the engine has to read of a module if its machine code is there already, and what that lacks of the memory at the start, whose
// size is given. Its functions do nothing but trap: most of a module is their bodies. And Go's linker begins a new data segment behind every
// few zeros, so that there are tens of thousands, which takes longer to read than all the rest.
func newSkeleton(code []byte, memory uint64) (skeleton []byte, data []segment) {
	skeleton = slices.Clone(code[:8])
	counted := false
	for r := (cursor{code[8:]}); len(r.b) > 0; {
		id := r.take(1)[0]
		body := r.take(r.number())
		switch id {
		case sectionCode:
			inner := cursor{body}
			n := inner.number()
			body = append(binary.AppendUvarint(nil, uint64(n)), bytes.Repeat([]byte{3, 0, 0x00, 0x0b}, n)...) // 3 bytes: no locals, unreachable, end
		case sectionDataCount:
			counted = true
		case sectionData:
			if joined, ok := joinSegments(body, memory); ok && !counted { // else instructions may name segments by their numbers
				data = joined
				continue
			}
		}
		skeleton = append(binary.AppendUvarint(append(skeleton, id), uint64(len(body))), body...)
	}
	return skeleton, data
}

// A segment is a part of the memory that a module fills when it is instantiated.
type segment struct {
	begin   int
	content []byte
}

func (s *segment) end() int { return s.begin + len(s.content) }

// mostZeros is how many zeros between two segments are kept for the sake of having one instead.
const mostZeros = 256

// joinSegments returns those of a data section, in order and as few as may be. It does so if the place of each is constant and
// within the memory, and if none overlap.
func joinSegments(section []byte, memory uint64) (joined []segment, ok bool) {
	segments, ok := constantSegments(section)
	if !ok {
		return nil, false
	}
	slices.SortFunc(segments, func(a, b segment) int { return cmp.Compare(a.begin, b.begin) })
	end := 0
	for _, s := range segments {
		if s.begin < end || uint64(s.end()) > memory {
			return nil, false
		}
		if n := len(joined); n > 0 && s.begin-end <= mostZeros {
			last := &joined[n-1]
			last.content = append(append(last.content, make([]byte, s.begin-end)...), s.content...)
		} else {
			joined = append(joined, segment{s.begin, slices.Clone(s.content)})
		}
		end = s.end()
	}
	return joined, true
}

// constantSegments returns the segments of a section if each has its constant place.
func constantSegments(section []byte) (segments []segment, ok bool) {
	r := cursor{section}
	for n := r.number(); n > 0; n-- {
		if kind := r.number(); kind != 0 || r.b[0] != 0x41 { // i32.const
			return nil, false
		}
		r.take(1)
		begin := r.address()
		r.take(1)
		segments = append(segments, segment{begin, r.take(r.number())})
	}
	return segments, true
}

// address takes a signed LEB128 number of 32 bits and returns the address that it means.
func (r *cursor) address() int {
	before := r.b
	v, n := r.number(), len(before)-len(r.b)
	if shift := 7 * n; before[n-1]&0x40 != 0 && shift < 32 {
		v |= -1 << shift
	}
	return int(uint32(v))
}
