package reducer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sort"
	"strconv"

	"github.com/millrace/millrace/internal/guest"
)

// maxQuantiles is how many quantiles are asked for at once.
const maxQuantiles = 32

// Quantile returns the q-quantile of the values, 0 being their minimum and 1 their maximum, which are exact: the value that has
// floor(q·(n-1)) smaller ones before it, with a relative error below 0.8 %. A NaN is an error. It panics if q is not between 0 and 1.
//
// It counts values by the highest bits of their float64: sign, exponent and the first six of the mantissa. So it does not matter in what order or
// in what pieces values come. This is DDSketch (Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
// guarantees", VLDB 2019) with a mapping that is linear between powers of two, so that no logarithm is rounded. Of numbers nearer to zero than
// 2^-1022 the error is absolute, below that number.
func Quantile[V Number](q float64) Reducer[V, Accumulator, float64] {
	s, err := newSketch([]float64{q}, true)
	if err != nil {
		panic(err.Error())
	}
	return gather[V, float64](s.name(), s.gatherer(), func(dst []byte, v V) ([]byte, error) { return s.lift(dst, float64(v)) })
}

// Quantiles returns several quantiles, at most 32, as a JSON object: {"0.5":12.5,"0.99":80}. Each is as [Quantile] has it.
func Quantiles[V Number](qs ...float64) Reducer[V, Accumulator, Document] {
	s, err := newSketch(qs, false)
	if err != nil {
		panic(err.Error())
	}
	return gather[V, Document](s.name(), s.gatherer(), func(dst []byte, v V) ([]byte, error) { return s.lift(dst, float64(v)) })
}

// A sketch counts values in buckets. Its body is
//
//	least:float64 most:float64 { bucket }
//
// floats in their ordered encoding; a bucket is eight bytes, big-endian: 18 bits of number and 46 of count, ascending. The number of a bucket is the
// highest 18 bits of the ordered encoding of its values, so that there are never more than 2^18, in 2 MiB; values within a factor of a million
// fill 1,300.
type sketch struct {
	qs   []float64
	only bool // the result is one number
}

const (
	bucketBits  = 18
	bucketShift = 64 - bucketBits
	bucketSize  = 8
	maxCount    = 1<<bucketShift - 1
)

func newSketch(qs []float64, only bool) (*sketch, error) {
	if len(qs) == 0 || len(qs) > maxQuantiles || only && len(qs) != 1 {
		return nil, errors.New("quantiles: want 1 to " + strconv.Itoa(maxQuantiles) + " quantiles")
	}
	for _, q := range qs {
		if !(q >= 0 && q <= 1) {
			return nil, errors.New("quantiles: " + strconv.FormatFloat(q, 'g', -1, 64) + " is not between 0 and 1")
		}
	}
	return &sketch{slices.Clone(qs), only}, nil
}

func (s *sketch) name() string {
	op := "quantiles"
	if s.only {
		op = "quantile"
	}
	return stockName(op, nil, formatFloats(s.qs)...)
}

func (s *sketch) gatherer() *gatherer { return &gatherer{merge: s.merge, reduce: s.reduce} }

func (s *sketch) lift(dst []byte, f float64) ([]byte, error) {
	at := len(dst)
	dst, err := guest.AppendFloat(dst, f)
	if err != nil {
		return dst, errors.New("quantile of a NaN")
	}
	dst = append(dst, dst[at:]...)
	bucket := binary.BigEndian.Uint64(dst[at:]) >> bucketShift
	return binary.BigEndian.AppendUint64(dst, bucket<<bucketShift|1), nil
}

// buckets are the bytes of buckets.
type buckets []byte

func (b buckets) at(i int) (bucket, count uint64) {
	u := binary.BigEndian.Uint64(b[bucketSize*i:])
	return u >> bucketShift, u & maxCount
}

func (b buckets) len() int { return len(b) / bucketSize }

// total returns how many values are counted, 0 if b is malformed.
func (b buckets) total() (total uint64) {
	if len(b)%bucketSize != 0 {
		return 0
	}
	last := uint64(0)
	for i := range b.len() {
		bucket, count := b.at(i)
		if i > 0 && bucket <= last || count == 0 {
			return 0
		}
		last = bucket
		total += count // not more than 2^18 times 2^46
	}
	return total
}

// find returns the place of a bucket, or where it would be.
func (b buckets) find(bucket uint64) int {
	return sort.Search(b.len(), func(i int) bool { n, _ := b.at(i); return n >= bucket })
}

func (s *sketch) merge(dst, a, b []byte) ([]byte, bool) {
	if len(a) <= 16 || len(b) <= 16 || (len(a)|len(b))%bucketSize != 0 {
		return dst, false
	}
	if len(a) < len(b) {
		a, b = b, a
	}
	dst = mergeMin(dst, a[:8], b[:8])
	dst = mergeMax(dst, a[8:16], b[8:16])
	x, y := buckets(a[16:]), buckets(b[16:])
	if y.len() == 1 && x.len() > 1 { // one value more: all is copied, but what is malformed in x stays so
		bucket, count := y.at(0)
		i := x.find(bucket)
		if i < x.len() {
			if n, old := x.at(i); n == bucket {
				if old == 0 || count == 0 || old+count > maxCount {
					return dst, false
				}
				dst = append(dst, x...)
				binary.BigEndian.PutUint64(dst[len(dst)-len(x)+bucketSize*i:], bucket<<bucketShift|(old+count))
				return dst, true
			}
		}
		return append(append(append(dst, x[:bucketSize*i]...), y...), x[bucketSize*i:]...), count > 0
	}
	if x.total() == 0 || y.total() == 0 {
		return dst, false
	}
	for len(x)+len(y) > 0 {
		n, m := uint64(noBucket), uint64(noBucket)
		var count, more uint64
		if len(x) > 0 {
			n, count = x.at(0)
		}
		if len(y) > 0 {
			m, more = y.at(0)
		}
		if n <= m {
			x = x[bucketSize:]
		} else {
			count = 0
		}
		if m <= n {
			y = y[bucketSize:]
			count += more
		}
		if count > maxCount {
			return dst, false
		}
		dst = binary.BigEndian.AppendUint64(dst, min(n, m)<<bucketShift|count)
	}
	return dst, true
}

const noBucket = 1 << bucketBits

func (s *sketch) reduce(dst, body []byte) ([]byte, error) {
	if len(body) < 16 || bytes.Compare(body[:8], body[8:16]) > 0 {
		return dst, errMalformed
	}
	least, err := guest.DecodeFloat(body[:8])
	if err != nil {
		return dst, errMalformed
	}
	most, err := guest.DecodeFloat(body[8:16])
	if err != nil {
		return dst, errMalformed
	}
	counts := buckets(body[16:])
	total := counts.total()
	if total == 0 {
		return dst, errMalformed
	}
	if s.only {
		return guest.AppendFloat(dst, counts.quantile(total, s.qs[0], least, most))
	}
	open := byte('{')
	for _, q := range s.qs {
		dst = strconv.AppendFloat(append(dst, open, '"'), q+0, 'g', -1, 64)
		enc, _ := guest.AppendFloat(nil, counts.quantile(total, q, least, most))
		dst = guest.AppendJSON(append(dst, '"', ':'), guest.Float, enc)
		open = ','
	}
	return append(dst, '}'), nil
}

// quantile returns the q-quantile of all values, which are total and lie between least and most.
func (b buckets) quantile(total uint64, q, least, most float64) float64 {
	switch q {
	case 0:
		return least
	case 1:
		return most
	}
	rank := uint64(q * float64(total-1))
	i := 0
	bucket, seen := b.at(0)
	for seen <= rank && i < b.len()-1 {
		i++
		n, count := b.at(i)
		bucket, seen = n, seen+count
	}
	return min(max(middle(bucket), least), most)
}

// middle returns the middle of a bucket.
func middle(bucket uint64) float64 {
	enc := bucket<<bucketShift | 1<<(bucketShift-1)
	negative := enc>>63 == 0
	if negative {
		enc = ^enc
	}
	magnitude := enc &^ (1 << 63)
	f := math.Float64frombits(magnitude)
	switch {
	case f != f: // nothing but infinities is so large
		f = math.Inf(1)
	case magnitude>>bucketShift == 0:
		f = 0
	}
	if negative {
		f = -f
	}
	return f + 0
}
