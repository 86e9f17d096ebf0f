package commit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

func TestTakeRefuses(t *testing.T) {
	tests := []struct {
		name    string
		objects map[store.Key]string
		o       Options
		id      string
		want    string
		is      error
	}{
		{"nothing there", nil, Options{}, "j", "", nil},
		{"a manifest", map[store.Key]string{"out/_manifest.json": `{"version":1,"job":"old"}`}, Options{}, "j",
			"output mem:b/out/: exists already", ErrExists},
		{"somebody's manifest", map[store.Key]string{"out/_manifest.json": `x`}, Options{}, "j",
			"output mem:b/out/: exists already", ErrExists},
		{"a manifest, overwrite", map[store.Key]string{"out/_manifest.json": `{"version":1,"job":"old"}`},
			Options{Overwrite: true}, "j", "", nil},
		{"an object", map[store.Key]string{"out/x\n": ""}, Options{}, "j", `output mem:b/out/: exists already: "x\n" lies there`, ErrExists},
		{"an object, overwrite", map[store.Key]string{"out/x": ""}, Options{Overwrite: true}, "j", "", nil},
		{"a marker and neighbours", map[store.Key]string{"out/": "", "out2/x": "", "ou": ""}, Options{}, "j", "", nil},
		{"left over work", map[store.Key]string{"out/_millrace/plan/plan-00000": "", "out/_millrace/uploads/x.json": "?"}, Options{}, "j", "", nil},
		{"a damaged decision", map[store.Key]string{"out/_millrace/commit.json": `{"version":9}`}, Options{}, "j",
			`output mem:b/out/: decision of version 9 by job "" is not understood`, nil},
		{"a live claim", map[store.Key]string{"out/_millrace/claim-4f1c-00000000.json": `{"job":"4f1c","host":"here","pid":7,"held":true}`}, Options{}, "j",
			"output mem:b/out/: claimed by job 4f1c (process 7 on here)", ErrClaimed},
		{"a dead claim", map[store.Key]string{"out/_millrace/claim-4f1c-00000000.json": `{"job":"4f1c","host":"here","pid":66,"held":true}`}, Options{}, "j", "", nil},
		{"a bad job name", nil, Options{}, "a/b", `output mem:b/out/: job "a/b": not a name of one`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.bury(66)
			for k, v := range tt.objects {
				if _, err := w.bucket.Put(t.Context(), k, []byte(v)); err != nil {
					t.Fatal(err)
				}
			}
			before := w.visible(t)
			o := *w.options(1)
			o.Overwrite = tt.o.Overwrite
			c, err := Take(t.Context(), w.bucket, "out", tt.id, &o)
			got := ""
			if err != nil {
				got = err.Error()
				var je *job.Error
				if !errors.As(err, &je) {
					t.Errorf("got a %T, want a *job.Error", err)
				}
			} else if err := c.Release(t.Context()); err != nil {
				t.Error(err)
			}
			if got != tt.want || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got error  %s\nwant error %s", got, tt.want)
			}
			if now := w.visible(t); now != before {
				t.Errorf("visible is now\n%s\nbefore it was\n%s", now, before)
			}
			if left := w.hidden(t); err == nil && left != "" {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

// TestOneWins lets several jobs claim one output over and over, through stores that answer after random times.
func TestOneWins(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			r := rand.New(rand.NewPCG(seed, 1))
			var mu sync.Mutex
			random := func() float64 {
				mu.Lock()
				defer mu.Unlock()
				return r.Float64()
			}
			var held, wins atomic.Int32
			var wg sync.WaitGroup
			for n := range 2 + int(seed%3) {
				wg.Go(func() {
					m := &mortal{Bucket: w.bucket, wait: func() { time.Sleep(time.Duration(random() * float64(200*time.Millisecond))) }}
					o := w.options(n + 1)
					o.Float64 = random
					if seed%2 == 1 {
						o.Owner.Host = fmt.Sprintf("host-%d", n)
					}
					for range 3 {
						c, err := Take(t.Context(), m, "out/", fmt.Sprintf("job%d", n), o)
						if err != nil {
							if !errors.Is(err, ErrClaimed) {
								t.Errorf("seed %d: %v", seed, err)
							}
							continue
						}
						if held.Add(1) > 1 {
							t.Errorf("seed %d: two hold one claim", seed)
						}
						wins.Add(1)
						time.Sleep(time.Duration(random() * float64(20*time.Second)))
						if c.Err() != nil {
							t.Errorf("seed %d: %v", seed, c.Err())
						}
						held.Add(-1)
						if err := c.Release(t.Context()); err != nil {
							t.Errorf("seed %d: %v", seed, err)
						}
					}
				})
			}
			wg.Wait()
			if wins.Load() == 0 {
				t.Errorf("seed %d: nobody won", seed)
			}
			if left := w.hidden(t); left != "" {
				t.Errorf("seed %d: left behind: %s", seed, left)
			}
		})
	}
}

func take(t *testing.T, b store.Bucket, id, host string, w *world) (*Claim, error) {
	o := w.options(1)
	o.Owner.Host = host
	return Take(t.Context(), b, "out/", id, o)
}

func TestOtherHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := &mortal{Bucket: w.bucket}
		a, err := take(t, m, "a", "host-a", w)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := upload1(t.Context(), m, a.Uploads(), "m-00000.1", "part-00000", "x"); err != nil {
			t.Fatal(err)
		}

		// While it beats, it is known to live within two beats.
		began := time.Now()
		_, err = take(t, w.bucket, "b", "host-b", w)
		if !errors.Is(err, ErrClaimed) || !strings.Contains(fmt.Sprint(err), "claimed by job a (process 1 on host-a)") || time.Since(began) > 2*Beat {
			t.Errorf("after %v: got %v", time.Since(began), err)
		}

		// Once it is silent, its time is over.
		m.die()
		began = time.Now()
		b, err := take(t, w.bucket, "b", "host-b", w)
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d < Watch || d > Watch+2*Beat {
			t.Errorf("took it over after %v, want %v", d, Watch)
		}
		select {
		case <-a.Lost():
		default:
			t.Error("the silent job did not notice that it lost")
		}
		if !errors.Is(a.Err(), ErrLost) {
			t.Errorf("got %v, want %v", a.Err(), ErrLost)
		}
		if n := w.bucket.Pending(); n != 0 {
			t.Errorf("%d uploads of the dead job are left", n)
		}
		if err := errors.Join(a.Release(t.Context()), b.Release(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// A job that was stopped for longer than its lease when all was done leaves nothing, if nobody else came.
func TestStoppedWhenDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var stopped atomic.Bool
		m := &mortal{Bucket: w.bucket, wait: func() {
			if stopped.Load() {
				time.Sleep(2 * Lease)
			}
		}}
		c, err := take(t, m, "a", "host-a", w)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Decide(t.Context(), &Decision{}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		stopped.Store(true)
		<-c.Lost()
		stopped.Store(false)
		if err := c.Release(t.Context()); err != nil || w.hidden(t) != "" {
			t.Errorf("got %v, left behind: %s", err, w.hidden(t))
		}
	})
}

// A job that stood still for longer than others wait for it, and writes its claim once more, is told before it decides.
func TestStoppedAndContinued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, err := take(t, w.bucket, "a", "host-a", w)
		if err != nil {
			t.Fatal(err)
		}
		a.stop() // stands for the whole process
		b, err := take(t, w.bucket, "b", "host-b", w)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.put(t.Context(), func(d *claimDoc) { d.Beat++ }); err != nil {
			t.Fatal(err)
		}
		if err := a.Decide(t.Context(), &Decision{}); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "taken over by job b") {
			t.Errorf("got %v, want %v", err, ErrLost)
		}
		if strings.Contains(w.hidden(t), decisionName) {
			t.Error("it decided")
		}
		if err := a.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if b.check(t.Context()) != nil {
			t.Error("the job that took over lost as well")
		}
		if err := b.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A job that stood still leaves alone what belongs to who took over, even if it has not noticed: before it decided, and after.
func TestLostClaimSweepsNothing(t *testing.T) {
	for _, decided := range []bool{false, true} {
		w := newWorld()
		a, err := Take(t.Context(), w.bucket, "out/", "a", w.options(1))
		if err != nil {
			t.Fatal(err)
		}
		if decided {
			if err := a.Decide(t.Context(), &Decision{}); err != nil {
				t.Fatal(err)
			}
		}
		w.bury(1) // so others believe
		o := w.options(2)
		o.Overwrite = true
		b, err := Take(t.Context(), w.bucket, "out/", "b", o)
		if err != nil {
			t.Fatal(err)
		}
		part, err := upload1(t.Context(), w.bucket, b.Uploads(), "m-00000.1", "part-00000", "b")
		if err != nil {
			t.Fatal(err)
		}
		if decided {
			if _, err := a.Finish(t.Context()); !errors.Is(err, ErrLost) {
				t.Errorf("finish: got %v, want %v", err, ErrLost)
			}
		}
		if err := a.Release(t.Context()); err != nil || !errors.Is(a.Err(), ErrLost) {
			t.Errorf("release: got %v and %v", err, a.Err())
		}
		if err := b.Decide(t.Context(), &Decision{Parts: []Part{part}}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Finish(t.Context()); err != nil {
			t.Errorf("decided %t: %v", decided, err)
		}
		if err := b.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if left := w.hidden(t); left != "" {
			t.Errorf("left behind: %s", left)
		}
	}
}

func TestRemovedClaimIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c, err := take(t, w.bucket, "a", "here", w)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * Lease)
		if c.Err() != nil {
			t.Errorf("after %v: %v", 3*Lease, c.Err())
		}
		if err := w.bucket.Delete(t.Context(), c.out.work(c.name)); err != nil {
			t.Fatal(err)
		}
		<-c.Lost()
		if got, want := c.Err().Error(), "claim lost: somebody removed it"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if err := c.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A job stands still just before it writes its decision, or just after, until another host has taken its place: that one dies at each
// of its steps in turn, or ends well. Whatever the first then finds, what it says is what happened, and a third job goes on from there.
func TestStoppedAtDecision(t *testing.T) {
	for _, stop := range []string{"decide: write", "decide: written"} {
		decided, lost := 0, 0
		for at, ended := 0, 0; ended < 2; at++ {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				first := w.options(1)
				first.Owner.Host = "host-1"
				stopped, goOn := make(chan struct{}), make(chan struct{})
				first.Step = func(name string) {
					if name == stop {
						close(stopped)
						<-goOn
					}
				}
				// Its beats stand still as well.
				m1 := &mortal{Bucket: w.bucket, wait: func() {
					select {
					case <-stopped:
						<-goOn
					default:
					}
				}}
				result := make(chan error, 1)
				go func() { result <- runJob(t.Context(), m1, "job1", first) }()
				<-stopped
				claim, _, _ := strings.Cut(w.hidden(t)[strings.Index(w.hidden(t), "out/_millrace/"+claimPrefix):], "\n")
				body := w.body(t, store.Key(claim))

				second := w.options(2)
				second.Owner.Host, second.Overwrite = "host-2", true
				m2 := &mortal{Bucket: w.bucket}
				n := 0
				second.Step = func(string) {
					m2.mu.Lock()
					defer m2.mu.Unlock()
					m2.dead = m2.dead || n == at/2
					n++
				}
				err2 := runJob(t.Context(), m2, "job2", second)
				if !m2.dead {
					ended++
					if err2 != nil {
						t.Fatalf("%s: second job: %v", stop, err2)
					}
				}
				between := w.visible(t)
				if at%2 == 1 { // a beat was on its way
					key := store.Key(claim)
					if _, err := w.bucket.Put(t.Context(), key, []byte(body)); err != nil {
						t.Fatal(err)
					}
				}
				close(goOn)
				err1 := <-result
				switch {
				case err1 == nil:
					decided++
					if now := w.visible(t); now != outputOf("job1") {
						t.Errorf("%s, %d: first job says that it is done; visible is\n%s", stop, at, now)
					}
				case !errors.Is(err1, ErrLost):
					t.Errorf("%s, %d: first job: %v", stop, at, err1)
				default:
					lost++
					if now := w.visible(t); now != between {
						t.Errorf("%s, %d: first job says that it lost; visible was\n%s\nand is\n%s", stop, at, between, now)
					}
				}

				third := w.options(3)
				third.Owner.Host, third.Overwrite = "host-3", true
				if err := runJob(t.Context(), w.bucket, "job3", third); err != nil {
					t.Fatalf("%s, %d: third job: %v", stop, at, err)
				}
				if now := w.visible(t); now != outputOf("job3") {
					t.Errorf("%s, %d: got\n%s", stop, at, now)
				}
				for left := range strings.Lines(w.hidden(t)) {
					if !strings.HasSuffix(strings.TrimSpace(left), graveSuffix) {
						t.Errorf("%s, %d: left behind: %s", stop, at, left)
					}
				}
				if n := w.bucket.Pending(); n > m1.unrecorded()+m2.unrecorded() {
					t.Errorf("%s, %d: %d uploads are left", stop, at, n)
				}
			})
		}
		t.Logf("%s: first job done %d times, lost %d times", stop, decided, lost)
		if decided == 0 || lost == 0 {
			t.Errorf("%s: first job done %d times, lost %d times", stop, decided, lost)
		}
	}
}

// A grave is kept for as long as its process may stand still, and no longer.
func TestGraveIsFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := &mortal{Bucket: w.bucket}
		if _, err := take(t, m, "a", "host-a", w); err != nil {
			t.Fatal(err)
		}
		m.die()
		for _, want := range []int{1, 1, 0} {
			b, err := take(t, w.bucket, "b", "host-b", w)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(w.hidden(t), graveSuffix); got != want {
				t.Errorf("%d graves, want %d: %s", got, want, w.hidden(t))
			}
			time.Sleep(graveTime * 2 / 3)
		}
	})
}

func TestCancelWhileWatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		if _, err := w.bucket.Put(t.Context(), "out/_millrace/claim-x.json", []byte("not a claim")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), Watch/2)
		defer cancel()
		if _, err := Take(ctx, w.bucket, "out/", "j", w.options(1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		if got, want := w.hidden(t), "out/_millrace/claim-x.json"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		// Silence makes dead also what nobody understands.
		if _, err := Clean(t.Context(), w.bucket, "out/", w.options(1)); err != nil || w.hidden(t) != "out/_millrace/claim-x.json"+graveSuffix {
			t.Errorf("got %v, left behind: %s", err, w.hidden(t))
		}
	})
}
