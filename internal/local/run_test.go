package local_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

// mails returns a store with n small objects in the bucket in.
func mails(tb testing.TB, n int) *mem.Store {
	tb.Helper()
	m := mem.New()
	for i := range n {
		body := fmt.Sprintf("the quick brown fox %d\njumps over dog %d\n", i%10, i%97)
		if _, err := m.Bucket("in").Put(tb.Context(), store.Key(fmt.Sprintf("mails/%05d", i)), []byte(body)); err != nil {
			tb.Fatal(err)
		}
	}
	return m
}

func run(ctx context.Context, m *mem.Store, spec job.Spec, j *job.Job, stdout *bytes.Buffer) (*job.Result, error) {
	if spec.Inputs == nil {
		spec.Inputs = []string{"mem:in/mails/"}
	}
	if spec.Slots == 0 {
		spec.Slots = 2
	}
	opts := &local.Options{Schemes: store.Schemes{"mem": m.Opener()}, InProcess: j}
	if stdout != nil {
		opts.Stdout = stdout
	}
	return local.Run(ctx, &spec, opts)
}

func count() *job.Job { return job.MapReduce(words, reducer.Sum[int64]()) }

// visible returns what lies in the bucket out beside _millrace/.
func visible(t *testing.T, m *mem.Store) map[string]string {
	t.Helper()
	got := make(map[string]string)
	for o, err := range m.Bucket("out").List(context.Background(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(o.Key), "_millrace/") {
			got[string(o.Key)] = read(t, m.Bucket("out"), o.Key)
		}
	}
	return got
}

func lines(parts map[string]string) (all []string) {
	for key, text := range parts {
		if strings.HasPrefix(key, "part-") {
			all = append(all, strings.SplitAfter(text, "\n")...)
		}
	}
	all = slices.DeleteFunc(all, func(s string) bool { return s == "" })
	slices.Sort(all)
	return all
}

func TestSameResultForAnyPartitions(t *testing.T) {
	var first []string
	for _, n := range []int{1, 7} {
		var bytes [2]map[string]string
		for i := range bytes {
			m := mails(t, 500)
			res, err := run(t.Context(), m, job.Spec{Output: "mem:out", Reducers: n, Slots: 1 + 2*i}, count(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(res.Parts) != n || res.Counters.Objects != 500 {
				t.Errorf("%d parts, %d objects", len(res.Parts), res.Counters.Objects)
			}
			var keys, emitted int64
			for _, p := range res.Partitions {
				keys += p.Keys
				emitted += p.Emitted
				if p.Records < p.Keys || p.Records > p.Emitted || p.Bytes < p.Records {
					t.Errorf("partition %+v", p)
				}
			}
			if len(res.Partitions) != n || keys != res.Counters.Output || emitted != res.Counters.Emitted {
				t.Errorf("partitions %+v of %+v", res.Partitions, res.Counters)
			}
			bytes[i] = visible(t, m)
			delete(bytes[i], "_manifest.json")
			if p := m.Bucket("out").Pending(); p != 0 {
				t.Errorf("%d pending", p)
			}
		}
		if len(bytes[0]) != n || fmt.Sprint(bytes[0]) != fmt.Sprint(bytes[1]) {
			t.Errorf("two runs differ: %v and %v", bytes[0], bytes[1])
		}
		got := lines(bytes[0])
		if first == nil {
			first = got
		}
		if !slices.Equal(got, first) {
			t.Errorf("%d reducers: got %v, want %v", n, got, first)
		}
	}
	if !slices.Contains(first, "the\t500\n") {
		t.Errorf("got %v", first)
	}
}

func TestMapOnlyOutput(t *testing.T) {
	m := mails(t, 300)
	j := job.MapOnly(func(obj *mapper.Object, emit func(string)) error {
		emit(obj.Key)
		return nil
	})
	res, err := run(t.Context(), m, job.Spec{Output: "mem:out"}, j, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := lines(visible(t, m))
	if len(got) != 300 || got[0] != "00000\n" {
		t.Errorf("got %d lines, first %q", len(got), got[0])
	}
	if res.Counters.Output != 300 {
		t.Errorf("got %+v", res.Counters)
	}
}

func TestJSONLines(t *testing.T) {
	m := mails(t, 30)
	if _, err := run(t.Context(), m, job.Spec{Output: "mem:out", Format: job.JSONL}, count(), nil); err != nil {
		t.Fatal(err)
	}
	if got := lines(visible(t, m)); !slices.Contains(got, "{\"key\":\"the\",\"value\":30}\n") {
		t.Errorf("got %q", got)
	}
}

func TestNothingToDo(t *testing.T) {
	m := mails(t, 0)
	m.Bucket("in")
	_, _ = m.Bucket("in").Put(t.Context(), "elsewhere", []byte("x"))
	res, err := run(t.Context(), m, job.Spec{Output: "mem:out", Reducers: 2}, count(), nil)
	if err != nil {
		// A prefix without one object is more likely mistyped than meant; then nothing may be left.
		if len(visible(t, m)) > 0 || m.Bucket("out").Pending() > 0 {
			t.Errorf("left %v", visible(t, m))
		}
		return
	}
	if res.Counters.Objects != 0 || len(res.Parts) != 2 {
		t.Errorf("got %+v", res)
	}
}

func TestMissingBucket(t *testing.T) {
	m := mails(t, 3)
	_, err := run(t.Context(), m, job.Spec{Inputs: []string{"mem:nowhere/x/"}, Output: "mem:out"}, count(), nil)
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("got %v", err)
	}
	if got := visible(t, m); len(got) > 0 {
		t.Errorf("left %v", got)
	}
}

func TestOutputExists(t *testing.T) {
	m := mails(t, 3)
	if _, err := m.Bucket("out").Put(t.Context(), "mine.txt", []byte("precious")); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t.Context(), m, job.Spec{Output: "mem:out"}, count(), nil); err == nil {
		t.Error("the job wrote over what was there")
	}
	if got := visible(t, m); len(got) != 1 || got["mine.txt"] != "precious" {
		t.Errorf("got %v", got)
	}
}

func TestFailedObjects(t *testing.T) {
	m := mails(t, 300)
	bad := errors.New("bad mail")
	for _, n := range []int{3, 4} {
		j := job.MapReduce(func(obj *mapper.Object, emit func(string, int64)) error {
			emit("all", 1)
			if obj.Key < fmt.Sprintf("%05d", n) {
				return bad
			}
			return nil
		}, reducer.Sum[int64]())
		out := fmt.Sprintf("mem:out/%d", n)
		res, err := run(t.Context(), m, job.Spec{Output: out}, j, nil)
		if n == 4 {
			if err == nil || !strings.Contains(err.Error(), "4 of 300 objects failed") {
				t.Errorf("got %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if res.Counters.Failed != 3 || len(res.FailedNames) != 3 || !strings.Contains(res.FailedNames[0].Reason, "bad mail") {
			t.Errorf("got %+v", res)
		}
		if got := read(t, m.Bucket("out"), "3/part-r-00000"); got != "all\t297\n" {
			t.Errorf("got %q", got)
		}
	}
	if p := m.Bucket("out").Pending(); p != 0 {
		t.Errorf("%d pending", p)
	}
}

func TestPrintLimit(t *testing.T) {
	m := mails(t, 3000)
	j := job.MapOnly(func(obj *mapper.Object, emit func(string)) error {
		sc := bufio.NewScanner(obj)
		for sc.Scan() {
			emit(sc.Text())
		}
		return sc.Err()
	})
	var out bytes.Buffer
	res, err := run(t.Context(), m, job.Spec{Limit: 7}, j, &out)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 7 || res.Printed != 7 {
		t.Errorf("printed %d lines, counted %d", n, res.Printed)
	}
}

func TestMaxRequests(t *testing.T) {
	no := errors.New("too dear")
	for _, c := range []struct {
		most int64
		err  error
		asks bool
	}{{99, no, true}, {99, nil, true}, {100_000, no, false}} {
		m := mails(t, 100)
		asked := false
		_, err := local.Run(t.Context(), &job.Spec{Inputs: []string{"mem:in/"}, Output: "mem:out", Slots: 1}, &local.Options{
			Schemes: store.Schemes{"mem": m.Opener()}, InProcess: count(), MaxRequests: c.most,
			Approve: func(n int64) error { asked = true; return c.err },
		})
		if asked != c.asks || (err != nil) != (c.asks && c.err != nil) || err != nil && !errors.Is(err, no) {
			t.Errorf("most %d: asked %v, got %v", c.most, asked, err)
		}
		if err != nil && len(visible(t, m)) > 0 {
			t.Errorf("left %v", visible(t, m))
		}
	}
}

func TestCancel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	ended := 0
	for i := range 40 {
		m := mails(t, 400)
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(time.Duration(r.IntN(60))*time.Millisecond, cancel)
		_, err := run(ctx, m, job.Spec{Output: "mem:out", Reducers: 3}, count(), nil)
		timer.Stop()
		cancel()
		got := visible(t, m)
		switch {
		case err == nil:
			ended++
			if len(got) != 4 {
				t.Errorf("seed %d, run %d: done with %d objects", seed, i, len(got))
			}
		case len(got) > 0:
			t.Errorf("seed %d, run %d: %v left %d objects", seed, i, err, len(got))
		}
		if p := m.Bucket("out").Pending(); p != 0 {
			t.Errorf("seed %d, run %d: %v: %d pending", seed, i, err, p)
		}
	}
	t.Logf("%d of 40 ended before they were cancelled", ended)
}
