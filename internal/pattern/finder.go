package pattern

import "bytes"

// A finder finds a text by its rarest byte. It is bound to the last text given to reset.
type finder struct {
	lit
	rare     int  // index of the rarest byte
	lo, up   byte // that byte, in both cases
	fixed    bool // no byte is folded
	hit      int  // the first occurrence at or behind where it was last asked
	atLo     int  // the first lo, and up, at or behind where it was last asked
	atUp     int
	haystack []byte
	poll     func() // see Options
	stops    int    // since the last poll
}

func newFinder(l lit) *finder {
	f := &finder{lit: l, rare: l.rarest(), fixed: true}
	f.lo = l.text[f.rare]
	f.up = f.lo ^ l.fold[f.rare]
	for i := range len(l.fold) {
		f.fixed = f.fixed && l.fold[i] == 0
	}
	return f
}

func (f *finder) reset(haystack []byte) {
	f.haystack = haystack
	f.hit, f.atLo, f.atUp = -1, -1, -1
}

// next returns where the text first occurs at or behind at, len(haystack) if nowhere. Callers ask in ascending order.
func (f *finder) next(at int) int {
	if f.hit >= at {
		return f.hit
	}
	h := f.haystack
	if f.lo == f.up {
		f.hit = f.single(at)
		return f.hit
	}
	for i := at + f.rare; ; i++ {
		f.pause()
		if i = f.stop(i); i >= len(h) {
			f.hit = len(h)
			return f.hit
		}
		if f.agrees(i - f.rare) {
			f.hit = i - f.rare
			return f.hit
		}
	}
}

// single is next for a rare byte that is not folded.
func (f *finder) single(at int) int {
	h := f.haystack
	first := f.text[0] | f.fold[0]
	for at+len(f.text) <= len(h) {
		f.pause()
		n := bytes.IndexByte(h[at+f.rare:], f.lo)
		if n < 0 {
			break
		}
		at += n
		if h[at]|f.fold[0] == first && f.agrees(at) {
			return at
		}
		at++
	}
	return len(h)
}

// pause polls, now and then.
func (f *finder) pause() {
	if f.stops++; f.stops&1023 == 0 && f.poll != nil {
		f.poll()
	}
}

// stop returns the index of the first rare byte at or behind i.
func (f *finder) stop(i int) int {
	if f.atLo < i {
		f.atLo = indexByte(f.haystack, f.lo, i)
	}
	if f.atUp < i {
		f.atUp = indexByte(f.haystack, f.up, i)
	}
	return min(f.atLo, f.atUp)
}

func indexByte(b []byte, c byte, from int) int {
	if from >= len(b) {
		return len(b)
	}
	if n := bytes.IndexByte(b[from:], c); n >= 0 {
		return from + n
	}
	return len(b)
}

// agrees reports whether the text stands at i.
func (f *finder) agrees(i int) bool {
	if i+len(f.text) > len(f.haystack) {
		return false
	}
	h := f.haystack[i : i+len(f.text)]
	if f.fixed {
		return string(h) == f.text
	}
	for j := range h {
		if h[j]|f.fold[j] != f.text[j] {
			return false
		}
	}
	return true
}
