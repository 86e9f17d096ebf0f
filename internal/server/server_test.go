package server_test

import (
	"bufio"
	"bytes"
	"context"

	"fmt"
	"io"

	"slices"
	"strings"

	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/clustertest"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/internal/server"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

func TestMain(m *testing.M) {
	runner.Child()
	goleak.VerifyTestMain(m)
}

// words counts words; a hook lets tests see, and hold, what is mapped.
func words(hook func(key string)) *job.Job {
	return job.MapReduce(func(obj *mapper.Object, emit func(string, int64)) error {
		if hook != nil {
			hook(obj.Key)
		}
		sc := bufio.NewScanner(obj)
		sc.Split(bufio.ScanWords)
		for sc.Scan() {
			emit(sc.Text(), 1)
		}
		return sc.Err()
	}, reducer.Sum[int64]())
}

// lines prints each line that has the word dog.
func lines(hook func(key string)) *job.Job {
	return job.MapOnly(func(obj *mapper.Object, print func(string)) error {
		if hook != nil {
			hook(obj.Key)
		}
		sc := bufio.NewScanner(obj)
		for sc.Scan() {
			if strings.Contains(sc.Text(), "dog") {
				print(sc.Text())
			}
		}
		return sc.Err()
	})
}

func mails(t testing.TB, n int) *mem.Store {
	t.Helper()
	m := mem.New()
	for i := range n {
		body := fmt.Sprintf("the quick fox %d\njumps over dog %d\n", i%10, i)
		if _, err := m.Bucket("in").Put(t.Context(), store.Key(fmt.Sprintf("mails/%05d", i)), []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func newCluster(t *testing.T, m *mem.Store, j *job.Job) *clustertest.Cluster {
	t.Helper()
	c := clustertest.New(t, store.Schemes{"mem": m.Opener()})
	c.InProcess = j
	return c
}

func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// inProcess is the program of specs whose code runs in the test.
var inProcess = job.Program{Name: "in process"}

// end waits for a job, which must succeed unless a text of its error is given.
func end(t *testing.T, j *server.Submitted, err error, want string) server.Status {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Wait(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if want == "" && s.State != server.Succeeded || want != "" && !strings.Contains(s.Error, want) {
		t.Fatalf("job %s is %s: %s", s.Job, s.State, s.Error)
	}
	return s
}

// output returns all lines that lie in a bucket beside _millrace/, in order.
func output(t *testing.T, m *mem.Store, bucket string) (lines []string) {
	t.Helper()
	b := m.Bucket(bucket)
	for o, err := range b.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(o.Key), "_") {
			continue
		}
		r, err := b.Open(t.Context(), o.Key, "", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")...)
	}
	slices.Sort(lines)
	return lines
}

// dogs is what lines prints of so many mails, in order.
func dogs(n int) (want []string) {
	for i := range n {
		want = append(want, fmt.Sprintf("jumps over dog %d", i))
	}
	slices.Sort(want)
	return want
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %d lines, want %d: %.300s…", len(got), len(want), fmt.Sprint(got))
	}
}

// A job prints what agents found, and nothing twice; another one publishes it.
func TestMapOnly(t *testing.T) {
	t.Parallel()
	const n = 300
	m := mails(t, n)
	c := newCluster(t, m, lines(nil))
	c.Server("server-1")
	c.Agents(3, 2)
	client := c.Client("me")
	for name, spec := range map[string]job.Spec{
		"printed":   {Split: 7},
		"sorted":    {Split: 7},
		"published": {Split: 7, Output: "mem:out"},
	} {
		spec.Inputs, spec.Program = []string{"mem:in/mails/"}, inProcess
		var out bytes.Buffer
		j, err := client.Submit(soon(t), &spec, &server.SubmitOptions{Stdout: &out, Sorted: name == "sorted"})
		s := end(t, j, err, "")
		got := output(t, m, "out")
		if name != "published" {
			got = strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if name == "sorted" && !slices.IsSortedFunc(got, func(a, b string) int { return number(a) - number(b) }) {
				t.Error("what is printed in the order of keys is not")
			}
			slices.Sort(got)
		}
		same(t, got, dogs(n))
		if s.Result.Counters.Objects != n {
			t.Errorf("%s: %d objects, want %d", name, s.Result.Counters.Objects, n)
		}
	}
}

func number(line string) (n int) {
	_, _ = fmt.Sscanf(line, "jumps over dog %d", &n)
	return n
}
