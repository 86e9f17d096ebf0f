package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
	"github.com/millrace/millrace/store"
)

// A sample is the same each time, large enough at the beginning of a job and bounded over all of it.
func TestSample(t *testing.T) {
	split := func(task job.TaskID, n int) *try {
		t := &try{lease: &coordinator.Lease{Attempt: job.AttemptID{Task: task, Try: 1}, Skip: map[int]string{3: "it kills"}}}
		for i := range n {
			t.objects = append(t.objects, plan.Object{Key: store.Key(fmt.Sprint(task, "/", i))})
		}
		return t
	}
	for _, c := range []struct {
		task        job.TaskID
		n           int
		least, most int
	}{
		{"m-00000", 3, 3, 3}, {"m-00000", 10, 9, 9}, {"m-00000", 100, 16, 16}, {"m-00015", 100, 16, 16},
		{"m-00016", 100, 0, 6}, {"m-00016", 4096, 20, 65}, {"m-00000", 4096, 20, 65},
	} {
		got := newCheck(&Job{}).sample(split(c.task, c.n))
		if len(got) < c.least || len(got) > c.most || got[3] && c.n > 3 {
			t.Errorf("%d objects of %s: %d in the sample, want %d to %d", c.n, c.task, len(got), c.least, c.most)
		}
		if again := newCheck(&Job{}).sample(split(c.task, c.n)); !reflect.DeepEqual(got, again) {
			t.Errorf("%d objects of %s: another sample the second time", c.n, c.task)
		}
	}
	c, all := newCheck(&Job{}), 0
	for i := range 100 {
		all += len(c.sample(split(job.MapTask(i), 4096)))
	}
	if all != sampleMax {
		t.Errorf("%d objects of a large job in samples, want %d", all, sampleMax)
	}
}

// verified runs a job of n objects and checks them all.
func verified(t *testing.T, n int, j *job.Job, partitions int, input func(store.Bucket) store.Bucket) *lab {
	t.Helper()
	l := newLab(t, n, func(i int) string { return fmt.Sprint("object ", i) })
	l.verify = true
	if input != nil {
		l.input = input(l.input)
	}
	l.open(t, j, 0)
	for _, s := range l.splits {
		l.lease(1, s.Task, partitions)
	}
	l.work(t)
	return l
}

func TestCheckAgrees(t *testing.T) {
	for partitions, j := range map[int]*job.Job{0: sums(), 2: words()} {
		l := verified(t, 12, j, partitions, nil)
		if len(l.failures) > 0 || len(l.commits) != 1 {
			t.Fatalf("%d partitions: failures %+v", partitions, l.failures)
		}
		if c := l.commits[0].Result.Counters; c.Checked != 12 || c.Unchecked != 0 || c.Objects != 12 {
			t.Errorf("%d partitions: %+v", partitions, c)
		}
	}
}

// What differs is said of each object, and the job is over.
func TestCheckDiffers(t *testing.T) {
	var calls atomic.Int64
	var seen sync.Map
	j := job.MapReduce(func(obj *mapper.Object, emit func(string, int64)) error {
		_, again := seen.LoadOrStore(obj.Key, true)
		calls.Add(1)
		emit("a", 1)
		switch {
		case obj.Key == "0001" && again:
			emit("b", 2)
		case obj.Key == "0002" && again:
			return errors.New("not today")
		case obj.Key == "0003" && again:
			emit("c", 2)
		case obj.Key == "0003":
			emit("c", 1)
		case obj.Key == "0004" && again:
			obj.Count("twice", 1)
		}
		return nil
	}, reducer.Sum[int64]())
	l := verified(t, 6, j, 2, nil)
	if len(l.commits) != 0 || len(l.failures) != 1 || calls.Load() != 12 {
		t.Fatalf("got commits %+v, failures %+v, %d calls", l.commits, l.failures, calls.Load())
	}
	f := l.failures[0]
	want := "the program is not deterministic: 4 of 6 objects came out otherwise when they were mapped again: " +
		"mem:in/mail/0001: 1 records, then 2, in another process; " +
		"mem:in/mail/0002: ended with success, then with an error, in another process; " +
		"mem:in/mail/0003: 2 records, then as many others or in another order, in another process; " +
		"mem:in/mail/0004: other counters, in another process"
	if f.Fault != coordinator.FaultJob || f.Reason != want {
		t.Errorf("got  %s, %s\nwant %s", f.Fault, f.Reason, want)
	}
}

// An object that has gone since cannot be compared.
func TestCheckOfLostObject(t *testing.T) {
	l := verified(t, 5, sums(), 0, func(b store.Bucket) store.Bucket { return &once{Bucket: b, key: "mail/0002"} })
	if len(l.failures) > 0 || len(l.commits) != 1 {
		t.Fatalf("failures %+v", l.failures)
	}
	if c := l.commits[0].Result.Counters; c.Checked != 4 || c.Unchecked != 1 || c.Failed != 0 {
		t.Errorf("%+v", c)
	}
}

// A once bucket has one object that can be read a single time.
type once struct {
	store.Bucket
	key store.Key
	n   atomic.Int64
}

func (o *once) Open(ctx context.Context, key store.Key, etag string, off, n int64) (io.ReadCloser, error) {
	if key == o.key && o.n.Add(1) > 1 {
		return nil, store.ErrChanged
	}
	return o.Bucket.Open(ctx, key, etag, off, n)
}

// A runner that dies while it checks costs the attempt, and is replaced.
func TestCheckerDies(t *testing.T) {
	l := newLab(t, 4, func(i int) string { return fmt.Sprint(i) })
	l.verify = true
	launch, launched := InProcess(sums()), 0
	l.launch = func(ctx context.Context, socket, memory *os.File) (Process, error) {
		if launched++; launched == 2 {
			return l.mute(ctx, socket, memory)
		}
		return launch(ctx, socket, memory)
	}
	l.open(t, sums(), 0)
	l.lease(1, "m-00000", 0)
	l.lease(2, "m-00000", 0)
	l.work(t)
	if launched != 3 || len(l.failures) != 1 || len(l.commits) != 1 {
		t.Fatalf("%d runners, failures %+v, commits %+v", launched, l.failures, l.commits)
	}
	if f := l.failures[0]; f.Fault != coordinator.FaultAttempt || !strings.HasPrefix(f.Reason, "mem:in/mail/0000: mapped again in another process: runner died") {
		t.Errorf("got %+v", f)
	}
	if l.noted != 1 {
		t.Errorf("%d uploads are written down, want 1", l.noted)
	}
}

// mute launches a runner that is ready and ends when it is to map.
func (l *lab) mute(_ context.Context, socket, _ *os.File) (Process, error) {
	fd, err := unix.FcntlInt(socket.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	conn, err := runner.NewConn(os.NewFile(uintptr(fd), "agent"))
	if err != nil {
		return nil, err
	}
	p := &goroutine{conn: conn, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_, _, _, err := conn.Recv()
		if err == nil {
			err = conn.SendJSON(runner.KindReady, runner.Ready{})
		}
		if err == nil {
			_, _, _, err = conn.Recv()
		}
		p.text = fmt.Sprint("died on purpose ", errors.Join(err, conn.Close()))
	}()
	return p, nil
}
