package reducer

import (
	"errors"
	"math/bits"
)

// A Total is the accumulator of sums of integers: 128 bits, two's complement, more than 2^63 values of 64 bits can fill.
//
// It is encoded as a zigzag varint (as in encoding/binary, but of 128 bits), so that small sums take one byte.
type Total struct {
	hi uint64
	lo uint64
}

var errMalformed = errors.New("malformed accumulator")

// totalOf returns v as a Total.
func totalOf[V Integer](v V) Total {
	t := Total{lo: uint64(v)}
	if v < 0 {
		t.hi = ^uint64(0)
	}
	return t
}

// integer returns t as a V, or an error that says of what operation t is out of range.
func integer[V Integer](t Total, op string) (V, error) {
	v := V(t.lo)
	if totalOf(v) != t {
		return 0, errors.New(op + " overflows " + kindOf[V]())
	}
	return v, nil
}

func (t Total) add(u Total) Total {
	lo, carry := bits.Add64(t.lo, u.lo, 0)
	hi, _ := bits.Add64(t.hi, u.hi, carry)
	return Total{hi: hi, lo: lo}
}

// AppendBinary appends the encoding of t.
func (t Total) AppendBinary(dst []byte) ([]byte, error) { return t.append(dst), nil }

func (t Total) append(dst []byte) []byte {
	sign := uint64(int64(t.hi) >> 63) // all ones if negative
	hi := (t.hi<<1 | t.lo>>63) ^ sign
	lo := t.lo<<1 ^ sign
	for hi != 0 || lo >= 0x80 {
		dst = append(dst, byte(lo)|0x80)
		lo = lo>>7 | hi<<57
		hi >>= 7
	}
	return append(dst, byte(lo))
}

// UnmarshalBinary is the inverse of AppendBinary. It takes no encoding but the shortest.
func (t *Total) UnmarshalBinary(enc []byte) error {
	u, ok := parseTotal(enc)
	if !ok {
		return errMalformed
	}
	*t = u
	return nil
}

func parseTotal(enc []byte) (Total, bool) {
	const most = 19 // bytes, of 7 bits each
	n := len(enc)
	if n == 0 || n > most || n > 1 && enc[n-1] == 0 || n == most && enc[n-1] > 3 {
		return Total{}, false
	}
	var hi, lo uint64
	for i := n - 1; i >= 0; i-- {
		if (enc[i] >= 0x80) != (i < n-1) {
			return Total{}, false
		}
		hi = hi<<7 | lo>>57
		lo = lo<<7 | uint64(enc[i]&0x7f)
	}
	sign := -(lo & 1)
	return Total{hi: hi>>1 ^ sign, lo: (lo>>1 | hi<<63) ^ sign}, true
}

// mergeTotals appends the encoded sum of two encoded Totals to dst; nothing, which is malformed in turn, if one of
// them is malformed.
func mergeTotals(dst, a, b []byte) []byte {
	t, ok := parseTotal(a)
	u, okb := parseTotal(b)
	if !ok || !okb {
		return dst
	}
	return t.add(u).append(dst)
}

// AppendTotal appends n as an encoded Total to dst, for programs that emit accumulators of sums by themselves.
func AppendTotal(dst []byte, n int64) []byte { return totalOf(n).append(dst) }
