package bench

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// requestFile is how many bytes one file of requests has.
const requestFile = 16e6

// requests returns a directory of files of lines "user TAB milliseconds TAB path", some 60 bytes each, of 200,000 users.
func requests(tb testing.TB) (dir string, size int64) {
	tb.Helper()
	dataMutex.Lock()
	defer dataMutex.Unlock()
	total := theScale(tb).requests
	return generated(tb, fmt.Sprintf("requests-%d", total), func(dir string) (size int64, err error) {
		rnd := rand.New(rand.NewPCG(1, 1))
		for n := 0; size < total; n++ {
			f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%05d", n)))
			if err != nil {
				return 0, err
			}
			w := bufio.NewWriterSize(f, 1<<20)
			for k := 0; k < requestFile; {
				m, _ := fmt.Fprintf(w, "user-%06d@example.com\t%d\t/api/v1/%016x\n", rnd.IntN(200_000), rnd.IntN(5000), rnd.Uint64())
				k += m
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

// BenchmarkOverlap adds up the milliseconds of each user, in one job, and in two phases as somebody would by hand: a job that writes a line for
// each record, and a job that reads these lines and reduces them. Both must print the same.
func BenchmarkOverlap(b *testing.B) {
	p := built(b)
	in, size := requests(b)
	const run = `"$MILLRACE" run --progress none --slots 2 builtin:fields `
	streaming := run + `-p value=2 --reducer sum -r 2 -i .`
	phased := `work=$(mktemp -d -p "$WORK") && trap 'rm -rf "$work"' EXIT && ` +
		run + `-p value=2 -i . -o "$work/records" && ` + run + `--reducer sum -r 2 -i "$work/records"`
	work, err := dataDir() // on the disk where the records of the other lie
	if err != nil {
		b.Fatal(err)
	}
	env := []string{"MILLRACE=" + p.millrace, "WORK=" + work, "TMPDIR=" + work}
	contest(b, size, true,
		contender{"streaming", command(in, env, "sh", "-c", streaming)},
		contender{"phased", command(in, env, "sh", "-c", phased)},
	)
}
