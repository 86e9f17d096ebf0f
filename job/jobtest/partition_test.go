package jobtest_test

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/job/jobtest"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
)

// byLetter is a partition for each letter that words begin with.
func byLetter(word string, n int) int { return int(word[0]-'a') % n }

// A key goes where the job says, however it is reduced, and all of its values with it.
func TestPartitionBy(t *testing.T) {
	most := reducer.Reducer[int64, int64, int64]{ // of the user's own: it is combined in the guest
		Lift: func(v int64) int64 { return v }, Merge: func(a, b int64) int64 { return a + b }, Result: func(a int64) (int64, error) { return a, nil },
	}
	group := func(k string, all iter.Seq[int64], emit func(string, int64)) error {
		n := int64(0)
		for v := range all {
			n += v
		}
		emit(k, n)
		return nil
	}
	sorted := func(obj *mapper.Object, emit func(string, int64, int64)) error {
		return words(obj, func(w string, n int64) { emit(w, -n, n) })
	}
	bySorted := func(k string, all iter.Seq2[int64, int64], emit func(string, int64)) error {
		n := int64(0)
		for _, v := range all {
			n += v
		}
		emit(k, n)
		return nil
	}
	own := job.PartitionBy(byLetter)
	objects := make(map[string]string)
	for i := range 20 {
		objects[fmt.Sprint(i)] = strings.Repeat("dull apple bread ape cheese date ", 1+i%3)
	}
	want := map[string]string{"part-r-00000": "ape\t39\napple\t39\ndate\t39\ndull\t39\n", "part-r-00001": "bread\t39\n", "part-r-00002": "cheese\t39\n"}
	for name, j := range map[string]*job.Job{
		"stock":  job.MapReduce(words, reducer.Sum[int64](), own),
		"own":    job.MapReduce(words, most, own),
		"group":  job.MapGroup(words, group, own),
		"sorted": job.MapSorted(sorted, bySorted, own),
	} {
		r := jobtest.Run(t, j, objects, &jobtest.Options{Reducers: 3})
		for part, text := range want {
			if r.Parts[part] != text {
				t.Errorf("%s: %s is %q, want %q", name, part, r.Parts[part], text)
			}
		}
		if got := jobtest.Run(t, j, objects, nil).Lines(); len(got) != 6 || !slices.IsSorted(got) {
			t.Errorf("%s: in one partition %q", name, got)
		}
	}
}

// A partition that there is not is the object's error.
func TestPartitionByTooMany(t *testing.T) {
	for _, p := range []int{-1, 2} {
		j := job.MapReduce(words, reducer.Count[int64](), job.PartitionBy(func(word string, n int) int {
			if word == "poor" {
				return p
			}
			return n - 1
		}))
		r := jobtest.Run(t, j, map[string]string{"1": "good", "2": "poor good"}, &jobtest.Options{Reducers: 2, Tolerate: "1"})
		want := fmt.Sprintf("emitted key: partition %d of 2", p)
		if got := r.Parts["_failed/part-00000.jsonl"]; !strings.Contains(got, want) || fmt.Sprint(r.Lines()) != "[good\t1]" {
			t.Errorf("partition %d: got %q, %q", p, r.Lines(), got)
		}
	}
}

// Keys may be bytes, of which emit has taken a copy when it returns.
func TestByteKeys(t *testing.T) {
	bytewords := func(obj *mapper.Object, emit func([]byte, int64)) error {
		var word []byte
		return words(obj, func(w string, n int64) {
			word = append(word[:0], w...)
			emit(word, n)
		})
	}
	own := reducer.Reducer[int64, int64, int64]{
		Lift: func(v int64) int64 { return v }, Merge: func(a, b int64) int64 { return a + b }, Result: func(a int64) (int64, error) { return a, nil },
	}
	longest := func(key []byte, all iter.Seq2[[]byte, int64], emit func([]byte, string)) error {
		text := ""
		for order, v := range all {
			text += fmt.Sprintf("%s%d ", order, v)
		}
		emit(key, text)
		return nil
	}
	objects := map[string]string{"1": "to be or not", "2": "to be"}
	for name, tt := range map[string]struct {
		job  *job.Job
		want string
	}{
		"stock": {job.MapReduce(bytewords, reducer.Sum[int64]()), "[be\t2 not\t1 or\t1 to\t2]"},
		"own":   {job.MapReduce(bytewords, own), "[be\t2 not\t1 or\t1 to\t2]"},
		"sorted": {job.MapSorted(func(obj *mapper.Object, emit func([]byte, []byte, int64)) error {
			return words(obj, func(w string, n int64) { emit([]byte(w[:1]), []byte(w), n) })
		}, longest), "[b\tbe1 be1  n\tnot1  o\tor1  t\tto1 to1 ]"},
	} {
		if got := fmt.Sprint(jobtest.Run(t, tt.job, objects, nil).Lines()); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}
