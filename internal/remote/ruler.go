package remote

import (
	"math/big"
	"strings"
)

// A ruler measures distances between keys, in order to cut what is still to be listed into pieces of about equal size. It learns from
// keys seen which characters stand at which position, and reads keys as numbers of which these are the digits. It only
// guesses: a listing is right whatever the cuts are, and quick where they are good.
type ruler struct {
	seen [rulerWidth][4]uint64 // bit sets of the bytes seen at each position
}

const (
	rulerWidth = 256 // positions that are looked at
	rulerTeeth = 40  // positions behind the common prefix that count
)

// learn takes note of a key.
func (r *ruler) learn(key string) {
	for i := range min(len(key), rulerWidth) {
		c := key[i]
		r.seen[i][c/64] |= 1 << (c % 64)
	}
}

// digits returns the bytes to be expected at position i, in order: those seen and, where few of a class were seen, all
// digits, all small letters, all capitals.
func (r *ruler) digits(i int) []byte {
	if i >= rulerWidth {
		return nil
	}
	set := r.seen[i]
	has := func(c byte) bool { return set[c/64]>>(c%64)&1 != 0 }
	for _, class := range [][2]byte{{'0', '9'}, {'a', 'z'}, {'A', 'Z'}} {
		n := 0
		for c := class[0]; c <= class[1]; c++ {
			if has(c) {
				n++
			}
		}
		if n == 0 || n >= 5 && class[0] != '0' {
			continue
		}
		for c := class[0]; c <= class[1]; c++ {
			set[c/64] |= 1 << (c % 64)
		}
	}
	var digits []byte
	for c := range 256 {
		if set[c/64]>>(c%64)&1 != 0 {
			digits = append(digits, byte(c))
		}
	}
	return digits
}

// A scale is a ruler laid on keys that begin with prefix: the digits of the positions that follow it.
type scale struct {
	prefix string
	digits [][]byte
}

// scale returns the scale for keys in (lo, hi], where hi "" means no end within the listing of all that begins with prefix.
func (r *ruler) scale(prefix, lo, hi string) scale {
	n := len(prefix)
	if hi != "" {
		for n < len(lo) && n < len(hi) && lo[n] == hi[n] {
			n++
		}
	}
	s := scale{prefix: lo[:min(n, len(lo))]}
	if !strings.HasPrefix(lo, prefix) {
		s.prefix = prefix
	}
	for i := len(s.prefix); i < rulerWidth && len(s.digits) < rulerTeeth; i++ {
		s.digits = append(s.digits, r.digits(i))
	}
	return s
}

// number reads key, which begins with the scale's prefix, as a number. Digit 0 stands for the end of the key.
func (s scale) number(key string) *big.Int {
	key = strings.TrimPrefix(key, s.prefix)
	n := new(big.Int)
	base := new(big.Int)
	off := false // at a byte that is no digit: the rest does not count
	for i, digits := range s.digits {
		n.Mul(n, base.SetInt64(int64(len(digits)+1)))
		if off || i >= len(key) {
			continue
		}
		d := 0
		for d < len(digits) && digits[d] < key[i] {
			d++
		}
		off = d == len(digits) || digits[d] != key[i]
		if !off {
			d++
		}
		n.Add(n, base.SetInt64(int64(d)))
	}
	return n
}

// end returns the number beyond those of all keys with the scale's prefix.
func (s scale) end() *big.Int {
	n := big.NewInt(1)
	for _, digits := range s.digits {
		n.Mul(n, big.NewInt(int64(len(digits)+1)))
	}
	return n
}

// key returns the shortest key that number reads as n.
func (s scale) key(n *big.Int) string {
	n = new(big.Int).Set(n)
	out := make([]byte, len(s.digits))
	used := make([]bool, len(s.digits))
	base, d := new(big.Int), new(big.Int)
	for i := len(s.digits) - 1; i >= 0; i-- {
		n.DivMod(n, base.SetInt64(int64(len(s.digits[i])+1)), d)
		if v := d.Int64(); v > 0 {
			out[i], used[i] = s.digits[i][v-1], true
		}
	}
	end := 0
	for end < len(out) && used[end] {
		end++
	}
	return s.prefix + string(out[:end])
}

// pages estimates how many pages lie in (lo, hi], from one that reached from first to last.
func (s scale) pages(first, last, lo, hi *big.Int) int64 {
	span := new(big.Int).Sub(last, first)
	rest := new(big.Int).Sub(hi, lo)
	if rest.Sign() <= 0 {
		return 0
	}
	if span.Sign() <= 0 {
		return many
	}
	rest.Div(rest, span)
	if !rest.IsInt64() || rest.Int64() >= many {
		return many
	}
	return rest.Int64()
}

// many is an estimate that is not to be believed: beyond it, what was seen of a listing says little about the rest.
const many = 1 << 10

// cuts returns up to n keys that divide (lo, hi] for which one page of span is known: into equal pieces if the
// end is near enough to be believed in, else into pieces that grow by a fixed factor.
func (s scale) cuts(n int, span, lo, hi *big.Int, est int64) []string {
	rest := new(big.Int).Sub(hi, lo)
	var keys []string
	for i := 1; i <= n; i++ {
		at := new(big.Int)
		if est < many {
			at.Mul(rest, big.NewInt(int64(i)))
			at.Div(at, big.NewInt(int64(n+1)))
		} else {
			one := max(span.BitLen(), 1)
			bits := max(rest.BitLen()-one, 1)
			at.Lsh(big.NewInt(1), uint(one+bits*i/(n+1)))
			if at.Cmp(rest) >= 0 {
				break
			}
		}
		keys = append(keys, s.key(at.Add(at, lo)))
	}
	return keys
}
