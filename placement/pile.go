package placement

import (
	"math/bits"
	"slices"
)

// A pile holds numbers of tasks by how much there is to do, most first; those that are much alike in that, in the order in which they came. A task that was taken
// off another pile stays until it is come upon.
type pile []layer

// A layer is tasks of one size.
type layer struct {
	size
	list
}

// A size is a logarithm of a weight, in quarters of a doubling.
type size uint8

func sizeOf(weight int64) size {
	w := uint64(min(max(weight, 0), 1<<60)+1) << 2
	n := bits.Len64(w)
	return size(4*n) | size(w>>(n-3)&3)
}

func (p *pile) put(at int32, s size) {
	i, ok := slices.BinarySearchFunc(*p, s, func(l layer, s size) int { return int(s) - int(l.size) })
	if !ok {
		*p = slices.Insert(*p, i, layer{size: s})
	}
	(*p)[i].push(at)
}

// top returns the first layer in which a task waits and that is not larger than most; nil if there is none. The first task of it waits.
func (q *Queue) top(p *pile, most size) *layer {
	for i := range *p {
		if l := &(*p)[i]; l.size <= most && l.trim(q.waits) {
			return l
		}
	}
	return nil
}

// bottom returns the last layer in which a task waits; nil if there is none.
func (q *Queue) bottom(p *pile) *layer {
	for i := len(*p) - 1; i >= 0; i-- {
		if l := &(*p)[i]; l.trim(q.waits) {
			return l
		}
	}
	return nil
}

// all returns all tasks of a pile, also those that do not wait.
func (p *pile) all() (ats []int32) {
	for _, l := range *p {
		ats = append(ats, l.items[l.begin:]...)
	}
	return ats
}
