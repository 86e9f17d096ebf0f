package reducer

import (
	"cmp"
)

// First returns the value whose order is the smallest; of several, the smallest value. Order and value have at most 32 KiB each.
func First[O cmp.Ordered, V any]() Reducer[Entry[O, V], Accumulator, V] { return edge[O, V](false) }

// Last returns the value whose order is the largest; of several, the largest value. Order and value have at most 32 KiB each.
func Last[O cmp.Ordered, V any]() Reducer[Entry[O, V], Accumulator, V] { return edge[O, V](true) }

func edge[O cmp.Ordered, V any](last bool) Reducer[Entry[O, V], Accumulator, V] {
	e := &ends{entries: *entriesOf[O, V](), last: last}
	return gather[Entry[O, V], V](e.name(kindOf[O](), kindOf[V]()), e.gatherer(), lifter[O, V](&e.entries))
}

// An ends keeps the first entry, or the last. Its body is that entry.
type ends struct {
	entries
	last bool
}

func (e *ends) name(kinds ...string) string {
	if e.last {
		return stockName("last", kinds)
	}
	return stockName("first", kinds)
}

func (e *ends) gatherer() *gatherer { return &gatherer{merge: e.merge, reduce: e.reduce} }

func (e *ends) merge(dst, a, b []byte) ([]byte, bool) {
	x, restA, okA := e.next(a)
	y, restB, okB := e.next(b)
	if !okA || !okB || len(restA)+len(restB) > 0 {
		return dst, false
	}
	if (compare(x, y) < 0) == e.last {
		x = y
	}
	return append(dst, x.raw...), true
}

func (e *ends) reduce(dst, body []byte) ([]byte, error) {
	x, rest, ok := e.next(body)
	if !ok || len(rest) > 0 {
		return dst, errMalformed
	}
	return append(dst, x.value...), nil
}
