package reducer

import (
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
)

// maxBounds is how many bounds a histogram may have.
const maxBounds = 64

var errBounds = errors.New("histogram: its bounds are not in ascending order")

// Histogram counts values between bounds, which ascend and are at most 64: its result is a JSON list of one number more than there are
// bounds, of the values below the first bound, of those from each bound to below the next, and of those from the last bound on. A NaN is an
// error. It panics if the bounds are no such.
func Histogram[V Number](bounds ...float64) Reducer[V, Accumulator, Document] {
	h, err := newHistogram(bounds)
	if err != nil {
		panic(err.Error())
	}
	return gather[V, Document](h.name(), h.gatherer(), func(dst []byte, v V) ([]byte, error) { return h.lift(dst, float64(v)) })
}

// A histogram counts by bounds. Its body is a uvarint for each of its counts.
type histogram struct{ bounds []float64 }

func newHistogram(bounds []float64) (*histogram, error) {
	if len(bounds) == 0 || len(bounds) > maxBounds {
		return nil, errors.New("histogram: want 1 to " + strconv.Itoa(maxBounds) + " bounds")
	}
	for i, b := range bounds {
		if b != b || i > 0 && b <= bounds[i-1] {
			return nil, errBounds
		}
	}
	return &histogram{slices.Clone(bounds)}, nil
}

func (h *histogram) name() string { return stockName("histogram", nil, formatFloats(h.bounds)...) }

func (h *histogram) gatherer() *gatherer { return &gatherer{merge: h.merge, reduce: h.reduce} }

func (h *histogram) lift(dst []byte, f float64) ([]byte, error) {
	if f != f {
		return dst, errors.New("histogram of a NaN")
	}
	at, found := slices.BinarySearch(h.bounds, f)
	if found {
		at++
	}
	for i := range len(h.bounds) + 1 {
		if i == at {
			dst = append(dst, 1)
		} else {
			dst = append(dst, 0)
		}
	}
	return dst, nil
}

func (h *histogram) merge(dst, a, b []byte) ([]byte, bool) {
	for range len(h.bounds) + 1 {
		x, n := uvarint(a)
		y, m := uvarint(b)
		if n == 0 || m == 0 || x+y < x {
			return dst, false
		}
		dst = binary.AppendUvarint(dst, x+y)
		a, b = a[n:], b[m:]
	}
	return dst, len(a)+len(b) == 0
}

func (h *histogram) reduce(dst, body []byte) ([]byte, error) {
	open := byte('[')
	for range len(h.bounds) + 1 {
		x, n := uvarint(body)
		if n == 0 {
			return dst, errMalformed
		}
		dst = strconv.AppendUint(append(dst, open), x, 10)
		open, body = ',', body[n:]
	}
	if len(body) > 0 {
		return dst, errMalformed
	}
	return append(dst, ']'), nil
}
