package local_test

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

// spilled opens the files without a name that lie in dir and hold anything; this process has them open.
func spilled(t *testing.T, dir string) (files []*os.File) {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		name, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(name, dir+"/") {
			continue
		}
		f, err := os.OpenFile(link, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if info, err := f.Stat(); err != nil || info.Size() == 0 {
			f.Close()
			continue
		}
		files = append(files, f)
	}
	return files
}

// groups is a job whose reducer sees every value of a key, in order.
func groups() *job.Job {
	return job.MapGroup(func(obj *mapper.Object, emit func(string, string)) error {
		for w := range strings.FieldsSeq(string(obj.Data)) {
			emit(w, obj.Key)
		}
		return nil
	}, func(key string, values iter.Seq[string], emit func(string, string)) error {
		h, n := uint64(14695981039346656037), 0
		for v := range values {
			for _, b := range []byte(v) {
				h = (h ^ uint64(b)) * 1099511628211
			}
			n++
		}
		emit(key, fmt.Sprintf("%d %x", n, h))
		return nil
	})
}

// Bits that rot in what a mapper left on the disk are found, the object is mapped again, and nobody can tell from the output.
func TestRottenRunIsMappedAgain(t *testing.T) {
	for _, j := range []*job.Job{count(), groups()} {
		var want []string
		for _, rot := range []bool{false, true} {
			dir := t.TempDir()
			t.Setenv("TMPDIR", dir)
			m := mails(t, 2000)
			var rotten atomic.Int32
			spec := &job.Spec{Inputs: []string{"mem:in/mails/"}, Output: "mem:out", Reducers: 2, Slots: 2}
			res, err := local.Run(t.Context(), spec, &local.Options{
				Schemes: store.Schemes{"mem": m.Opener()}, InProcess: j,
				Committed: func(r job.AttemptReport) {
					if !rot || r.Attempt.Task.IsReduce() || r.Attempt.Task != "m-00003" || r.Attempt.Try > 1 {
						return
					}
					for _, f := range spilled(t, dir) {
						b := make([]byte, 1)
						if _, err := f.ReadAt(b, 100); err == nil {
							b[0] ^= 0x10
							if _, err := f.WriteAt(b, 100); err == nil {
								rotten.Add(1)
							}
						}
						f.Close()
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			got := lines(visible(t, m))
			if want == nil {
				want = got
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("rot %t: the output is another", rot)
			}
			if rot && (rotten.Load() == 0 || res.Counters.Retries == 0) {
				t.Errorf("%d runs were damaged, %d attempts tried again", rotten.Load(), res.Counters.Retries)
			}
			if res.Counters.Objects != 2000 {
				t.Errorf("%d objects count, want 2000", res.Counters.Objects)
			}
		}
	}
}

// Any budget gives the same output.
func TestSameResultForAnyBudget(t *testing.T) {
	words, distinct := 3000, 9000
	if testing.Short() {
		words, distinct = 1000, 3000
	}
	for name, j := range map[string]*job.Job{"combined": count(), "grouped": groups()} {
		var want []string
		for _, budget := range []int64{0, 1, 600 << 10} {
			m := mem.New()
			for i := range 20 {
				var b bytes.Buffer
				for k := range words {
					fmt.Fprintf(&b, "w%d ", (i*7919+k*31)%distinct)
				}
				if _, err := m.Bucket("in").Put(t.Context(), store.Key(fmt.Sprintf("mails/%03d", i)), b.Bytes()); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := run(t.Context(), m, job.Spec{Output: "mem:out", Reducers: 3, Limits: job.Limits{Shuffle: budget}}, j, nil); err != nil {
				t.Fatalf("%s, %d: %v", name, budget, err)
			}
			got := lines(visible(t, m))
			if want == nil {
				want = got
			}
			if len(got) != distinct || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: a budget of %d gives another output", name, budget)
			}
		}
	}
}

// A full disk fails the job with its name, and leaves nothing.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skip("only root can make a small disk")
		}
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("something is still open there: %v", err)
		}
	}()
	t.Setenv("TMPDIR", dir)
	m := mails(t, 3000)
	_, err := run(t.Context(), m, job.Spec{Output: "mem:out"}, groups(), nil)
	if err == nil || !strings.Contains(err.Error(), "write run: ") || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("error is %v, want that of the disk", err)
	}
	if got := visible(t, m); len(got) != 0 {
		t.Errorf("%d objects are visible", len(got))
	}
}

// With ranges, the parts one after the other are sorted, of about the same size, and the same each time.
func TestPartitionByRange(t *testing.T) {
	m := mem.New()
	const files, each = 50, 400
	for i := range files {
		var b bytes.Buffer
		for k := range each {
			fmt.Fprintf(&b, "%05d ", (i*each+k)*7919%(files*each)) // each number once
		}
		if _, err := m.Bucket("in").Put(t.Context(), store.Key(fmt.Sprintf("mails/%03d", i)), b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	var first string
	for range 2 {
		res, err := run(t.Context(), m, job.Spec{Output: "mem:out", Overwrite: true, Reducers: 4, Partition: job.ByRange}, count(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for i, p := range res.Parts {
			text := read(t, m.Bucket("out"), store.Key(p.Key))
			if n := strings.Count(text, "\n"); n < files*each/4/2 || n > files*each/4*2 {
				t.Errorf("part %d has %d lines of %d", i, n, files*each)
			}
			all.WriteString(text)
		}
		lines := strings.SplitAfter(all.String(), "\n")
		if lines = lines[:len(lines)-1]; !slices.IsSorted(lines) || len(lines) != files*each {
			t.Errorf("%d lines, want %d, in order", len(lines), files*each)
		}
		parts := fmt.Sprint(visible(t, m)["part-r-00002"])
		if first == "" {
			first = parts
		}
		if parts != first {
			t.Error("the same input gives other parts")
		}
	}
	empty := mem.New()
	if _, err := run(t.Context(), empty, job.Spec{Inputs: []string{"mem:in"}, Output: "mem:out", Reducers: 3, Partition: job.ByRange}, count(), nil); err != nil {
		t.Errorf("an empty input: %v", err)
	}
}

// Ranges and a program that partitions itself do not go together, and the user is told.
func TestPartitionByRangeAndOwn(t *testing.T) {
	j := job.MapReduce(words, reducer.Sum[int64](), job.PartitionBy(func(string, int) int { return 0 }))
	_, err := run(t.Context(), mails(t, 10), job.Spec{Output: "mem:out", Reducers: 2, Partition: job.ByRange}, j, nil)
	if err == nil || !strings.Contains(err.Error(), "--partition range is not for it") {
		t.Errorf("got %v", err)
	}
}
