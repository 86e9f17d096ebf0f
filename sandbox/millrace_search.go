package sandbox

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/millrace/millrace/internal/hostfn"
	"github.com/millrace/millrace/internal/pattern"
)

// patterns are what a guest has opened, by handle. They are part of hostState: those opened before a snapshot are there in every run. What
// a search leaves in one is what makes the next quicker, and changes no result. A list is not changed, only replaced by a longer one.
type patterns struct {
	open []*pattern.Matcher
	size int // bytes that they take at most
}

// maxPatterns bounds the memory of all patterns of an instance. A pattern takes at least half a megabyte of it.
const maxPatterns = 64 << 20

// searchOpen(pattern, patternLen, flags, reason, reasonLen) compiles a pattern and answers its handle. If that fails, reason
// gets the cause as text that ends with a NUL.
func (h *host) searchOpen(p []uint64) hostfn.Code {
	text, reason := h.region(p[0], p[1]), h.region(p[3], p[4])
	if text == nil || reason == nil {
		return hostfn.Fault
	}
	flags := uint32(p[2])
	if flags&^(hostfn.Fixed|hostfn.Fold|hostfn.Word) != 0 {
		return hostfn.Invalid
	}
	m, err := pattern.Compile([]string{string(text)}, pattern.Options{
		Fixed: flags&hostfn.Fixed != 0, Fold: flags&hostfn.Fold != 0, Word: flags&hostfn.Word != 0,
		Small: true, Poll: h.poll,
	})
	code := hostfn.Syntax
	if err == nil && h.patterns.size+m.Size() > maxPatterns {
		code, err = hostfn.Limit, errPatterns
	}
	if err != nil {
		if len(reason) > 0 {
			reason[copy(reason[:len(reason)-1], err.Error())] = 0
		}
		return code
	}
	h.patterns = patterns{append(slices.Clip(h.patterns.open), m), h.patterns.size + m.Size()}
	return hostfn.Code(len(h.patterns.open) - 1)
}

var errPatterns = errors.New("too many patterns")

// search(handle, flags, text, textLen, cursor, found, most) finds matches behind the cursor, which it moves, writes them to
// found, and answers their number: less than most only if there are no more.
func (h *host) search(p []uint64) hostfn.Code {
	text, cursor := h.region(p[2], p[3]), h.region(p[4], hostfn.CursorSize)
	most := uint64(uint32(p[6]))
	found := h.bytes(uint64(uint32(p[5])), most*hostfn.FoundSize)
	if text == nil || cursor == nil || found == nil {
		return hostfn.Fault
	}
	handle, flags := uint32(p[0]), uint32(p[1])
	switch {
	case uint64(handle) >= uint64(len(h.patterns.open)) || flags&^hostfn.Lines != 0,
		overlap(text, cursor), overlap(text, found), overlap(cursor, found):
		return hostfn.Invalid
	}
	var numbers [3]int
	get32s(cursor, numbers[:])
	c := pattern.Cursor{Line: numbers[0], At: numbers[1], Last: numbers[2]}
	n := h.patterns.open[handle].Find(text, &c, flags == hostfn.Lines, int(most), func(i int, f pattern.Found) {
		put32s(found[i*hostfn.FoundSize:], f.From, f.To, f.Start, f.End)
	})
	put32s(cursor, c.Line, c.At, c.Last)
	return hostfn.Code(n)
}

// get32s and put32s read and write numbers in a row.
func get32s(b []byte, v []int) {
	for i := range v {
		v[i] = int(binary.LittleEndian.Uint32(b[4*i:]))
	}
}

func put32s(b []byte, v ...int) {
	for i, x := range v {
		binary.LittleEndian.PutUint32(b[4*i:], uint32(x))
	}
}
