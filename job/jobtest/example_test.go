package jobtest_test

import (
	"bufio"
	"errors"
	"strings"
	"testing"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/job/jobtest"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
)

func words(obj *mapper.Object, emit func(string, int64)) error {
	sc := bufio.NewScanner(obj)
	sc.Split(bufio.ScanWords)
	for sc.Scan() {
		if sc.Text() == "poison" {
			return errors.New("poison")
		}
		emit(sc.Text(), 1)
	}
	return sc.Err()
}

// A test of a job is an ordinary test.
func TestWords(t *testing.T) {
	r := jobtest.Run(t, job.MapReduce(words, reducer.Sum[int64]()), map[string]string{
		"a.txt": "to be or not",
		"b.txt": "to be",
	}, nil)
	if got, want := strings.Join(r.Lines(), " "), "be\t2 not\t1 or\t1 to\t2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFailedObject(t *testing.T) {
	r := jobtest.Run(t, job.MapReduce(words, reducer.Sum[int64]()), map[string]string{
		"a.txt": "to be",
		"b.txt": "to poison",
	}, &jobtest.Options{Tolerate: "1"})
	if got, want := strings.Join(r.Lines(), " "), "be\t1 to\t1"; got != want {
		t.Errorf("got %q, want %q: nothing of a failed object counts", got, want)
	}
	list := r.Parts[r.Manifest.Failed[0].Key]
	if !strings.Contains(list, `"uri":"mem:in/b.txt"`) || !strings.Contains(list, "poison") {
		t.Errorf("failed objects are listed as %q", list)
	}
}

func TestTooManyFailed(t *testing.T) {
	_, err := jobtest.TryRun(t.Context(), job.MapReduce(words, reducer.Sum[int64]()), map[string]string{
		"a.txt": "poison",
		"b.txt": "to be",
	}, nil)
	if err == nil || !strings.Contains(err.Error(), "1 of 2 objects failed") || !strings.Contains(err.Error(), "mem:in/a.txt: poison") {
		t.Errorf("error is %v", err)
	}
}
