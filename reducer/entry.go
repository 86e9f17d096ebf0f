package reducer

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"

	"github.com/millrace/millrace/internal/guest"
)

// An Entry is a value with what it is sorted by.
type Entry[O cmp.Ordered, V any] struct {
	Order O
	Value V
}

// maxEntry bounds what is sorted by, and its value, each in its encoding, in bytes.
const maxEntry = 32 << 10

var errEntry = errors.New("a value, or what it is sorted by, is longer than 32 KiB")

// entries is a kind of encoded entries: each a uvarint length and the encoding of what it is sorted by, and likewise of the value
// if there are values.
type entries struct {
	order  guest.Type
	value  guest.Type
	values bool
}

// An encoded entry. raw is all of it.
type entry struct{ order, value, raw []byte }

// append appends an entry whose parts put appends.
func (e *entries) append(dst []byte, order, value func(dst []byte) ([]byte, error)) ([]byte, error) {
	dst, err := appendField(dst, order)
	if err == nil && e.values {
		dst, err = appendField(dst, value)
	}
	return dst, err
}

// appendField appends a uvarint length and the bytes that put appends.
func appendField(dst []byte, put func(dst []byte) ([]byte, error)) ([]byte, error) {
	at := len(dst)
	dst, err := put(append(dst, 0))
	n := len(dst) - at - 1
	switch {
	case err != nil:
		return dst, err
	case n > maxEntry:
		return dst, errEntry
	case n < 0x80:
		dst[at] = byte(n)
		return dst, nil
	}
	field := append([]byte{}, dst[at+1:]...)
	return append(binary.AppendUvarint(dst[:at], uint64(n)), field...), nil
}

// lift appends the entry that a line has as its value: what it is sorted by and, behind a tab, the value.
func (e *entries) lift(dst, text []byte) ([]byte, error) {
	order, value, tab := bytes.Cut(text, []byte{'\t'})
	if tab != e.values {
		if tab {
			order, value = text, nil
		} else {
			return dst, errors.New("value has one field, not two: what it is sorted by, a tab, and what is wanted")
		}
	}
	return e.append(dst,
		func(dst []byte) ([]byte, error) { return liftKind(dst, e.order, order) },
		func(dst []byte) ([]byte, error) { return liftKind(dst, e.value, value) })
}

// next takes the first entry off p.
func (e *entries) next(p []byte) (first entry, rest []byte, ok bool) {
	rest = p
	if first.order, rest, ok = field(rest); ok && e.values {
		first.value, rest, ok = field(rest)
	}
	first.raw = p[:len(p)-len(rest)]
	return first, rest, ok
}

// field takes a uvarint length and that many bytes off p.
func field(p []byte) (f, rest []byte, ok bool) {
	n, k := uvarint(p)
	if k == 0 || n > maxEntry || n > uint64(len(p)-k) {
		return nil, p, false
	}
	end := k + int(n)
	return p[k:end], p[end:], true
}

// uvarint returns the uvarint at the start of p and its length, 0 if there is none that is as short as can be.
func uvarint(p []byte) (uint64, int) {
	if len(p) > 0 && p[0] < 0x80 {
		return uint64(p[0]), 1
	}
	n, k := binary.Uvarint(p)
	if k <= 0 || k > 1 && p[k-1] == 0 {
		return 0, 0
	}
	return n, k
}

// compare orders entries by what they are sorted by, then by value.
func compare(a, b entry) int {
	if c := bytes.Compare(a.order, b.order); c != 0 {
		return c
	}
	return bytes.Compare(a.value, b.value)
}

// lifter returns what appends an Entry to dst.
func lifter[O cmp.Ordered, V any](e *entries) func(dst []byte, v Entry[O, V]) ([]byte, error) {
	order, _ := guest.CodecOf[O]()
	value, err := guest.CodecOf[V]()
	return func(dst []byte, v Entry[O, V]) ([]byte, error) {
		if err != nil {
			return dst, err
		}
		return e.append(dst,
			func(dst []byte) ([]byte, error) { return order.Append(dst, v.Order) },
			func(dst []byte) ([]byte, error) { return value.Append(dst, v.Value) })
	}
}

// entriesOf returns the kind of entries that [Entry] of O and V is encoded as.
func entriesOf[O cmp.Ordered, V any]() *entries {
	order, _ := guest.CodecOf[O]()
	value, _ := guest.CodecOf[V]()
	return &entries{order: order.Type, value: value.Type, values: true}
}
