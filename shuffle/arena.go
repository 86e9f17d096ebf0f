package shuffle

// An arena keeps byte strings in large chunks that the garbage collector sees as few objects. Nothing is freed but everything.
type arena struct {
	chunks [][]byte // lengths are what is used of them
	used   int64    // bytes handed out, lost tails of chunks included
}

const arenaChunk = 256 << 10

// A ref is a place in an arena: the chunk in the high half, the offset in it in the low half.
type ref uint64

// alloc returns n bytes, with any content.
func (a *arena) alloc(n int) (ref, []byte) {
	if c := len(a.chunks) - 1; c >= 0 {
		if chunk := a.chunks[c]; cap(chunk)-len(chunk) >= n {
			off := len(chunk)
			a.chunks[c] = chunk[:off+n]
			a.used += int64(n)
			return ref(c)<<32 | ref(off), a.chunks[c][off:]
		}
		a.used += int64(cap(a.chunks[c]) - len(a.chunks[c]))
	}
	a.chunks = append(a.chunks, a.chunk(n))
	a.used += int64(n)
	c := len(a.chunks) - 1
	return ref(c) << 32, a.chunks[c]
}

// chunk returns a chunk with n bytes in use: one that reset left behind, or a new one.
func (a *arena) chunk(n int) []byte {
	if i := len(a.chunks); i < cap(a.chunks) {
		if old := a.chunks[:i+1][i]; cap(old) >= n {
			return old[:n]
		}
	}
	return make([]byte, n, max(n, arenaChunk))
}

// at returns the n bytes at r.
func (a *arena) at(r ref, n uint32) []byte {
	off := uint32(r)
	return a.chunks[r>>32][off : off+n : off+n]
}

// reset takes everything back. The chunks of the usual size stay for what comes next.
func (a *arena) reset() {
	for i, c := range a.chunks {
		if cap(c) > arenaChunk {
			a.chunks[i] = nil
		}
	}
	a.chunks = a.chunks[:0]
	a.used = 0
}
