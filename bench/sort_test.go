package bench

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	sortFile   = 64 << 20 / sortRecord * sortRecord // bytes of one input file
	sortRecord = 100                                // a key of 10, a tab, a value of 88 that does not compress, a line feed
)

// sortLines returns a directory of files of random lines.
func sortLines(tb testing.TB) (dir string, size int64) {
	tb.Helper()
	dataMutex.Lock()
	defer dataMutex.Unlock()
	total := theScale(tb).sort
	return generated(tb, fmt.Sprintf("sort-%d", total), func(dir string) (size int64, err error) {
		rnd := rand.NewChaCha8([32]byte{1})
		for n := 0; size < total && err == nil; n++ {
			k := min(sortFile, total-size)
			err = writeSortFile(filepath.Join(dir, fmt.Sprintf("%05d", n)), rnd, k)
			size += k
		}
		return size, err
	})
}

func writeSortFile(name string, rnd io.Reader, size int64) error {
	const letters = "+-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	line := make([]byte, sortRecord)
	for ; size > 0; size -= sortRecord {
		if _, err := io.ReadFull(rnd, line); err != nil {
			return err
		}
		for i, b := range line {
			line[i] = letters[b&63]
		}
		line[10], line[sortRecord-1] = '\t', '\n'
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// BenchmarkSort sorts lines of 100 bytes in 512 MiB, two slots of 256 MiB, into two parts that are sorted as a whole, and has GNU sort do the
// same; input, temporary files and output are on one disk. The parts one after the other must be the same bytes. temp/input is what the shuffle wrote.
func BenchmarkSort(b *testing.B) {
	need(b, "sort")
	p := built(b)
	in, size := sortLines(b)
	base, err := dataDir()
	if err != nil {
		b.Fatal(err)
	}
	digests := make(map[string]string)
	for _, c := range []struct {
		name string
		cmd  func(work, out string) *exec.Cmd
	}{
		{"millrace", func(work, out string) *exec.Cmd {
			return command(in, []string{"TMPDIR=" + work}, p.millrace, "run", "--progress", "json", "--slots", "2",
				"builtin:sort", "-r", "2", "--partition", "range", "-i", ".", "-o", out)()
		}},
		{"gnu", func(work, out string) *exec.Cmd {
			script := fmt.Sprintf("sort --parallel=2 -S 512M -T %s -o %s *", work, filepath.Join(out, "part-r-00000"))
			return command(in, []string{"LC_ALL=C"}, "sh", "-c", script)()
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var sum sample
			for range b.N {
				b.StopTimer()
				work, err := os.MkdirTemp(base, "sort-")
				out := filepath.Join(work, "out")
				if err == nil {
					err = os.Mkdir(out, 0o777)
				}
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				s, err := runProcess(c.cmd(work, out), false)
				b.StopTimer()
				if err == nil && digests[c.name] == "" {
					digests[c.name], err = digestParts(out)
				}
				if err := os.RemoveAll(work); err != nil {
					b.Error(err)
				}
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				sum.wall += s.wall
				sum.cpu += s.cpu
				sum.stderr = s.stderr
			}
			b.ReportMetric(float64(sum.wall)/float64(b.N), "ns/op")
			b.ReportMetric(float64(sum.cpu)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(size)/1e6*float64(b.N)/(float64(sum.wall)/float64(time.Second)), "MB/s")
			if n := shuffled(sum.stderr); n > 0 {
				b.ReportMetric(float64(n)/float64(size), "temp/input")
			}
		})
	}
	if a, b2 := digests["millrace"], digests["gnu"]; a != "" && b2 != "" && a != b2 {
		b.Errorf("the outputs differ: %s and %s", a, b2)
	}
}

// shuffled returns the bytes of runs of which progress in JSON last spoke, 0 if it did not.
func shuffled(progress string) int64 {
	var last struct {
		ShuffleBytes int64 `json:"shuffle_bytes"`
	}
	for line := range strings.Lines(progress) {
		if strings.Contains(line, `"shuffle_bytes"`) {
			_ = json.Unmarshal([]byte(line), &last) // what is no snapshot changes nothing
		}
	}
	return last.ShuffleBytes
}

// digestParts returns a digest of the parts of an output, one after another.
func digestParts(dir string) (string, error) {
	parts, err := filepath.Glob(filepath.Join(dir, "part-r-*"))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, name := range parts {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}
