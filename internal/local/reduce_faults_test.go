package local_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/store"
)

// A failing bucket has parts that cannot be written, or sealed, some times.
type failing struct {
	store.Bucket
	at    string // "create", "write" or "seal"
	err   error
	times atomic.Int64
}

func (b *failing) fails(at string) error {
	if b.at == at && b.times.Add(-1) >= 0 {
		return b.err
	}
	return nil
}

func (b *failing) Create(ctx context.Context, key store.Key, o *store.CreateOptions) (store.Writer, error) {
	if !strings.HasPrefix(string(key), "part-") {
		return b.Bucket.Create(ctx, key, o)
	}
	if err := b.fails("create"); err != nil {
		return nil, err
	}
	w, err := b.Bucket.Create(ctx, key, o)
	return &failingWriter{w, b}, err
}

type failingWriter struct {
	store.Writer
	b *failing
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if err := w.b.fails("write"); err != nil {
		n, _ := w.Writer.Write(p[:len(p)/2]) // some of it has arrived
		return n, err
	}
	return w.Writer.Write(p)
}

func (w *failingWriter) Seal(ctx context.Context) (store.Pending, error) {
	if err := w.b.fails("seal"); err != nil {
		return store.Pending{}, err
	}
	return w.Writer.Seal(ctx)
}

// What a reducer writes fails in the store, at each step, for a while or for good, because that is busy or broken.
func TestOutputFails(t *testing.T) {
	broken := fmt.Errorf("sync: %w", unix.EIO)
	d := newDisturbed(t, groups())
	want, _ := d.steps(t)
	d.see = func(frame, *relayed) {}
	for _, at := range []string{"create", "write", "seal"} {
		for _, c := range []struct {
			err   error
			times int64
			ends  string // error of the job
		}{
			{broken, 3, ""},
			{store.ErrThrottled, 40, ""}, // of two tasks, of which each may fail 16 times
			{broken, 1 << 40, "reduce r-0000"},
		} {
			b := &failing{at: at, err: c.err}
			b.times.Store(c.times)
			open := d.store.Opener()
			d.out = func(ctx context.Context, u store.URI, o *store.Options) (store.Bucket, store.URI, error) {
				bucket, u, err := open(ctx, u, o)
				if err == nil && u.Bucket == "out" {
					b.Bucket = bucket
					bucket = b
				}
				return bucket, u, err
			}
			_, got, err := d.run(t, t.Context())
			name := fmt.Sprintf("%s: %v, %d times", at, c.err, c.times)
			switch {
			case c.ends != "":
				if err == nil || !strings.Contains(err.Error(), c.ends) || !errors.Is(err, unix.EIO) && !strings.Contains(err.Error(), "sync: input/output error") {
					t.Errorf("%s: got %v", name, err)
				}
			case err != nil:
				t.Errorf("%s: %v", name, err)
			case fmt.Sprint(got) != fmt.Sprint(want):
				t.Errorf("%s: the output is another", name)
			}
		}
	}
}

// lastRuns calls f before the last runs that the first attempt of r-00000 is given are passed on; it merges some of the others by then.
func lastRuns(d *disturbed, f func(p *relayed)) {
	seen, total := 0, uint32(math.MaxUint32)
	d.see = func(x frame, p *relayed) {
		if x.toAgent || x.attempt != (job.AttemptID{Task: "r-00000", Try: 1}) {
			return
		}
		switch x.kind {
		case runner.KindTotal:
			_, _ = runner.Uints(x.payload, &total)
		case runner.KindRuns:
			if seen += strings.Count(string(x.payload), `"offset":`); seen == int(total) {
				f(p)
			}
		}
	}
}

// Bits rot in what a reducer has merged early: it is found, and the reducer tries again.
func TestRottenMergeIsFound(t *testing.T) {
	d := newDisturbed(t, groups())
	want, _ := d.steps(t)
	rotten := 0
	d.see = func(frame, *relayed) {}
	var runs map[uint64]bool
	see := func(p *relayed) {
		for _, f := range spilledLater(t, d.dir, runs) {
			b := make([]byte, 1)
			if _, err := f.ReadAt(b, 100); err == nil {
				b[0] ^= 4
				if _, err := f.WriteAt(b, 100); err == nil {
					rotten++
				}
			}
			f.Close()
		}
	}
	lastRuns(d, see)
	inner := d.see
	d.see = func(f frame, p *relayed) {
		if f.kind == runner.KindReduce && f.attempt.Task == "r-00000" && f.attempt.Try == 1 {
			runs = inodes(t, d.dir)
		}
		inner(f, p)
	}
	res, got, err := d.run(t, t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if rotten != 1 || res.Counters.Retries == 0 {
		t.Errorf("%d files were damaged, %d attempts tried again", rotten, res.Counters.Retries)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Error("the output is another")
	}
}

// inodes returns those of the spill files that hold anything.
func inodes(t *testing.T, dir string) map[uint64]bool {
	all := make(map[uint64]bool)
	for _, f := range spilled(t, dir) {
		all[inode(t, f)] = true
		f.Close()
	}
	return all
}

func inode(t *testing.T, f *os.File) uint64 {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Error(err)
	}
	return st.Ino
}

// spilledLater waits for a spill file that was not there before.
func spilledLater(t *testing.T, dir string, before map[uint64]bool) (later []*os.File) {
	for deadline := time.Now().Add(30 * time.Second); len(later) == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, f := range spilled(t, dir) {
			if ino := inode(t, f); !before[ino] {
				before[ino] = true // it has several descriptors
				later = append(later, f)
				continue
			}
			f.Close()
		}
	}
	return later
}

// The disk is full when a reducer merges: for a moment, or for good.
func TestFullDiskInReduce(t *testing.T) {
	d := newDisturbed(t, groups())
	d.spec.Reducers = 1
	want, _ := d.steps(t)
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", 0, "size=64m"); err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skip("only root can make a small disk")
		}
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(d.dir, 0); err != nil {
			t.Errorf("something is still open there: %v", err)
		}
	}()
	for _, good := range []bool{false, true} {
		resize := func(option string) {
			if err := unix.Mount("tmpfs", d.dir, "tmpfs", unix.MS_REMOUNT, option); err != nil {
				t.Error(err)
			}
		}
		resize("size=64m")
		d.see = func(f frame, _ *relayed) {
			var st unix.Statfs_t
			switch {
			case f.attempt.Task != "r-00000":
			case f.kind == runner.KindReduce && f.attempt.Try == 1: // all runs are there
				if err := unix.Statfs(d.dir, &st); err != nil {
					t.Error(err)
				}
				resize(fmt.Sprintf("size=%d", int64(st.Blocks-st.Bfree+1)*st.Bsize))
			case f.kind == runner.KindAbort && !good:
				resize("size=64m")
			}
		}
		res, got, err := d.run(t, t.Context())
		switch {
		case good && (err == nil || !strings.Contains(err.Error(), "reduce r-00000.2 on ") || !strings.Contains(err.Error(), "no space left on device")):
			t.Errorf("for good: got %v", err)
		case !good && err != nil:
			t.Errorf("for a moment: %v", err)
		case !good && (res.Counters.Retries == 0 || fmt.Sprint(got) != fmt.Sprint(want)):
			t.Errorf("for a moment: %d attempts tried again; the output is the same: %t", res.Counters.Retries, fmt.Sprint(got) == fmt.Sprint(want))
		}
	}
}

// A program that emits something else each time is found out when a run is lost after a reducer was told of it, and never mixed.
func TestChanceIsFoundWhenARunIsLost(t *testing.T) {
	var n atomic.Int64
	j := job.MapGroup(func(obj *mapper.Object, emit func(string, string)) error {
		emit(obj.Key, fmt.Sprint(n.Add(1)))
		return nil
	}, func(key string, values iter.Seq[string], emit func(string, string)) error {
		for v := range values {
			emit(key, v)
		}
		return nil
	})
	d := newDisturbed(t, j)
	rotten := 0
	d.told = func(r job.AttemptReport) {
		if r.Attempt.Task != "m-00001" || r.Attempt.Try > 1 {
			return
		}
		for _, f := range spilled(t, d.dir) {
			b := make([]byte, 1)
			if _, err := f.ReadAt(b, 100); err == nil {
				b[0] ^= 4
				if _, err := f.WriteAt(b, 100); err == nil {
					rotten++
				}
			}
			f.Close()
		}
	}
	_, _, err := d.run(t, t.Context())
	if rotten == 0 || err == nil || !strings.Contains(err.Error(), "the program is not deterministic: m-0000") {
		t.Errorf("%d runs were damaged; got %v", rotten, err)
	}
}

// A reducer that hangs, where no engine can end it, is killed at its limit, and another one does the work.
func TestReducerHangs(t *testing.T) {
	never := make(chan struct{})
	defer close(never)
	var hung atomic.Int64
	j := job.MapGroup(func(obj *mapper.Object, emit func(string, string)) error {
		emit(obj.Key, obj.Key)
		return nil
	}, func(key string, values iter.Seq[string], emit func(string, string)) error {
		if key == "00042" && hung.Add(1) == 1 {
			<-never
		}
		for v := range values {
			emit(key, v)
		}
		return nil
	})
	d := newDisturbed(t, j)
	d.hangs = true
	d.spec.Limits.Wall = 300 * time.Millisecond
	d.see = func(f frame, p *relayed) {
		if f.kind == runner.KindReduce {
			p.forget()
		}
	}
	_, got, err := d.run(t, t.Context())
	if err != nil || len(lines(got)) != 600 || hung.Load() != 2 {
		t.Errorf("%v, %d lines, want 600; the key was reduced %d times, want twice", err, len(lines(got)), hung.Load())
	}
}

// A key that its reducer cannot reduce ends the job, which names it and the cause.
func TestPoisonKey(t *testing.T) {
	for what, misbehave := range map[string]func() error{
		"error":     func() error { return errors.New("a bad key") },
		"its panic": func() error { panic("a bad key") },
	} {
		j := job.MapGroup(func(obj *mapper.Object, emit func(string, string)) error {
			emit(obj.Key, obj.Key)
			return nil
		}, func(key string, _ iter.Seq[string], _ func(string, string)) error {
			if key == "00042" {
				return misbehave()
			}
			return nil
		})
		_, _, err := newDisturbed(t, j).run(t, t.Context())
		if err == nil || !strings.Contains(err.Error(), "reduce r-0000") || !strings.Contains(err.Error(), "a bad key") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// A reducer that stands still holds up nobody: mappers end their work, and it goes on when it can.
func TestReducerStandsStill(t *testing.T) {
	d := newDisturbed(t, groups())
	d.spec.Slots = 2
	want, _ := d.steps(t)
	mapped := make(chan struct{}, 100)
	d.told = func(r job.AttemptReport) {
		if !r.Attempt.Task.IsReduce() {
			mapped <- struct{}{}
		}
	}
	var still atomic.Bool
	d.see = func(f frame, _ *relayed) {
		if f.toAgent || f.kind != runner.KindRuns || still.Swap(true) {
			return
		}
		for deadline := time.After(30 * time.Second); len(mapped) < 10; {
			select {
			case <-deadline:
				t.Errorf("only %d of 10 map tasks are done", len(mapped))
				return
			case <-time.After(time.Millisecond):
			}
		}
		time.Sleep(300 * time.Millisecond)
	}
	_, got, err := d.run(t, t.Context())
	if err != nil || !still.Load() || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v; stood still: %t; the output is the same: %t", err, still.Load(), fmt.Sprint(got) == fmt.Sprint(want))
	}
}
