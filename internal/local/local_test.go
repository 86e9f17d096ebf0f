package local_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

func TestMain(m *testing.M) {
	runner.Child()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(builtDir)
		os.Exit(code)
	}))
}

func words(obj *mapper.Object, emit func(string, int64)) error {
	sc := bufio.NewScanner(obj)
	sc.Split(bufio.ScanWords)
	for sc.Scan() {
		emit(sc.Text(), 1)
	}
	return sc.Err()
}

// read returns all bytes of an object.
func read(t *testing.T, b store.Bucket, key store.Key) string {
	t.Helper()
	r, err := b.Open(context.Background(), key, "", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func TestWordCount(t *testing.T) {
	m := mem.New()
	in := m.Bucket("in")
	for i := range 1000 {
		body := fmt.Sprintf("the quick brown fox %d\njumps over the lazy dog\n", i%10)
		if _, err := in.Put(t.Context(), store.Key(fmt.Sprintf("mails/%04d", i)), []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	spec := &job.Spec{Inputs: []string{"mem:in/mails/"}, Output: "mem:out/words", Reducers: 2, Slots: 2}
	var stdout bytes.Buffer
	res, err := local.Run(t.Context(), spec, &local.Options{
		Schemes: store.Schemes{"mem": m.Opener()}, Stdout: &stdout,
		InProcess: job.MapReduce(words, reducer.Sum[int64]()),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]bool)
	for _, p := range res.Manifest.Parts {
		for line := range strings.Lines(read(t, m.Bucket("out"), store.Key("words/"+p.Key))) {
			got[strings.TrimSuffix(line, "\n")] = true
		}
	}
	if len(got) != 18 || !got["the\t2000"] || !got["fox\t1000"] || !got["7\t100"] {
		t.Errorf("got %v", got)
	}
	if c := res.Counters; c.Objects != 1000 || c.Bytes != 46000 || c.Emitted != 10000 || c.Output != 18 || c.Failed != 0 {
		t.Errorf("counters are %+v", c)
	}
}

// A fullWriter takes nothing.
type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestPrintFails(t *testing.T) {
	m := mem.New()
	if _, err := m.Bucket("in").Put(t.Context(), "a", []byte("to be")); err != nil {
		t.Fatal(err)
	}
	_, err := local.Run(t.Context(), &job.Spec{Inputs: []string{"mem:in"}}, &local.Options{
		Schemes: store.Schemes{"mem": m.Opener()}, Stdout: fullWriter{},
		InProcess: job.MapReduce(words, reducer.Sum[int64]()),
	})
	if !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("error is %v, want that of the writer", err)
	}
}

// Records that do not fit into memory go to disk, and what they take there is limited.
func TestSpillLimitSaysSo(t *testing.T) {
	m := mem.New()
	var text bytes.Buffer
	for i := range 50_000 {
		fmt.Fprintln(&text, i)
	}
	if _, err := m.Bucket("in").Put(t.Context(), "a", text.Bytes()); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int64{0, 10_000} {
		var out bytes.Buffer
		_, err := local.Run(t.Context(), &job.Spec{Inputs: []string{"mem:in"}, Limits: job.Limits{Shuffle: 1 << 16, Spill: limit}}, &local.Options{
			Schemes: store.Schemes{"mem": m.Opener()}, Stdout: &out,
			InProcess: job.MapReduce(words, reducer.Sum[int64]()),
		})
		switch {
		case limit == 0 && (err != nil || bytes.Count(out.Bytes(), []byte{'\n'}) != 50_000):
			t.Errorf("without a limit: %v, %d lines", err, bytes.Count(out.Bytes(), []byte{'\n'}))
		case limit > 0 && (err == nil || !strings.Contains(err.Error(), "map m-00000.2 on ") || !strings.Contains(err.Error(), "spill limit: the 10 KiB that were left")):
			t.Errorf("error is %v, want the limit, after two attempts", err)
		}
	}
}
