package guest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// One operation is one record of a word and a 1, of words that come as often as words do, counted where the runner allows it.
func BenchmarkWords(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(r, 1.1, 2, 20_000)
	words := make([][]byte, 1<<16)
	for i := range words {
		words[i] = fmt.Appendf(nil, "word%x", zipf.Uint64())
	}
	for _, repeats := range []bool{false, true} {
		b.Run(fmt.Sprintf("repeats=%t", repeats), func(b *testing.B) {
			a := NewAnswers(io.Discard)
			a.repeats = repeats
			one := []byte{2}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				a.Record(words[i&(1<<16-1)], one)
			}
		})
	}
}
