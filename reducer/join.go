package reducer

import (
	"errors"
	"iter"

	"github.com/millrace/millrace/internal/guest"
)

// A JoinKind says what becomes of values whose key the other input does not have.
type JoinKind string

// Kinds of joins.
const (
	Inner JoinKind = "inner" // they are dropped
	Left  JoinKind = "left"  // those of the first input stand alone
	Outer JoinKind = "outer" // those of both inputs do
)

// Bounds of what a join holds: the values that one key has in the second input.
const (
	maxJoinBytes = 64 << 20 // of values that are not decoded
	maxJoinRows  = 1 << 20
)

var errJoin = errors.New("join: one key has more than 64 MiB, or 1,048,576 values, in the second input")

// A Row is a value of one of two inputs. It is encoded as a byte, 0 for the second input and 1 for the first, and the value, so that values
// of the second input come first in a group.
type Row[L, R any] struct {
	left  L
	right R
	first bool
}

// LeftRow returns the row of a value of the first input. (Which input an object is of, its URI says.)
func LeftRow[L, R any](v L) Row[L, R] { return Row[L, R]{left: v, first: true} }

// RightRow returns the row of a value of the second input.
func RightRow[L, R any](v R) Row[L, R] { return Row[L, R]{right: v} }

// AppendBinary appends the encoding of r.
func (r Row[L, R]) AppendBinary(dst []byte) ([]byte, error) {
	if !r.first {
		return appendValue(append(dst, 0), r.right)
	}
	return appendValue(append(dst, 1), r.left)
}

// UnmarshalBinary is the inverse of AppendBinary.
func (r *Row[L, R]) UnmarshalBinary(enc []byte) (err error) {
	*r = Row[L, R]{}
	if len(enc) == 0 || enc[0] > 1 {
		return errMalformed
	}
	if enc[0] == 0 {
		r.right, err = decodeValue[R](enc[1:])
		return err
	}
	r.first = true
	r.left, err = decodeValue[L](enc[1:])
	return err
}

func appendValue[V any](dst []byte, v V) ([]byte, error) {
	c, err := guest.CodecOf[V]()
	if err != nil {
		return dst, err
	}
	return c.Append(dst, v)
}

func decodeValue[V any](enc []byte) (v V, err error) {
	c, err := guest.CodecOf[V]()
	if err != nil {
		return v, err
	}
	return c.Decode(enc)
}

// Join returns the reduction, for job.MapGroup, that calls pair for each pair of values of the first and the second input that have
// the same key, and emits what it returns. A value that stands alone comes with nil for the other one. Pairs come in the order of the first
// input's values, then the second's.
//
// The values that a key has in the second input are held in memory: at most 1,048,576 of them, and what the limit of the guest's memory
// allows. So the input with fewer values of one key should be the second.
func Join[K, L, R, Out any](kind JoinKind, pair func(key K, left *L, right *R) Out) func(K, iter.Seq[Row[L, R]], func(K, Out)) error {
	return func(key K, rows iter.Seq[Row[L, R]], emit func(K, Out)) error {
		var right []R
		left := false
		for row := range rows {
			if !row.first {
				if len(right) == maxJoinRows {
					return errJoin
				}
				right = append(right, row.right)
				continue
			}
			left = true
			for i := range right {
				emit(key, pair(key, &row.left, &right[i]))
			}
			if len(right) == 0 && kind != Inner {
				emit(key, pair(key, &row.left, nil))
			}
		}
		for i := 0; !left && kind == Outer && i < len(right); i++ {
			emit(key, pair(key, nil, &right[i]))
		}
		return nil
	}
}

// groupJoin is Join on the encodings of rows of strings, of which it holds most bytes of one key. Its results are JSON lists of two, with null for
// what is not there.
func groupJoin(kind JoinKind, most int) func(iter.Seq[[]byte], func([]byte) error) error {
	return func(values iter.Seq[[]byte], emit func(result []byte) error) error {
		var right [][]byte // as JSON
		held := 0
		left := false
		var doc []byte
		pair := func(l, r []byte) error {
			doc = append(append(append(append(append(doc[:0], '['), l...), ','), r...), ']')
			return emit(doc)
		}
		null := []byte("null")
		for enc := range values {
			if len(enc) == 0 || enc[0] > 1 {
				return errMalformed
			}
			text := guest.AppendJSON(nil, guest.String, enc[1:])
			if enc[0] == 0 {
				if held += len(text); held > most || len(right) == maxJoinRows {
					return errJoin
				}
				right = append(right, text)
				continue
			}
			left = true
			for _, r := range right {
				if err := pair(text, r); err != nil {
					return err
				}
			}
			if len(right) == 0 && kind != Inner {
				if err := pair(text, null); err != nil {
					return err
				}
			}
		}
		for i := 0; !left && kind == Outer && i < len(right); i++ {
			if err := pair(null, right[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

func (n *name) joinKind() (JoinKind, error) {
	if len(n.args) == 0 {
		return Inner, nil
	}
	switch k := JoinKind(n.args[0]); k {
	case Inner, Left, Outer:
		if len(n.args) == 1 {
			return k, nil
		}
	}
	return "", errors.New("join: want join(inner), join(left) or join(outer)")
}
