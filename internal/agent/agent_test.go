package agent

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/shuffle"
	"github.com/millrace/millrace/store"
)

func TestMain(m *testing.M) {
	runner.Child()
	goleak.VerifyTestMain(m)
}

// A slot that has work waits for the runner that is on its way, instead of starting another.
func TestFirstRunner(t *testing.T) {
	a := &Agent{first: make(chan started, 1), links: make([]*link, 1)} // and no pool: to start one would panic
	got := make(chan error, 1)
	go func() { got <- a.ready(t.Context(), 0) }()
	select {
	case err := <-got:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	want := errors.New("no jail")
	a.first <- started{err: want}
	if err := <-got; !errors.Is(err, want) {
		t.Errorf("error %v; want %v", err, want)
	}

	ctx, stop := context.WithCancelCause(t.Context())
	stop(want)
	a = &Agent{first: make(chan started, 1), links: make([]*link, 1)}
	if err := a.ready(ctx, 0); !errors.Is(err, want) {
		t.Errorf("cancelled: %v; want %v", err, want)
	}
}

// Objects of all sizes reach the mapper byte for byte, read one by one or several at once.
func TestObjectsAreExact(t *testing.T) {
	sizes := []int{0, 1, 5 << 20, maxWhole - 1000, maxWhole, pieceSize, 2*runner.SlabSize + 1, 7}
	body := func(i int) string {
		b := make([]byte, sizes[i])
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(b)
		return string(b)
	}
	for _, readers := range []int{0, 4} {
		l := newLab(t, len(sizes), body)
		l.open(t, sums(), readers)
		for _, s := range l.splits {
			l.lease(1, s.Task, 0)
		}
		l.work(t)
		got := ""
		for _, c := range l.commits {
			got += l.text(t, c.Result.Part)
		}
		want := ""
		for i := range sizes {
			b := body(i)
			want += sum(fmt.Sprintf("%04d", i), int64(len(b)), crc32.ChecksumIEEE([]byte(b))) + "\n"
		}
		if got != want || len(l.failures) > 0 {
			t.Errorf("%d readers: got %q, want %q; failures %v", readers, got, want, l.failures)
		}
	}
}

func TestManySmallObjects(t *testing.T) {
	const n = 5000
	l := newLab(t, n, func(i int) string { return fmt.Sprint("all ", i%7) })
	l.open(t, words(), 8)
	for _, s := range l.splits {
		l.lease(1, s.Task, 2)
	}
	for p := range 2 {
		l.leases = append(l.leases, coordinator.Lease{Attempt: job.AttemptID{Task: job.ReduceTask(p), Try: 1}, Partition: p})
	}
	l.work(t)
	objects, got := int64(0), ""
	for _, c := range l.commits {
		objects += c.Result.Counters.Objects
		got += l.text(t, c.Result.Part)
	}
	lines := strings.SplitAfter(got, "\n")
	slices.Sort(lines)
	want := "0\t715\n1\t715\n2\t714\n3\t714\n4\t714\n5\t714\n6\t714\nall\t5000\n"
	if got := strings.Join(lines, ""); objects != n || got != want || len(l.failures) > 0 {
		t.Errorf("%d objects, got %q, want %q; failures %v", objects, got, want, l.failures)
	}
}

// What an attempt made is removed when its commit is refused.
func TestRefusedCommit(t *testing.T) {
	l := newLab(t, 3, func(int) string { return "word" })
	l.open(t, sums(), 0)
	if _, err := l.store.Bucket("in").Put(t.Context(), "mail/0001", []byte("other")); err != nil { // so that there is a list, too
		t.Fatal(err)
	}
	l.refuse = true
	l.lease(1, "m-00000", 0)
	l.work(t)
	if len(l.commits) != 1 || l.commits[0].Result.Part == nil || l.commits[0].Result.Failed == nil {
		t.Fatalf("got commits %+v", l.commits)
	}
	if n := l.store.Bucket("out").Pending(); n != 0 || l.noted != 0 {
		t.Errorf("%d pending, %d written down, want none", n, l.noted)
	}
}

func TestRefusedRunIsForgotten(t *testing.T) {
	l := newLab(t, 3, func(int) string { return "word" })
	l.open(t, words(), 0)
	l.refuse = true
	l.lease(1, "m-00000", 1)
	l.lease(1, "r-00000", 0)
	l.work(t)
	if len(l.failures) != 1 || l.failures[0].Fault != coordinator.FaultTask || !strings.Contains(l.failures[0].Reason, "run m-00000.1 is not here") {
		t.Errorf("got %+v", l.failures)
	}
}

func TestRuns(t *testing.T) {
	var rs runs
	id := job.AttemptID{Task: "m-00000", Try: 1}
	f, err := newSpill(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sections := []shuffle.Section{{Partition: 0, Emitted: 1, Digest: 2}, {Partition: 2, Emitted: 3, Digest: 4}, {Partition: 2, Emitted: 1, Digest: 1}}
	want := vector(sections)
	rs.add(id, &run{f, sections, 100})
	if _, err := rs.get(id, want); err != nil {
		t.Error(err)
	}
	if once := []shuffle.Section{{Emitted: 1, Digest: 2}, {Partition: 2, Emitted: 4, Digest: 5}}; vector(once) != want {
		t.Error("the vector depends on the number of runs")
	}
	other := vector([]shuffle.Section{{Emitted: 1, Digest: 2}, {Partition: 2, Emitted: 4, Digest: 6}})
	if _, err := rs.get(id, other); !errors.Is(err, shuffle.ErrCorrupt) || !strings.Contains(err.Error(), id.String()) {
		t.Errorf("another vector: got %v", err)
	}
	if _, err := rs.get(job.AttemptID{Task: "m-00000", Try: 2}, want); err == nil {
		t.Error("got a run of another attempt")
	}
	if r, err := rs.get(id, want); err == nil {
		if a, b, c := r.partition(0), r.partition(1), r.partition(2); len(a) != 1 || len(b) != 0 || len(c) != 2 {
			t.Errorf("got %v, %v, %v", a, b, c)
		}
	}
	for limit, want := range map[int64]int64{0: 0, 99: 1, 100: 1, 130: 30} {
		if got := rs.room(limit); got != want {
			t.Errorf("room below %d: %d, want %d", limit, got, want)
		}
	}
	if err := rs.close(); err != nil {
		t.Error(err)
	}
	if _, err := f.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the run's file is open after close: %v", err)
	}
}

// A spill file has no name, wherever it is.
func TestSpillHasNoName(t *testing.T) {
	dir := t.TempDir()
	f, err := newSpill(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("run"); err != nil {
		t.Error(err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("%v lie there, %v", names, err)
	}
	if f, err := newSpill(filepath.Join(dir, "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v, %v", f, err)
	}
}

// A faulty bucket cannot read one object.
type faulty struct {
	store.Bucket
	key store.Key
	err error
}

func (b faulty) Open(ctx context.Context, key store.Key, etag string, off, n int64) (io.ReadCloser, error) {
	if key == b.key {
		return nil, b.err
	}
	return b.Bucket.Open(ctx, key, etag, off, n)
}

func TestReadErrors(t *testing.T) {
	dead := errors.New("line is dead")
	for _, c := range []struct {
		err   error
		fault coordinator.Fault // "": the object is listed, the attempt goes on
	}{
		{store.ErrNotExist, ""},
		{store.ErrChanged, ""},
		{store.ErrPermission, ""},
		{store.ErrShort, ""},
		{dead, coordinator.FaultTask},
		{store.ErrThrottled, coordinator.FaultStore},
	} {
		for _, size := range []int{4, 3 << 20} {
			for _, readers := range []int{0, 3} {
				l := newLab(t, 5, func(i int) string {
					if i == 2 {
						return strings.Repeat("x", size)
					}
					return "x"
				})
				l.input = faulty{l.input, "mail/0002", c.err}
				l.open(t, sums(), readers)
				for _, s := range l.splits {
					l.lease(1, s.Task, 0)
				}
				l.work(t)
				l.check(t, c.err, c.fault, fmt.Sprintf("%v, %d bytes, %d readers", c.err, size, readers))
			}
		}
	}
}

// check checks what became of five objects of which the third could not be read because of err.
func (l *lab) check(t *testing.T, err error, fault coordinator.Fault, name string) {
	t.Helper()
	var objects, pending int
	var text, list string
	var failed []job.FailedObject
	for _, c := range l.commits {
		objects += int(c.Result.Counters.Objects)
		failed = append(failed, c.Result.Names...)
		for _, p := range []*store.Pending{c.Result.Part, c.Result.Failed} {
			if p != nil {
				pending++
			}
		}
	}
	if n := l.store.Bucket("out").Pending(); n != pending || l.noted != pending {
		t.Errorf("%s: %d pending, %d written down, want %d", name, n, l.noted, pending)
	}
	for _, c := range l.commits {
		text += l.text(t, c.Result.Part)
		list += l.text(t, c.Result.Failed)
	}
	if fault != "" {
		if len(l.failures) != 1 || len(failed) != 0 || list != "" {
			t.Fatalf("%s: got failures %+v, failed objects %v, listed %q", name, l.failures, failed, list)
		}
		if f := l.failures[0]; f.Fault != fault || f.Reason != "mem:in/mail/0002: "+err.Error() {
			t.Errorf("%s: got %+v", name, f)
		}
		return
	}
	if len(l.failures) != 0 || objects != 5 || strings.Count(text, "\n") != 4 || strings.Contains(text, "0002") {
		t.Errorf("%s: %d objects, got %q, failures %+v", name, objects, text, l.failures)
	}
	if len(failed) != 1 || failed[0].URI != "mem:in/mail/0002" || failed[0].Reason != err.Error() || strings.Count(list, err.Error()) != 1 {
		t.Errorf("%s: failed %+v, listed %q", name, failed, list)
	}
}

// An object that was skipped by the lease is listed with the reason given there and never read.
func TestSkip(t *testing.T) {
	l := newLab(t, 4, func(int) string { return "x" })
	l.input = faulty{l.input, "mail/0001", errors.New("it was read")}
	l.open(t, sums(), 0)
	l.lease(2, "m-00000", 0)
	l.leases[0].Skip = map[int]string{1: "it kills"}
	l.work(t)
	if len(l.commits) != 1 {
		t.Fatalf("got failures %+v", l.failures)
	}
	r := l.commits[0].Result
	if n := r.Counters; n.Objects != 4 || n.Failed != 1 || len(r.Names) != 1 || r.Names[0].Reason != "it kills" {
		t.Errorf("got %+v", r)
	}
}

// A runner that dies in the middle of an object is replaced, and the failure names the object.
func TestRunnerDies(t *testing.T) {
	l := newLab(t, 6, func(i int) string { return fmt.Sprint(i) })
	var killed atomic.Bool
	first, over := make(chan Process, 1), make(chan struct{})
	j := job.MapOnly(func(obj *mapper.Object, emit func(string)) error {
		if obj.Key == "0003" && killed.CompareAndSwap(false, true) {
			p := <-first
			p.Kill()
			<-over
			first <- p
		}
		emit(obj.Key)
		return nil
	})
	launch, launched := InProcess(j), 0
	l.launch = func(ctx context.Context, socket, memory *os.File) (Process, error) {
		launched++
		p, err := launch(ctx, socket, memory)
		if launched == 1 {
			first <- p
			p = dead{p}
		}
		return p, err
	}
	l.open(t, j, 0)
	l.lease(1, "m-00000", 0)
	l.lease(2, "m-00000", 0)
	l.work(t)
	close(over)
	(<-first).Wait()
	if len(l.failures) != 1 || len(l.commits) != 1 || launched != 2 {
		t.Fatalf("got failures %+v, commits %+v, %d runners", l.failures, l.commits, launched)
	}
	f := l.failures[0]
	if f.Attempt.Try != 1 || f.Fault != coordinator.FaultTask || f.Object != 3 || f.URI != "mem:in/mail/0003" || !strings.Contains(f.Reason, "runner died") {
		t.Errorf("got %+v", f)
	}
	if got, want := l.text(t, l.commits[0].Result.Part), "0000\n0001\n0002\n0003\n0004\n0005\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if l.noted != 1 { // of the attempt that counts
		t.Errorf("%d uploads are written down, want 1", l.noted)
	}
}

// A dead process is not waited for: its goroutine, unlike a process, goes on after it is killed.
type dead struct{ Process }

func (dead) Wait() Exit { return Exit{Text: "killed"} }

// A slab is given back once, by the runner that it was lent to.
func TestSlabs(t *testing.T) {
	l := &link{free: make(chan uint32, runner.Slabs)}
	if l.back(1) {
		t.Error("a slab came back that was not lent")
	}
	l.lent[1].Store(true)
	if !l.back(1) || l.back(1) || len(l.free) != 1 || <-l.free != 1 {
		t.Error("a slab that was lent did not come back once")
	}
}
