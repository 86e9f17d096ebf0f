package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func openTestLog(t testing.TB, c *Cluster, job string) *Log {
	t.Helper()
	l, err := c.Log(soon(t), job)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func lead(t testing.TB, l *Log, epoch uint64) {
	t.Helper()
	if err := l.Lead(soon(t), epoch); err != nil {
		t.Fatal(err)
	}
}

func add(t testing.TB, l *Log, epoch uint64, records ...string) {
	t.Helper()
	var rs [][]byte
	for _, r := range records {
		rs = append(rs, []byte(r))
	}
	if err := l.Append(soon(t), epoch, rs...); err != nil {
		t.Fatal(err)
	}
}

// contents returns the log as words: "2!" for the lead of epoch 2, "2:a" for a record in it.
func contents(t testing.TB, l *Log) string {
	t.Helper()
	var words []string
	for r, err := range l.Read(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Lead {
			words = append(words, fmt.Sprintf("%d!", r.Epoch))
		} else {
			words = append(words, fmt.Sprintf("%d:%s", r.Epoch, r.Data))
		}
	}
	return strings.Join(words, " ")
}

func TestLogKeepsOrder(t *testing.T) {
	c := embed(t, nil)
	l, other := openTestLog(t, c, "a"), openTestLog(t, c, "b")
	if got := contents(t, l); got != "" {
		t.Errorf("new log has %q", got)
	}
	lead(t, l, 1)
	lead(t, other, 9)
	add(t, l, 1, "spec")
	add(t, other, 9, "else")
	add(t, l, 1, "m-0", "m-1", "")
	if got, want := contents(t, l), "1! 1:spec 1:m-0 1:m-1 1:"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := contents(t, openTestLog(t, c, "b")), "9! 9:else"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestConcurrentAppendsOfOneCoordinator(t *testing.T) {
	c := embed(t, nil)
	l := openTestLog(t, c, "a")
	lead(t, l, 1)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 25 {
				add(t, l, 1, fmt.Sprintf("%d-%02d", g, i))
			}
		})
	}
	all.Wait()
	var got []string
	for r, err := range l.Read(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if !r.Lead {
			got = append(got, string(r.Data))
		}
	}
	if len(got) != 200 {
		t.Fatalf("got %d records, want 200", len(got))
	}
	last := map[string]string{} // each goroutine's records are in its order
	for _, r := range got {
		g := r[:1]
		if r <= last[g] {
			t.Errorf("%s came after %s", r, last[g])
		}
		last[g] = r
	}
}

func TestOldCoordinatorIsFenced(t *testing.T) {
	c := embed(t, nil)
	old, young := openTestLog(t, c, "a"), openTestLog(t, c, "a")
	lead(t, old, 1)
	add(t, old, 1, "a")
	lead(t, young, 2)
	for range 2 { // for good
		if err := old.Append(soon(t), 1, []byte("late")); !errors.Is(err, ErrFenced) {
			t.Errorf("append: %v, want ErrFenced", err)
		}
	}
	if err := old.Lead(soon(t), 3); !errors.Is(err, ErrFenced) {
		t.Errorf("a fenced log leads again: %v, want ErrFenced", err)
	}
	add(t, young, 2, "b")
	if got, want := contents(t, young), "1! 1:a 2! 2:b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReadFences(t *testing.T) {
	c := embed(t, nil)
	old, young := openTestLog(t, c, "a"), openTestLog(t, c, "a")
	lead(t, old, 1)
	lead(t, young, 5)
	var last error
	for _, err := range old.Read(soon(t)) {
		last = err
	}
	if !errors.Is(last, ErrFenced) {
		t.Errorf("read: %v, want ErrFenced", last)
	}
	if err := old.Append(soon(t), 1, []byte("x")); !errors.Is(err, ErrFenced) {
		t.Errorf("append after it: %v, want ErrFenced", err)
	}
}

func TestStaleEpochs(t *testing.T) {
	c := embed(t, nil)
	l := openTestLog(t, c, "a")
	lead(t, l, 4)
	for name, err := range map[string]error{
		"lead 4 again":        l.Lead(soon(t), 4),
		"lead 3":              l.Lead(soon(t), 3),
		"append in 3":         l.Append(soon(t), 3, []byte("x")),
		"lead 4 from another": openTestLog(t, c, "a").Lead(soon(t), 4),
	} {
		if !errors.Is(err, ErrFenced) {
			t.Errorf("%s: %v, want ErrFenced", name, err)
		}
	}
	for name, err := range map[string]error{
		"append in 5, not led": l.Append(soon(t), 5, []byte("x")),
		"append, never led":    openTestLog(t, c, "b").Append(soon(t), 0, []byte("x")),
	} {
		if err == nil || errors.Is(err, ErrFenced) {
			t.Errorf("%s: %v, want an error", name, err)
		}
	}
	add(t, l, 4, "still")
	if got, want := contents(t, l), "4! 4:still"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOneOfManyLeads(t *testing.T) {
	c := embed(t, nil)
	logs := make([]*Log, 8)
	for i := range logs {
		logs[i] = openTestLog(t, c, "a")
	}
	var all sync.WaitGroup
	errs := make([]error, len(logs))
	for i, l := range logs {
		all.Go(func() { errs[i] = l.Lead(soon(t), 1) })
	}
	all.Wait()
	won := 0
	for i, err := range errs {
		if err == nil {
			won++
			add(t, logs[i], 1, "won")
		} else if !errors.Is(err, ErrFenced) {
			t.Errorf("lead: %v, want ErrFenced", err)
		}
	}
	if won != 1 {
		t.Errorf("%d coordinators lead, want 1", won)
	}
	if got, want := contents(t, openTestLog(t, c, "a")), "1! 1:won"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLogLimits(t *testing.T) {
	c := embed(t, nil)
	l := openTestLog(t, c, "a")
	lead(t, l, 1)
	if err := l.Append(soon(t), 1, []byte("x"), make([]byte, MaxMessage)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	if err := l.Append(soon(t), 1, make([]byte, MaxMessage-10)); err != nil {
		t.Errorf("largest record: %v", err)
	}
	for _, job := range []string{"", "a.b", "*", "a b", strings.Repeat("x", 300)} {
		if _, err := c.Log(soon(t), job); err == nil {
			t.Errorf("Log(%.10q) succeeded", job)
		}
	}
}

func TestFullLogRefuses(t *testing.T) {
	c := embed(t, &Options{Memory: 4 << 20})
	l := openTestLog(t, c, "a")
	lead(t, l, 1)
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		err = l.Append(soon(t), 1, make([]byte, MaxMessage/2))
	}
	if err == nil || errors.Is(err, ErrUnknown) || errors.Is(err, ErrFenced) {
		t.Fatalf("after %d appends: %v, want a plain error", n, err)
	}
	got := 0
	for r, err := range l.Read(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if !r.Lead {
			got++
		}
	}
	if got != n-1 {
		t.Errorf("the log has %d records, want the %d before the error", got, n-1)
	}
}

func TestLogSurvivesInDir(t *testing.T) {
	dir := t.TempDir()
	c := embed(t, &Options{Dir: dir})
	l := openTestLog(t, c, "a")
	lead(t, l, 1)
	add(t, l, 1, "kept")
	c.Close()
	again := openTestLog(t, embed(t, &Options{Dir: dir}), "a")
	if again.Epoch() != 1 {
		t.Errorf("epoch %d, want 1", again.Epoch())
	}
	lead(t, again, 2)
	if got, want := contents(t, again), "1! 1:kept 2!"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A faultyStore does as its faults say, one for each put, and then as the real one.
type faultyStore struct {
	logStore
	faults []string
	hook   func()
}

var errTimeout = errors.New("no ack")

func (f *faultyStore) put(ctx context.Context, subject string, data []byte, last uint64) (uint64, error) {
	fault := ""
	if len(f.faults) > 0 {
		fault, f.faults = f.faults[0], f.faults[1:]
	}
	switch fault {
	case "lost": // the entry
		return 0, errTimeout
	case "spurious": // failure of the comparison
		return 0, errMoved
	case "taken elsewhere": // while a server that was cut off compares with what it knows
		f.logStore.put(ctx, subject, data, last)
		return 0, errMoved
	case "landed": // but the ack was lost
		f.logStore.put(ctx, subject, data, last)
		return 0, errTimeout
	case "landed, then overtaken":
		f.logStore.put(ctx, subject, data, last)
		f.hook()
		return 0, errTimeout
	case "overtaken":
		f.hook()
		return 0, errTimeout
	}
	return f.logStore.put(ctx, subject, data, last)
}

func TestAmbiguousAppend(t *testing.T) {
	for _, tt := range []struct {
		faults string // separated by |
		want   string // the log afterwards
		is     error
	}{
		{"lost", "1! 1:a 1:b", nil},
		{"spurious", "1! 1:a 1:b", nil},
		{"landed", "1! 1:a 1:b", nil},
		{"lost|landed", "1! 1:a 1:b", nil},
		{"taken elsewhere", "1! 1:a 1:b", nil},
		{"lost|spurious|lost", "1! 1:a 1:b", nil},
		{"landed, then overtaken", "1! 1:a 2!", ErrFenced},
		{"overtaken", "1! 2!", ErrFenced},
	} {
		t.Run(tt.faults, func(t *testing.T) {
			c := embed(t, nil)
			f := &faultyStore{logStore: natsStore{c, logStream}, hook: func() { lead(t, openTestLog(t, c, "j"), 2) }}
			l, err := openLog(soon(t), f, "j")
			if err != nil {
				t.Fatal(err)
			}
			lead(t, l, 1)
			f.faults = strings.Split(tt.faults, "|")
			if err := l.Append(soon(t), 1, []byte("a")); !errors.Is(err, tt.is) {
				t.Errorf("got %v, want %v", err, tt.is)
			}
			if tt.is == nil {
				add(t, l, 1, "b")
			}
			if got := contents(t, openTestLog(t, c, "j")); got != tt.want {
				t.Errorf("log has %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAppendGivesUpWithItsContext(t *testing.T) {
	for _, fault := range []string{"lost", "landed", "spurious", "taken elsewhere"} {
		c := embed(t, nil)
		f := &faultyStore{logStore: natsStore{c, logStream}}
		l, err := openLog(soon(t), f, "j")
		if err != nil {
			t.Fatal(err)
		}
		lead(t, l, 1)
		ctx, cancel := context.WithCancel(soon(t))
		f.faults = slices.Repeat([]string{fault}, 100)
		f.logStore = lastReads{f.logStore, cancel}
		if err := l.Append(ctx, 1, []byte("a")); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: got %v, want ErrUnknown", fault, err)
		}
		f.faults = nil
		add(t, l, 1, "b") // does not take its own entry for somebody else's
		want := "1! 1:b"
		if fault == "landed" || fault == "taken elsewhere" {
			want = "1! 1:a 1:b"
		}
		if got := contents(t, l); got != want {
			t.Errorf("%s: log has %q, want %q", fault, got, want)
		}
	}
}

// lastReads ends the context of who reads.
type lastReads struct {
	logStore
	cancel context.CancelFunc
}

func (s lastReads) next(ctx context.Context, subject string, seq uint64) (uint64, []byte, error) {
	s.cancel()
	return s.logStore.next(ctx, subject, seq)
}

func TestLostLogIsNotEmpty(t *testing.T) {
	c := embed(t, nil)
	l := openTestLog(t, c, "a")
	lead(t, l, 1)
	add(t, l, 1, "a")
	if err := c.js.DeleteStream(soon(t), logStream); err != nil {
		t.Fatal(err)
	}
	for _, err := range l.Read(soon(t)) {
		if err == nil {
			t.Error("read a record of a log that is gone")
		}
	}
	// The server may still be removing the old stream's files.
	reopen := func() error {
		_, err := c.js.CreateOrUpdateStream(soon(t), logConfig(jetstream.MemoryStorage, 1))
		return err
	}
	for end := time.Now().Add(10 * time.Second); reopen() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(reopen())
		}
	}
	if err := l.Append(soon(t), 1, []byte("b")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("append: %v, want ErrCorrupt", err)
	}
	n := 0
	for _, err := range l.Read(soon(t)) {
		if n++; !errors.Is(err, ErrCorrupt) {
			t.Errorf("read: %v, want ErrCorrupt", err)
		}
	}
	if n != 1 {
		t.Errorf("read yielded %d times, want one error", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	l := openTestLog(b, embed(b, nil), "a")
	lead(b, l, 1)
	record := make([]byte, 300)
	b.ResetTimer()
	for range b.N {
		if err := l.Append(context.Background(), 1, record); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	l := openTestLog(b, embed(b, nil), "a")
	lead(b, l, 1)
	for range 1000 {
		add(b, l, 1, "record")
	}
	b.ResetTimer()
	for range b.N {
		for _, err := range l.Read(context.Background()) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "records/s")
}
