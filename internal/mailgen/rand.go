package mailgen

import (
	"math/bits"
	"time"
)

// A rand is a small fast generator (wyrand), seeded for one mail.
type rand struct {
	state uint64
	when  uint32 // seconds into the year
}

func newRand(seed uint64, i int) rand {
	r := rand{state: mix(mix(seed) + uint64(i))}
	r.when = uint32(r.next() % yearSeconds)
	return r
}

// mix is the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (r *rand) next() uint64 {
	r.state += 0xa0761d6478bd642f
	hi, lo := bits.Mul64(r.state, r.state^0xe7037ed1a0b428db)
	return hi ^ lo
}

// n returns a number in [0, max).
func (r *rand) n(max int) int {
	hi, _ := bits.Mul64(r.next(), uint64(max))
	return int(hi)
}

// chance reports true with a probability of threshold in 2^-32.
func (r *rand) chance(threshold uint32) bool { return uint32(r.next()>>32) < threshold }

// date returns the mail's time, which is fixed by seed and number.
func (r *rand) date() time.Time { return year.Add(time.Duration(r.when) * time.Second) }

// A zipf draws ranks with frequency 1/(rank+2) from a table.
type zipf struct{ table [1 << 16]uint16 }

func newZipf(n int) *zipf {
	z := new(zipf)
	var sum float64
	for i := range n {
		sum += 1 / float64(i+2)
	}
	var acc float64
	slot := 0
	for i := range n {
		acc += 1 / float64(i+2)
		for end := int(acc / sum * float64(len(z.table))); slot < end && slot < len(z.table); slot++ {
			z.table[slot] = uint16(i)
		}
	}
	return z // what rounding left over draws rank 0
}

func (z *zipf) draw(bits uint16) int { return int(z.table[bits]) }
