package reducer

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"strconv"

	"github.com/millrace/millrace/internal/guest"
)

// maxTop bounds how many values a key is left with.
const maxTop = 1000

// TopK returns the k largest values, the largest first, as a JSON list; equal ones are all counted. k is at most 1,000, and a value has
// at most 32 KiB. A NaN is an error.
func TopK[V cmp.Ordered](k int) Reducer[V, Accumulator, Document] {
	c, _ := guest.CodecOf[V]()
	t := &top{entries: entries{order: c.Type}, k: clamp(k)}
	return gather[V, Document](t.name(kindOf[V]()), t.gatherer(), func(dst []byte, v V) ([]byte, error) {
		return t.append(append(dst, 1), func(dst []byte) ([]byte, error) { return c.Append(dst, v) }, nil)
	})
}

// TopKBy returns the k entries of the largest order as a JSON list of pairs, [order, value], the largest first; of equal ones the
// smallest values. Bounds are those of [TopK].
func TopKBy[O cmp.Ordered, V any](k int) Reducer[Entry[O, V], Accumulator, Document] {
	t := &top{entries: *entriesOf[O, V](), k: clamp(k)}
	lift := lifter[O, V](&t.entries)
	return gather[Entry[O, V], Document](t.name(kindOf[O](), kindOf[V]()), t.gatherer(), func(dst []byte, e Entry[O, V]) ([]byte, error) {
		return lift(append(dst, 1), e)
	})
}

func clamp(k int) int { return min(max(k, 1), maxTop) }

// A top keeps the best k entries. Its body is a uvarint, how many there are, and these, the worst first. It has no bound of its own below k
// entries of 64 KiB.
type top struct {
	entries
	k int
}

func (t *top) name(kinds ...string) string {
	op := "top-k"
	if t.values {
		op = "top-k-by"
	}
	return stockName(op, kinds, strconv.Itoa(t.k))
}

func (t *top) gatherer() *gatherer { return &gatherer{merge: t.merge, reduce: t.reduce} }

// lift appends the body of the entry that a line has as its value.
func (t *top) lift(dst, text []byte) ([]byte, error) { return t.entries.lift(append(dst, 1), text) }

// worse reports whether a stands before b in a body.
func worse(a, b entry) bool {
	if c := bytes.Compare(a.order, b.order); c != 0 {
		return c < 0
	}
	return bytes.Compare(a.value, b.value) > 0
}

// open returns how many entries a body has, and these; ok is false if it cannot be a body.
func (t *top) open(body []byte) (n int, list []byte, ok bool) {
	u, size := uvarint(body)
	return int(u), body[size:], size > 0 && u > 0 && u <= uint64(t.k)
}

// valid reports whether list is n entries in their order.
func (t *top) valid(n int, list []byte) bool {
	var last entry
	for i := range n {
		e, rest, ok := t.next(list)
		if !ok || i > 0 && worse(e, last) {
			return false
		}
		last, list = e, rest
	}
	return len(list) == 0
}

func (t *top) merge(dst, a, b []byte) ([]byte, bool) {
	n, x, okA := t.open(a)
	m, y, okB := t.open(b)
	if !okA || !okB {
		return dst, false
	}
	if n < m {
		a, n, x, m, y = b, m, y, n, x
	}
	if m == 1 && !t.valid(m, y) {
		return dst, false
	}
	if m == 1 && n == t.k && n > 1 { // nearly always, what comes is worse than all that are there
		worst, _, ok := t.next(x)
		if one, _, _ := t.next(y); ok && !worse(worst, one) {
			return append(dst, a...), true
		}
	}
	if !t.valid(n, x) || !t.valid(m, y) {
		return dst, false
	}
	keep := min(n+m, t.k)
	dst = binary.AppendUvarint(dst, uint64(keep))
	for drop := n + m - keep; len(x)+len(y) > 0; drop-- {
		e, rest, okX := t.next(x)
		f, restY, okY := t.next(y)
		if okX && (!okY || !worse(f, e)) {
			x = rest
		} else {
			e, y = f, restY
		}
		if drop <= 0 {
			dst = append(dst, e.raw...)
		}
	}
	return dst, true
}

func (t *top) reduce(dst, body []byte) ([]byte, error) {
	n, list, ok := t.open(body)
	if !ok || !t.valid(n, list) {
		return dst, errMalformed
	}
	all := make([]entry, n)
	for i := range all {
		all[i], list, _ = t.next(list)
	}
	open := byte('[')
	for i := n - 1; i >= 0; i-- {
		dst = append(dst, open)
		if t.values {
			dst = guest.AppendJSON(append(dst, '['), t.order, all[i].order)
			dst = append(guest.AppendJSON(append(dst, ','), t.value, all[i].value), ']')
		} else {
			dst = guest.AppendJSON(dst, t.order, all[i].order)
		}
		open = ','
	}
	return append(dst, ']'), nil
}
