package shuffle

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// An item stands for a record in a sort: where the record lies, and eight bytes of the key or value that are looked at now, which
// decide most comparisons without a look at the record.
type item struct {
	prefix uint64
	place  uint64 // in the memory of the sorter
}

const itemSize = 16

// prefix returns the first eight bytes of key as a number that is ordered like them; a shorter key counts as if zeros followed.
func prefix(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var p uint64
	for i, b := range key {
		p |= uint64(b) << (56 - 8*i)
	}
	return p
}

const (
	radixLeast = 48  // fewer items are sorted by insertion
	deepest    = 256 // bytes looked at by eight; what is equal so far is compared as a whole
)

// sortItems sorts by (key, value). The prefixes are those of the keys.
func (s *Sorter) sortItems(a []item) { s.sortField(a, false, 0) }

// sortField sorts records by their keys from byte from on, and then by their values; or, with byValue, by their values from there on. All
// that is before is equal. The prefixes are of the bytes at from.
func (s *Sorter) sortField(a []item, byValue bool, from int) {
	radixSort(a, 56)
	for len(a) > 1 {
		n := 1
		for n < len(a) && a[n].prefix == a[0].prefix {
			n++
		}
		if n > 1 {
			s.sortEqual(a[:n], byValue, from+8)
		}
		a = a[n:]
	}
}

// sortEqual sorts records that are equal before byte from; some of them may end there or before.
func (s *Sorter) sortEqual(a []item, byValue bool, from int) {
	field := s.key
	if byValue {
		field = s.value
	}
	if len(a) < radixLeast || from >= deepest {
		slices.SortFunc(a, func(x, y item) int {
			c := bytes.Compare(field(x.place), field(y.place))
			if c == 0 && !byValue {
				c = bytes.Compare(s.value(x.place), s.value(y.place))
			}
			return c
		})
		return
	}
	// Those that end here come first: what is equal with zeros behind it differs by length.
	ended := 0
	for i := range a {
		if len(field(a[i].place)) <= from {
			a[i], a[ended] = a[ended], a[i]
			ended++
		}
	}
	s.sortEnded(a[:ended], byValue)
	if rest := a[ended:]; len(rest) > 1 {
		for i := range rest {
			rest[i].prefix = prefix(field(rest[i].place)[from:])
		}
		s.sortField(rest, byValue, from)
	}
}

// sortEnded sorts records whose keys, or values, are equal as far as they go.
func (s *Sorter) sortEnded(a []item, byValue bool) {
	field := s.key
	if byValue {
		field = s.value
	}
	slices.SortFunc(a, func(x, y item) int { return cmp.Compare(len(field(x.place)), len(field(y.place))) })
	if byValue {
		return
	}
	for len(a) > 1 {
		n := 1
		for n < len(a) && len(field(a[n].place)) == len(field(a[0].place)) {
			n++
		}
		if n > 1 {
			for i := range a[:n] {
				a[i].prefix = prefix(s.value(a[i].place))
			}
			s.sortField(a[:n], true, 0)
		}
		a = a[n:]
	}
}

// radixSort sorts by the bytes of prefixes from the one at shift downwards, in place.
func radixSort(a []item, shift uint) {
	for {
		if len(a) < radixLeast {
			insertionSort(a)
			return
		}
		var count [256]int
		for i := range a {
			count[byte(a[i].prefix>>shift)]++
		}
		if count[byte(a[0].prefix>>shift)] == len(a) { // all the same
			if shift == 0 {
				return
			}
			shift -= 8
			continue
		}
		// Each item is put where its byte belongs; what lay there is put next.
		var next, end [256]int
		sum := 0
		for b, n := range count {
			next[b] = sum
			sum += n
			end[b] = sum
		}
		for b := range 256 {
			for next[b] < end[b] {
				x := a[next[b]]
				for {
					c := byte(x.prefix >> shift)
					if int(c) == b {
						break
					}
					x, a[next[c]] = a[next[c]], x
					next[c]++
				}
				a[next[b]] = x
				next[b]++
			}
		}
		if shift == 0 {
			return
		}
		start := 0
		for _, n := range count {
			if n > 1 {
				radixSort(a[start:start+n], shift-8)
			}
			start += n
		}
		return
	}
}

func insertionSort(a []item) {
	for i := 1; i < len(a); i++ {
		x := a[i]
		j := i
		for ; j > 0 && a[j-1].prefix > x.prefix; j-- {
			a[j] = a[j-1]
		}
		a[j] = x
	}
}
