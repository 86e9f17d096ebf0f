package bench

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// groupFile is how many records one input file has.
const groupFile = 1 << 21

// groupKeys returns a directory of files of keys, one a line, each of which comes four times in all, in random order.
func groupKeys(tb testing.TB) (dir string, size int64) {
	tb.Helper()
	dataMutex.Lock()
	defer dataMutex.Unlock()
	total := uint64(theScale(tb).group)
	return generated(tb, fmt.Sprintf("group-%d", total), func(dir string) (size int64, err error) {
		// A permutation of the numbers below a power of two, by a Feistel network; what is not below total is left out.
		bits := 2
		for 1<<bits < total {
			bits += 2
		}
		half, mask := bits/2, uint64(1)<<(bits/2)-1
		keys := [4]uint64{}
		rnd := rand.New(rand.NewPCG(1, 1))
		for i := range keys {
			keys[i] = rnd.Uint64()
		}
		next := uint64(0)
		for n := 0; next < 1<<bits; n++ {
			f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%05d", n)))
			if err != nil {
				return 0, err
			}
			w := bufio.NewWriterSize(f, 1<<20)
			for k := 0; k < groupFile && next < 1<<bits; next++ {
				l, r := next>>half, next&mask
				for _, key := range keys {
					l, r = r, l^((r*0x9e3779b97f4a7c15+key)>>17&mask)
				}
				if x := l<<half | r; x < total {
					m, _ := fmt.Fprintf(w, "k%08d\n", x/4)
					size += int64(m)
					k++
				}
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

// BenchmarkGroupBy counts how often each of many keys comes, a quarter as many as there are records, in 512 MiB: two slots of 256 MiB. Each
// must come four times.
func BenchmarkGroupBy(b *testing.B) {
	p := built(b)
	in, size := groupKeys(b)
	records := theScale(b).group
	base, err := dataDir()
	if err != nil {
		b.Fatal(err)
	}
	var wall, cpu time.Duration
	var peak int64
	var stderr string
	for range b.N {
		b.StopTimer()
		work, err := os.MkdirTemp(base, "group-")
		if err != nil {
			b.Fatal(err)
		}
		out := filepath.Join(work, "out")
		b.StartTimer()
		s, err := runProcess(groupBy(p, in, work, out), true)
		b.StopTimer()
		if err == nil {
			err = checkGroups(out, records/4)
		}
		if err := os.RemoveAll(work); err != nil {
			b.Error(err)
		}
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		wall += s.wall
		cpu += s.cpu
		peak = max(peak, s.peak)
		stderr = s.stderr
	}
	b.ReportMetric(float64(wall)/float64(b.N), "ns/op")
	b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(peak), "peak-B")
	b.ReportMetric(float64(records)/1e6*float64(b.N)/wall.Seconds(), "Mrecords/s")
	b.ReportMetric(float64(shuffled(stderr))/float64(size), "temp/input")
}

func groupBy(p *programs, in, work, out string) *exec.Cmd {
	return command(in, []string{"TMPDIR=" + work}, p.millrace, "run", "--progress", "json", "--slots", "2", "builtin:words", "-r", "2", "-i", ".", "-o", out)()
}

// checkGroups checks that an output has that many keys, in order in each part, each with the count of 4.
func checkGroups(dir string, keys int64) error {
	parts, err := filepath.Glob(filepath.Join(dir, "part-r-*"))
	if err != nil {
		return err
	}
	var n int64
	for _, name := range parts {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		last := ""
		sc := bufio.NewScanner(f)
		for ; sc.Scan(); n++ {
			line := sc.Text()
			if len(line) != len("k00000000\t4") || line[9:] != "\t4" || line <= last {
				f.Close()
				return fmt.Errorf("%s: line %q after %q", name, line, last)
			}
			last = line
		}
		f.Close()
		if err := sc.Err(); err != nil {
			return err
		}
	}
	if n != keys {
		return fmt.Errorf("%d keys, want %d", n, keys)
	}
	return nil
}
