package coordinator

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A testLog fails at its n-th record, and counts what it was given.
type testLog struct {
	mu     sync.Mutex
	failAt int
	n      int
}

var errDisk = errors.New("disk full")

func (l *testLog) Append(context.Context, []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n++; l.n == l.failAt {
		return errDisk
	}
	return nil
}

func (l *testLog) records() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

func startCoordinator(l Log, reducers int) *Coordinator {
	m := New(Config{Job: "j", Epoch: 3, Reducers: reducers, Tolerates: func(f, _ int64) bool { return f == 0 }})
	return Start(context.Background(), m, Options{Log: l, Discard: func(context.Context, store.Handle) error { return nil }})
}

func TestWantIsHeldThenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCoordinator(&testLog{}, 0)
		defer c.Close()
		began := time.Now()
		l, err := c.Want(t.Context(), Want{Sender: from("n")})
		if err != nil || !l.Idle {
			t.Fatalf("got %+v, %v", l, err)
		}
		if d := time.Since(began); d < time.Second || d > 1200*time.Millisecond {
			t.Errorf("held for %v", d)
		}
		go func() {
			time.Sleep(300 * time.Millisecond)
			_ = c.Tell(context.Background(), Planned{job.Split{Task: "m-00000"}})
		}()
		if l, err = c.Want(t.Context(), Want{Sender: from("n")}); err != nil || l.Attempt.Task != "m-00000" {
			t.Errorf("got %+v, %v", l, err)
		}
	})
}

// Who stops waiting is not given a task that nobody would then work on.
func TestWantGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCoordinator(&testLog{}, 0)
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := c.Want(ctx, Want{Sender: from("n")}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if err := c.Tell(t.Context(), Planned{job.Split{Task: "m-00000"}}); err != nil {
			t.Fatal(err)
		}
		if l, err := c.Want(t.Context(), Want{Sender: from("n")}); err != nil || l.Attempt.Task != "m-00000" {
			t.Errorf("got %+v, %v", l, err)
		}
	})
}

func TestCloseWhileWaiting(t *testing.T) {
	c := startCoordinator(&testLog{}, 0)
	got := make(chan error)
	go func() {
		_, err := c.Want(context.Background(), Want{Sender: from("n")})
		got <- err
	}()
	time.Sleep(10 * time.Millisecond)
	c.Close()
	if err := <-got; !errors.Is(err, errClosed) {
		t.Errorf("got %v", err)
	}
	<-c.Ended()
	if _, err := c.Outcome(); err == nil {
		t.Error("a closed job has no error")
	}
}

func TestJobThroughTheLoop(t *testing.T) {
	l := &testLog{}
	c := startCoordinator(l, 0)
	defer c.Close()
	ctx := t.Context()
	for i := range 50 {
		if err := c.Tell(ctx, Planned{job.Split{Task: job.MapTask(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Tell(ctx, Sealed{Digest: "d"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for slot := range 8 {
		wg.Go(func() {
			for {
				lease, err := c.Want(ctx, Want{from("n"), slot})
				if err != nil || lease.Over {
					return
				}
				if _, err := c.Commit(ctx, Commit{from("n"), lease.Attempt, counted(2, 0)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	<-c.Ended()
	wg.Wait()
	o, err := c.Outcome()
	if err != nil || o.Counters.Objects != 100 || o.Counters.Attempts != 50 || l.records() != 52 {
		t.Errorf("got %+v, %d records, %v", o.Counters, l.records(), err)
	}
	if p := c.Progress(); p.Maps != 50 {
		t.Errorf("got %+v", p)
	}
}

// A log that lost one record is not added to: what comes after would follow on something that never was.
func TestAppendFails(t *testing.T) {
	for range 50 {
		l := &testLog{failAt: 3}
		c := startCoordinator(l, 0)
		ctx := t.Context()
		for i := range 16 {
			_ = c.Tell(ctx, Planned{job.Split{Task: job.MapTask(i)}})
		}
		_ = c.Tell(ctx, Sealed{Digest: "d"})
		var wg sync.WaitGroup
		var mu sync.Mutex
		accepted := 0
		for slot := range 16 {
			wg.Go(func() {
				lease, err := c.Want(ctx, Want{from("n"), slot})
				if err != nil {
					return
				}
				if v, err := c.Commit(ctx, Commit{from("n"), lease.Attempt, counted(1, 0)}); err == nil && v.Accepted {
					mu.Lock()
					accepted++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		<-c.Ended()
		if _, err := c.Outcome(); !errors.Is(err, errDisk) {
			t.Errorf("got %v", err)
		}
		c.Close()
		if accepted > 1 || l.records() != 3 {
			t.Fatalf("%d commits accepted and %d records, want at most 1 and 3", accepted, l.records())
		}
	}
}

// A reduce that follows is answered when there are runs, and with none after a while.
func TestFollowIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCoordinator(&testLog{}, 1)
		defer c.Close()
		ctx := t.Context()
		for i := range 2 {
			if err := c.Tell(ctx, Planned{job.Split{Task: job.MapTask(i)}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Tell(ctx, Sealed{Digest: "d"}); err != nil {
			t.Fatal(err)
		}
		var ls [3]Lease
		for slot := range ls {
			var err error
			if ls[slot], err = c.Want(ctx, Want{from("n"), slot}); err != nil {
				t.Fatal(err)
			}
		}
		f := Follow{Sender: from("n"), Attempt: ls[2].Attempt}
		began := time.Now()
		a, err := c.Follow(ctx, f)
		if d := time.Since(began); err != nil || len(a.Runs) > 0 || a.All || a.Gone || d < time.Second || d > 1200*time.Millisecond {
			t.Errorf("got %+v, %v after %v", a, err, d)
		}
		given, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if _, err := c.Follow(given, f); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		go func() {
			time.Sleep(300 * time.Millisecond)
			for _, l := range ls[:2] {
				_, _ = c.Commit(context.WithoutCancel(ctx), Commit{from("n"), l.Attempt, counted(1, 0)})
			}
		}()
		if a, err = c.Follow(ctx, f); err != nil || len(a.Runs) == 0 {
			t.Errorf("got %+v, %v", a, err)
		}
		n := len(a.Runs)
		for !a.All {
			f.Next = a.Next
			if a, err = c.Follow(ctx, f); err != nil || a.Gone {
				t.Fatalf("got %+v, %v", a, err)
			}
			n += len(a.Runs)
		}
		if n != 2 {
			t.Errorf("told of %d runs, want 2", n)
		}
	})
}
