package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/identity"
)

// A register is a state that several see through lines of their own.
type register struct {
	mu    sync.Mutex
	seq   uint64
	data  []byte
	puts  int
	lines []*line
}

// A line is how one coordinator reaches a register. Its faults may change at any time.
type line struct {
	r *register

	cut    bool   // nothing gets through
	deaf   bool   // puts get through, their answers do not
	fails  int    // comparisons that fail without a reason
	behind uint64 // reads find this older state; 0: they do not
	old    []byte
}

var errCut = errors.New("cut")

func newRegister() *register {
	return &register{seq: 1, data: (&tenure{}).append(nil)}
}

func (r *register) line() *line {
	l := &line{r: r}
	r.lines = append(r.lines, l)
	return l
}

func (l *line) put(ctx context.Context, _ string, data []byte, last uint64) (uint64, error) {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	switch {
	case l.cut:
		return 0, l.hang(ctx)
	case l.fails > 0:
		l.fails--
		return 0, errMoved
	case last != l.r.seq:
		return 0, errMoved
	}
	l.r.seq, l.r.data, l.r.puts = l.r.seq+1, data, l.r.puts+1
	if l.deaf {
		return 0, l.hang(ctx)
	}
	return l.r.seq, nil
}

func (l *line) end(ctx context.Context, _ string) (uint64, []byte, error) {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	switch {
	case l.cut:
		return 0, nil, l.hang(ctx)
	case l.behind > 0:
		return l.behind, l.old, nil
	}
	return l.r.seq, l.r.data, nil
}

func (l *line) next(context.Context, string, uint64) (uint64, []byte, error) {
	panic("a state has no next")
}
func (l *line) elsewhere() bool { return true }

// hang waits as a call without an answer does. r.mu is held.
func (l *line) hang(ctx context.Context) error {
	l.r.mu.Unlock()
	defer l.r.mu.Lock()
	<-ctx.Done()
	return errCut
}

func (l *line) set(f func(*line)) {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	f(l)
}

func leads(t testing.TB, ctx context.Context, l *line, name string) *Leadership {
	t.Helper()
	got, err := campaign(ctx, l, &floor{}, name, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestLeadershipIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegister()
		a := leads(t, t.Context(), r.line(), "a")
		if a.Epoch != 1 {
			t.Errorf("epoch %d, want 1", a.Epoch)
		}
		time.Sleep(time.Hour) // renewed all the time
		if err := a.Context().Err(); err != nil {
			t.Fatal(context.Cause(a.Context()))
		}
		waits := make(chan *Leadership)
		go func() { waits <- leads(t, t.Context(), r.line(), "b") }()
		time.Sleep(time.Hour)
		select {
		case <-waits:
			t.Fatal("b leads beside a")
		default:
		}
		began := time.Now()
		if err := a.Resign(); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(context.Cause(a.Context()), ErrDeposed) {
			t.Errorf("after it: %v, want ErrDeposed", context.Cause(a.Context()))
		}
		b := <-waits
		if took := time.Since(began); took > 2*time.Second || b.Epoch != 2 {
			t.Errorf("b leads after %v in epoch %d, want at once in 2", took, b.Epoch)
		}
		b.Resign()
	})
}

func TestLeaderWithoutContactStopsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegister()
		mine := r.line()
		a := leads(t, t.Context(), mine, "a")
		other := make(chan time.Time)
		go func() {
			b := leads(t, t.Context(), r.line(), "b")
			other <- time.Now()
			if b.Epoch != 2 {
				t.Errorf("epoch %d, want 2", b.Epoch)
			}
			b.Resign()
		}()
		time.Sleep(time.Minute)
		cut := time.Now()
		mine.set(func(l *line) { l.cut = true })
		<-a.Context().Done()
		stopped := time.Now()
		if d := stopped.Sub(cut); d > 5*time.Second || d < 3*time.Second {
			t.Errorf("it stops %v after the cut, want half the lease after the last renewal", d)
		}
		if d := (<-other).Sub(stopped); d < 4*time.Second || d > 9*time.Second {
			t.Errorf("the other leads %v after that, want about half a lease", d)
		}
		a.Resign()
	})
}

func TestSpuriousAndUnheardAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegister()
		l := r.line()
		l.fails = 3
		a := leads(t, t.Context(), l, "a")
		if a.Epoch != 1 {
			t.Errorf("epoch %d, want 1", a.Epoch)
		}
		l.set(func(l *line) { l.fails = 2 })
		time.Sleep(time.Minute)
		l.set(func(l *line) { l.deaf = true }) // each renewal lands, and is found by reading
		time.Sleep(time.Minute)
		if err := context.Cause(a.Context()); err != nil {
			t.Error(err)
		}
		l.set(func(l *line) { l.deaf = false })
		a.Resign()
	})
}

func TestStaleReadsWinNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegister()
		stale := r.line()
		stale.behind, stale.old = r.seq, r.data // as if nobody had led
		a := leads(t, t.Context(), r.line(), "a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		count := func() (n int) {
			stale.set(func(l *line) { n = l.r.puts })
			return n
		}
		puts := count()
		if l, err := campaign(ctx, stale, &floor{}, "b", 10*time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one who reads the past leads: %v, %v", l, err)
		}
		if err := context.Cause(a.Context()); err != nil {
			t.Errorf("and ends the leader: %v", err)
		}
		if n := count() - puts; n < 2000 || n > 4000 {
			t.Errorf("the leader renewed %d times in an hour", n)
		}
		a.Resign()
	})
}

func TestLostStateIsNotNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegister()
		var f floor
		l := r.line()
		a, err := campaign(t.Context(), l, &f, "a", 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		fresh := newRegister()
		for name, to := range map[string]*register{"nothing": {}, "another one": fresh} {
			other := to.line()
			if _, err := campaign(t.Context(), other, &f, "a", 10*time.Second); !errors.Is(err, ErrLost) {
				t.Errorf("%s: %v, want ErrLost", name, err)
			}
		}
		fresh.seq += 1000
		if _, err := campaign(t.Context(), fresh.line(), &f, "a", 10*time.Second); !errors.Is(err, ErrLost) {
			t.Errorf("a longer one that goes back: %v, want ErrLost", err)
		}
		if _, err := campaign(t.Context(), (&register{}).line(), &floor{}, "a", 10*time.Second); !errors.Is(err, ErrLost) {
			t.Errorf("no state for who knows none: %v, want ErrLost", err)
		}
		r.mu.Lock()
		r.seq, r.data = 0, nil
		r.mu.Unlock()
		<-a.Context().Done()
		a.Resign()
	})
}

// TestElections has coordinators compete for days while their lines fail.
func TestElections(t *testing.T) {
	seed, changes := rand.Uint64(), 1000
	if testing.Short() {
		changes = 300
	}
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		r := newRegister()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var leading, terms atomic.Int32
		var last atomic.Uint64
		for i := range 4 {
			l := r.line()
			own := rand.New(rand.NewPCG(seed, uint64(i)+1))
			var f floor
			wg.Go(func() {
				for {
					got, err := campaign(ctx, l, &f, fmt.Sprint(i), 10*time.Second)
					if err != nil {
						if ctx.Err() == nil {
							t.Error(err)
						}
						return
					}
					if got.Context().Err() == nil && leading.Add(1) != 1 {
						t.Errorf("two lead in epoch %d", got.Epoch)
					}
					terms.Add(1)
					if before := last.Swap(got.Epoch); before >= got.Epoch {
						t.Errorf("epoch %d after %d", got.Epoch, before)
					}
					select {
					case <-got.Context().Done():
					case <-time.After(time.Duration(own.Int64N(int64(2 * time.Minute)))):
					case <-ctx.Done():
					}
					leading.Add(-1)
					if own.IntN(4) > 0 {
						got.Resign()
					} else { // it dies: nobody hears of it
						l.set(func(l *line) { l.cut = true })
						got.Resign()
						time.Sleep(time.Duration(own.Int64N(int64(time.Minute))))
						l.set(func(l *line) { l.cut = false })
					}
				}
			})
		}
		for range changes {
			time.Sleep(time.Duration(rnd.Int64N(int64(20 * time.Second))))
			l := r.lines[rnd.IntN(len(r.lines))]
			r.mu.Lock()
			for _, l := range r.lines {
				l.behind = 0 // servers notice in time
			}
			l.cut, l.deaf, l.fails = rnd.IntN(4) == 0, rnd.IntN(4) == 0, rnd.IntN(3)
			if rnd.IntN(4) == 0 {
				l.behind, l.old = r.seq, bytes.Clone(r.data)
			}
			r.mu.Unlock()
		}
		cancel()
		wg.Wait()
		if int(terms.Load()) < changes/50 {
			t.Errorf("only %d terms", terms.Load())
		}
		t.Logf("%d terms, %d states", terms.Load(), r.seq)
	})
}

// TestCampaign holds an election on a real server.
func TestCampaign(t *testing.T) {
	t.Parallel()
	ca, s := alone(t)
	as := func(name string) *Cluster {
		return connect(t, &Remote{URLs: []string{s.URL()}, Identity: issue(t, ca, identity.Coordinator, name)})
	}
	one, two := as("c-1"), as("c-2")
	if _, err := one.Campaign(soon(t), "one", 0); !errors.Is(err, ErrLost) {
		t.Errorf("before it is prepared: %v, want ErrLost", err)
	}
	if err := one.Prepare(soon(t)); err != nil {
		t.Fatal(err)
	}
	a, err := one.Campaign(soon(t), "one", 0)
	if err != nil {
		t.Fatal(err)
	}
	next := make(chan *Leadership)
	go func() {
		l, err := two.Campaign(soon(t), "two", 0)
		if err != nil {
			t.Error(err)
		}
		next <- l
	}()
	if err := a.Resign(); err != nil {
		t.Fatal(err)
	}
	b := <-next
	if b == nil || a.Epoch != 1 || b.Epoch != 2 {
		t.Fatalf("epochs %v and %v, want 1 and 2", a, b)
	}
	if err := b.Resign(); err != nil {
		t.Error(err)
	}
	// A leader does not outlive its cluster.
	last, err := one.Campaign(soon(t), "one", 0)
	if err != nil {
		t.Fatal(err)
	}
	one.Close()
	<-last.Context().Done()
	if err := context.Cause(last.Context()); !errors.Is(err, ErrDeposed) {
		t.Errorf("after Close: %v, want ErrDeposed", err)
	}
	last.Resign()
}

func FuzzTenure(f *testing.F) {
	f.Add((&tenure{epoch: 3, number: 2, lease: time.Second, holder: "node-1"}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := parseTenure(b); err == nil && !bytes.Equal(x.append(nil), b) {
			t.Errorf("%x is not what it was read as", b)
		}
	})
}
