package bench

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// skewLines returns a directory of lines "key TAB value" of as many keys as a tenth of them, or, if hot, of which one key has half.
func skewLines(tb testing.TB, hot bool) (dir string, size int64) {
	tb.Helper()
	dataMutex.Lock()
	defer dataMutex.Unlock()
	total := theScale(tb).group / 10
	return generated(tb, fmt.Sprintf("skew-%t-%d", hot, total), func(dir string) (size int64, err error) {
		rnd := rand.New(rand.NewPCG(1, 1))
		const files = 32
		for n := range files {
			f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%05d", n)))
			if err != nil {
				return 0, err
			}
			w := bufio.NewWriterSize(f, 1<<20)
			for range total / files {
				key := rnd.Int64N(total / 10)
				if hot && rnd.IntN(2) == 0 {
					key = 0
				}
				m, _ := fmt.Fprintf(w, "k%08d\t%016x\n", key, rnd.Uint64())
				size += int64(m)
			}
			if err := w.Flush(); err != nil {
				return 0, err
			}
			if err := f.Close(); err != nil {
				return 0, err
			}
		}
		return size, nil
	})
}

// BenchmarkSkew counts the different values of each key, for which all of them are moved and nothing is combined, where keys have
// as many values as each other, and where one key has half of them.
func BenchmarkSkew(b *testing.B) {
	p := built(b)
	even, size := skewLines(b, false)
	hot, _ := skewLines(b, true)
	distinct := func(dir string) func() *exec.Cmd {
		return command(dir, nil, p.millrace, "run", "--progress", "none", "--slots", "2", "builtin:fields", "--reducer", "distinct", "-r", "8", "-i", ".")
	}
	contest(b, size, false, contender{"even", distinct(even)}, contender{"hot", distinct(hot)})
}
