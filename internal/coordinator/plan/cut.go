package plan

import "cmp"

// MaxObjects and MaxBytes bound a split. A larger object is a split of its own.
const (
	MaxObjects = 4096
	MaxBytes   = 64 << 20
)

// A cut decides where splits end, from nothing but the sizes of the objects in their order.
//
// A split holds at most an eighth of all objects before it, and of their bytes: the first ones are small, so that
// results come at once and every slot has work, and the last one is never much of a small job, so that no slot
// waits long for the other. Large jobs soon reach full splits.
type cut struct {
	most                   int64 // objects of a split; 0: MaxObjects
	meanObjects, meanBytes int64 // of all that splits gather for, if there are several: one that has more has no larger splits, for others are to help it
	objects, bytes         int64 // before the open split
	openObjects, openBytes int64
}

const (
	leastObjects = 64
	leastBytes   = 1 << 20
	growth       = 8
)

// before reports whether the open split must be closed before an object of size joins it.
func (c *cut) before(size int64) bool {
	return c.openObjects > 0 &&
		(c.openObjects >= c.maxObjects() || c.openBytes+size > c.maxBytes())
}

// add takes an object into the open split.
func (c *cut) add(size int64) {
	c.openObjects++
	c.openBytes += size
}

// full reports whether nothing can join the open split.
func (c *cut) full() bool {
	return c.openObjects >= c.maxObjects() || c.openBytes >= c.maxBytes()
}

// close ends the open split.
func (c *cut) close() {
	c.objects += c.openObjects
	c.bytes += c.openBytes
	c.openObjects, c.openBytes = 0, 0
}

func (c *cut) maxObjects() int64 {
	return min(max(min(c.objects, cmp.Or(c.meanObjects, c.objects))/growth, leastObjects), cmp.Or(c.most, MaxObjects))
}

func (c *cut) maxBytes() int64 {
	return min(max(min(c.bytes, cmp.Or(c.meanBytes, c.bytes))/growth, leastBytes), MaxBytes)
}
