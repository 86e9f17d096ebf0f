package reducer

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
)

// words is the length of the fixed-point number in an Exact: 2,098 bits for the largest float64 and what more than
// 2^70 of them carry.
const words = 34

// An Exact is the accumulator of sums of floats: a two's complement fixed-point number in units of 2^-1074, which every
// float64 and int64 is a multiple of, so that adding never rounds.
//
// It is encoded as a byte of flags and, unless the number is zero, the index of its lowest byte that is not zero (two bytes,
// big-endian) and the bytes from there on, lowest first, without those that only repeat the sign.
type Exact struct {
	w     [words]uint64 // lowest first
	flags byte
}

// Flags of an Exact: what was added beside numbers.
const (
	sawInf = 1 << iota
	sawNegInf
	sawNaN
	allFlags = sawInf | sawNegInf | sawNaN
)

// exact returns v as an Exact.
func exact[V Number](v V) Exact {
	half := 0.5
	if V(half) != 0 { // V is a Float
		return exactFloat(float64(v))
	}
	if v < 0 {
		return exactInt(-uint64(v), true)
	}
	return exactInt(uint64(v), false)
}

func exactFloat(f float64) Exact {
	var e Exact
	switch {
	case f != f:
		e.flags = sawNaN
	case math.IsInf(f, 1):
		e.flags = sawInf
	case math.IsInf(f, -1):
		e.flags = sawNegInf
	default:
		b := math.Float64bits(f)
		shift := b >> 52 & 0x7ff
		m := b & (1<<52 - 1)
		if shift > 0 {
			m |= 1 << 52
			shift--
		}
		e.set(m, int(shift), b>>63 != 0)
	}
	return e
}

// exactInt returns n, or -n if neg.
func exactInt(n uint64, neg bool) Exact {
	var e Exact
	e.set(n, 1074, neg)
	return e
}

// set makes e, which is zero, m << shift, negated if neg.
func (e *Exact) set(m uint64, shift int, neg bool) {
	i, s := shift/64, shift%64
	e.w[i] = m << s
	e.w[i+1] = m >> (64 - s)
	if neg {
		e.negate()
	}
}

func (e *Exact) negate() {
	carry := uint64(1)
	for i := range e.w {
		e.w[i], carry = bits.Add64(^e.w[i], 0, carry)
	}
}

func (e Exact) add(f Exact) Exact {
	var carry uint64
	for i := range e.w {
		e.w[i], carry = bits.Add64(e.w[i], f.w[i], carry)
	}
	e.flags |= f.flags
	return e
}

// quotient returns e / n rounded to the nearest float64, ties to even; op names the operation in errors.
func (e Exact) quotient(n uint64, op string) (float64, error) {
	switch {
	case n == 0:
		return 0, errMalformed
	case e.flags&sawNaN != 0:
		return 0, errors.New(op + " of a NaN")
	case e.flags == sawInf|sawNegInf:
		return 0, errors.New(op + " of infinities of both signs")
	case e.flags == sawInf:
		return math.Inf(1), nil
	case e.flags == sawNegInf:
		return math.Inf(-1), nil
	}
	neg := e.w[words-1]>>63 != 0
	if neg {
		e.negate()
	}
	var rem uint64
	top := -1 // the highest bit of the quotient
	for i := words - 1; i >= 0; i-- {
		e.w[i], rem = bits.Div64(rem, e.w[i], n)
		if top < 0 && e.w[i] != 0 {
			top = 64*i + bits.Len64(e.w[i]) - 1
		}
	}
	// The mantissa is the 53 bits from top on, or all there are; half and rest say what is below it.
	shift := max(top-52, 0)
	m := e.bits(shift)
	half, rest := rem >= n-rem, rem != n-rem && rem != 0
	if shift > 0 {
		half, rest = e.bits(shift-1)&1 != 0, rem != 0 || e.anyBelow(shift-1)
	}
	if half && (rest || m&1 != 0) {
		m++
	}
	// A mantissa of 53 bits adds its highest one to the exponent, which is what is wanted; so does one that was rounded up to 54.
	b := uint64(shift)<<52 + m
	if b >= 0x7ff<<52 {
		return 0, errors.New(op + " overflows float64")
	}
	f := math.Float64frombits(b)
	if neg {
		f = -f
	}
	return f, nil
}

// bits returns up to 64 bits of e from bit i on.
func (e *Exact) bits(i int) uint64 {
	b := e.w[i/64] >> (i % 64)
	if i/64+1 < words {
		b |= e.w[i/64+1] << (64 - i%64)
	}
	return b
}

// anyBelow reports whether a bit below bit i is set.
func (e *Exact) anyBelow(i int) bool {
	for j := range i / 64 {
		if e.w[j] != 0 {
			return true
		}
	}
	return e.w[i/64]<<(64-i%64) != 0
}

// AppendBinary appends the encoding of e.
func (e Exact) AppendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, e.flags)
	var p [8 * words]byte
	for i, w := range e.w {
		binary.LittleEndian.PutUint64(p[8*i:], w)
	}
	low, high := 0, len(p)
	for low < len(p) && p[low] == 0 {
		low++
	}
	if low == len(p) {
		return dst, nil
	}
	for high-low > 1 && repeatsSign(p[high-2], p[high-1]) {
		high--
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(low))
	return append(dst, p[low:high]...), nil
}

// repeatsSign reports whether the highest byte of a two's complement number says no more than the sign of the byte below it.
func repeatsSign(below, highest byte) bool { return highest == byte(int8(below)>>7) }

// UnmarshalBinary is the inverse of AppendBinary. It takes no encoding but the one that AppendBinary makes.
func (e *Exact) UnmarshalBinary(enc []byte) error {
	if len(enc) == 0 || enc[0]&^allFlags != 0 {
		return errMalformed
	}
	*e = Exact{flags: enc[0]}
	if len(enc) == 1 {
		return nil
	}
	if len(enc) < 4 {
		return errMalformed
	}
	low := int(binary.BigEndian.Uint16(enc[1:]))
	enc = enc[3:]
	n := len(enc)
	if low+n > 8*words || enc[0] == 0 || n > 1 && repeatsSign(enc[n-2], enc[n-1]) {
		return errMalformed
	}
	var p [8 * words]byte
	copy(p[low:], enc)
	if enc[n-1] >= 0x80 {
		for i := low + n; i < len(p); i++ {
			p[i] = 0xff
		}
	}
	for i := range e.w {
		e.w[i] = binary.LittleEndian.Uint64(p[8*i:])
	}
	return nil
}

// An Average is the accumulator of means: how many values, and their exact sum. It is encoded as a uvarint and an Exact.
type Average struct {
	n   uint64
	sum Exact
}

func (a Average) add(b Average) Average { return Average{n: a.n + b.n, sum: a.sum.add(b.sum)} }

// AppendBinary appends the encoding of a.
func (a Average) AppendBinary(dst []byte) ([]byte, error) {
	return a.sum.AppendBinary(binary.AppendUvarint(dst, a.n))
}

// UnmarshalBinary is the inverse of AppendBinary.
func (a *Average) UnmarshalBinary(enc []byte) error {
	n, k := binary.Uvarint(enc)
	if k <= 0 || n == 0 || k > 1 && enc[k-1] == 0 {
		return errMalformed
	}
	a.n = n
	return a.sum.UnmarshalBinary(enc[k:])
}
