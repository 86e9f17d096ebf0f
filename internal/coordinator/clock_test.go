package coordinator

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A clock that is an hour fast, then an hour slow, changes nothing but what is said of waiting.
func TestClockGoesWrong(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 1))
	wrong := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return time.Now().Add(time.Duration(r.IntN(3)-1) * time.Hour)
	}
	l := &testLog{}
	m := New(Config{Job: "j", Epoch: 3, Reducers: 3, Tolerates: func(f, _ int64) bool { return f == 0 }})
	c := Start(context.Background(), m, Options{Log: l, Discard: func(context.Context, store.Handle) error { return nil }, Now: wrong})
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for slot := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				lease, err := c.Want(ctx, Want{from("n"), slot})
				if err != nil || lease.Over {
					return
				}
				if lease.Idle {
					continue
				}
				runs, gone := lease.Runs, false
				for a := lease.Arrivals; lease.Attempt.Task.IsReduce() && !a.All && !gone && err == nil; gone = a.Gone {
					a, err = c.Follow(ctx, Follow{Sender: from("n"), Attempt: lease.Attempt, Next: a.Next})
					runs = append(runs, a.Runs...)
				}
				result := counted(2, 0)
				if lease.Attempt.Task.IsReduce() {
					result = reducedAll(runs)
				}
				switch {
				case gone || err != nil:
				case n%5 == 0:
					_, err = c.Fail(ctx, Failure{Sender: from("n"), Attempt: lease.Attempt, Fault: FaultStore, Object: -1, Reason: "busy"})
				default:
					_, err = c.Commit(ctx, Commit{from("n"), lease.Attempt, result})
				}
				if err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
		})
	}
	for i := range 50 {
		if err := c.Tell(ctx, Planned{job.Split{Task: job.MapTask(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Tell(ctx, Sealed{Digest: "d"}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Ended():
	case <-ctx.Done():
		t.Fatalf("seed %d: the job does not end", seed)
	}
	wg.Wait()
	o, err := c.Outcome()
	if err != nil || len(o.Parts) != 53 || o.Counters.Queue < 0 {
		t.Errorf("seed %d: %d tasks, %v in the queue, %v", seed, len(o.Parts), o.Counters.Queue, err)
	}
}
