package commit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

var errCrash = errors.New("crash")

// A mortal is a bucket as one process sees it: from its death on nothing of that process reaches the store.
// It counts the calls that change something.
type mortal struct {
	store.Bucket
	wait func() // before each call, nil for no wait

	mu      sync.Mutex
	dead    bool
	calls   int
	dieAt   int  // at the call of this number, counted from 1
	after   bool // it still takes effect
	created []store.Handle
	records []string // bodies of records of uploads
}

// change makes one change, if the process lives.
func (m *mortal) change(do func() error) error {
	m.pause()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if m.calls == m.dieAt {
		m.dead = true
		if m.after {
			do()
		}
	}
	if m.dead {
		return errCrash
	}
	return do()
}

func (m *mortal) pause() {
	if m.wait != nil {
		m.wait()
	}
}

func (m *mortal) die() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
}

func (m *mortal) alive() error {
	m.pause()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errCrash
	}
	return nil
}

func (m *mortal) Open(ctx context.Context, k store.Key, etag string, off, n int64) (io.ReadCloser, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	return m.Bucket.Open(ctx, k, etag, off, n)
}

func (m *mortal) List(ctx context.Context, prefix, after store.Key) iter.Seq2[store.Object, error] {
	if err := m.alive(); err != nil {
		return func(yield func(store.Object, error) bool) { yield(store.Object{}, err) }
	}
	return m.Bucket.List(ctx, prefix, after)
}

func (m *mortal) Put(ctx context.Context, k store.Key, body []byte) (o store.Object, err error) {
	err = m.change(func() error {
		if strings.Contains(string(k), "/uploads/") {
			m.records = append(m.records, string(body))
		}
		o, err = m.Bucket.Put(ctx, k, body)
		return err
	})
	return o, err
}

func (m *mortal) Delete(ctx context.Context, k store.Key) error {
	return m.change(func() error { return m.Bucket.Delete(ctx, k) })
}

func (m *mortal) Discard(ctx context.Context, h store.Handle) error {
	return m.change(func() error { return m.Bucket.Discard(ctx, h) })
}

func (m *mortal) Publish(ctx context.Context, p store.Pending) (o store.Object, err error) {
	err = m.change(func() error {
		o, err = m.Bucket.Publish(ctx, p)
		return err
	})
	return o, err
}

func (m *mortal) Create(ctx context.Context, k store.Key, o *store.CreateOptions) (store.Writer, error) {
	var w store.Writer
	err := m.change(func() (err error) {
		if w, err = m.Bucket.Create(ctx, k, o); err == nil {
			m.created = append(m.created, w.Handle())
		}
		return err
	})
	return mortalWriter{w, m}, err
}

type mortalWriter struct {
	store.Writer
	m *mortal
}

func (w mortalWriter) Seal(ctx context.Context) (p store.Pending, err error) {
	err = w.m.change(func() error {
		p, err = w.Writer.Seal(ctx)
		return err
	})
	return p, err
}

func (w mortalWriter) Abort(ctx context.Context) error {
	return w.m.change(func() error { return w.Writer.Abort(ctx) })
}

// unrecorded returns how many uploads the process began and did not live to write down. They hold no byte.
func (m *mortal) unrecorded() int {
	n := 0
	for _, h := range m.created {
		if !slices.ContainsFunc(m.records, func(r string) bool { return strings.Contains(r, `"`+h.ID+`"`) }) {
			n++
		}
	}
	return n
}

// A world is a bucket and the processes that live.
type world struct {
	bucket *mem.Bucket
	mu     sync.Mutex
	gone   map[int]bool
}

func newWorld() *world { return &world{bucket: mem.New().Bucket("b"), gone: map[int]bool{}} }

func (w *world) dead(o Owner) (dead, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gone[o.PID], o.Host == "here"
}

func (w *world) bury(pid int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone[pid] = true
}

func (w *world) options(pid int) *Options {
	return &Options{Name: "mem:b/out/", Owner: Owner{Host: "here", PID: pid}, Dead: w.dead}
}

// visible returns what lies outside work directories, a line each. Bodies of manifests are shortened to the job.
func (w *world) visible(t testing.TB) string { return w.show(t, false) }

// hidden returns the keys below work directories.
func (w *world) hidden(t testing.TB) string { return w.show(t, true) }

func (w *world) show(t testing.TB, hidden bool) string {
	t.Helper()
	var lines []string
	for o, err := range w.bucket.List(context.Background(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(o.Key), workDir) != hidden {
			continue
		}
		lines = append(lines, string(o.Key))
		if !hidden {
			lines[len(lines)-1] += "=" + w.body(t, o.Key)
		}
	}
	return strings.Join(lines, "\n")
}

func (w *world) body(t testing.TB, key store.Key) string {
	t.Helper()
	r, err := w.bucket.Open(context.Background(), key, "", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(string(key), manifestName) {
		_, rest, _ := strings.Cut(string(b), `"job":"`)
		id, _, _ := strings.Cut(rest, `"`)
		return id
	}
	return string(b)
}

// runJob is one job, from claim to end, with two parts, a list of failed objects and an attempt that loses.
func runJob(ctx context.Context, b store.Bucket, id string, o *Options) (err error) {
	c, err := Take(ctx, b, "out", id, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Release(ctx)) }()
	if c.Finished() != nil && !o.Overwrite {
		return nil
	}
	if _, err := b.Put(ctx, "out/"+PlanDir+"plan-00000", []byte("plan")); err != nil {
		return err
	}
	u := c.Uploads()
	var d Decision
	for n := range 3 {
		p, err := upload1(ctx, b, u, fmt.Sprintf("r-%05d.1", n), fmt.Sprintf("part-%05d", n%2), id)
		if err != nil {
			return err
		}
		if n < 2 {
			d.Parts = append(d.Parts, p)
		}
	}
	failed, err := u.WriteFailed(ctx, 0, slices.Values([]job.FailedObject{{URI: "mem:b/x", Reason: id, Task: "m-00000"}}))
	if err != nil {
		return err
	}
	d.Failed = []Part{failed}
	if err := c.Decide(ctx, &d); err != nil {
		return err
	}
	_, err = c.Finish(ctx)
	return err
}

func upload1(ctx context.Context, b store.Bucket, u *Uploads, attempt, name, body string) (Part, error) {
	w, err := b.Create(ctx, u.Key(name), nil)
	if err != nil {
		return Part{}, err
	}
	if err := u.Record(ctx, attempt, w.Handle()); err != nil {
		return Part{}, err
	}
	if _, err := io.WriteString(w, body); err != nil {
		return Part{}, err
	}
	p, err := w.Seal(ctx)
	return Part{Pending: p, Records: 1}, err
}

// outputOf is what runJob publishes.
func outputOf(id string) string {
	return fmt.Sprintf("out/_failed/part-00000.jsonl={\"uri\":\"mem:b/x\",\"reason\":\"%[1]s\",\"task\":\"m-00000\"}\n\n"+
		"out/_manifest.json=%[1]s\nout/part-00000=%[1]s\nout/part-00001=%[1]s", id)
}
