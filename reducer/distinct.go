package reducer

import (
	"bytes"
	"iter"

	"github.com/millrace/millrace/internal/guest"
)

// Distinct counts the distinct values, exactly. It holds one value at a time, for values come sorted; for the same reason they
// are not combined on their way, and all of them are moved: [DistinctApprox] moves 16 KiB at most.
func Distinct[V any]() Reducer[V, V, int64] {
	return Reducer[V, V, int64]{
		Lift: same[V],
		Group: func(values iter.Seq[V]) (int64, error) {
			c, err := guest.CodecOf[V]()
			if err != nil {
				return 0, err
			}
			var d distincts
			for v := range values {
				enc, err := c.Append(d.spare[:0], v)
				if err != nil {
					return 0, err
				}
				d.add(enc)
			}
			return d.n, nil
		},
		stock: "distinct:" + kindOf[V](),
	}
}

// A distincts counts distinct encodings that come in order.
type distincts struct {
	n     int64
	last  []byte
	spare []byte
}

// add takes the next one, which lies in memory of its own or in spare.
func (d *distincts) add(enc []byte) {
	if d.n > 0 && bytes.Equal(enc, d.last) {
		return
	}
	d.n++
	d.last, d.spare = enc, d.last
}

func groupDistinct(values iter.Seq[[]byte], emit func(result []byte) error) error {
	var d distincts
	for enc := range values {
		d.add(append(d.spare[:0], enc...))
	}
	return emit(guest.AppendInt(nil, d.n))
}
