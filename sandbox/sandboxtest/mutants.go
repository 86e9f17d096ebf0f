package sandboxtest

import (
	"bytes"
	"iter"
	"math/rand/v2"
)

// Mutants yields n modules that are cut short or have some bits flipped. The same seed gives the same ones.
func Mutants(seed uint64, n int) iter.Seq[[]byte] {
	bases := [][]byte{Healthy(), wild("fd_write"), wild("poll_oneoff"), wild("path_open"), wild("search_1"), exits(true, 20), command(1, calls(5)...)}
	return func(yield func([]byte) bool) {
		rng := rand.New(rand.NewPCG(seed, 0))
		for i := range n {
			m := bytes.Clone(bases[i%len(bases)])
			if rng.IntN(2) == 0 {
				m = m[:rng.IntN(len(m))]
			} else {
				for range 1 + rng.IntN(3) {
					m[rng.IntN(len(m))] ^= 1 << rng.IntN(8)
				}
			}
			if !yield(m) {
				return
			}
		}
	}
}
