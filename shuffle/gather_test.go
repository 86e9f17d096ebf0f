package shuffle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
)

// A memFile is a file in memory, in which things can go wrong.
type memFile struct {
	data  []byte
	room  int // bytes until a write fails; 0: any number
	short bool
	flip  int // byte of which a bit turns after it was written; 0: none
}

func (f *memFile) Write(p []byte) (int, error) {
	n := len(p)
	if f.room > 0 && len(f.data)+n > f.room {
		n = f.room - len(f.data)
	}
	f.data = append(f.data, p[:n]...)
	if f.flip > 0 && f.flip < len(f.data) {
		f.data[f.flip] ^= 4
		f.flip = 0
	}
	if n < len(p) && !f.short {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(f.data).ReadAt(p, off)
}

// A trial is one way to sort records: how they are dealt to attempts, and with how much memory.
type trial struct {
	attempts, partitions, fan int
	ahead                     int // runs that come before it is known how many do
	sortBudget, mergeBudget   int64
	early, late               Combine
	file                      func() *memFile // of an attempt; nil: one that works
	spill                     *memFile        // of the merge
	runs, merged              int             // that there were, and partitions that were merged in several steps
}

func randomTrial(rnd *rand.Rand) *trial {
	return &trial{
		attempts: 1 + rnd.IntN(5), partitions: 1 + rnd.IntN(4), fan: 2 + rnd.IntN(9), ahead: rnd.IntN(30),
		sortBudget: 1 + rnd.Int64N(1<<20), mergeBudget: 1 + rnd.Int64N(4<<20),
	}
}

// run sorts recs and returns what the reducers of all partitions get.
func (x *trial) run(rnd *rand.Rand, recs []record) (got []record, err error) {
	const secret = 7
	var files []*memFile
	var tables [][]Section
	deal := make([][]record, x.attempts)
	for _, r := range recs {
		i := rnd.IntN(x.attempts)
		deal[i] = append(deal[i], r)
	}
	s := NewSorter(&SorterOptions{Partitions: x.partitions, Budget: x.sortBudget, Combine: x.early, DigestKey: secret})
	defer s.Close()
	for _, part := range deal {
		f := &memFile{}
		if x.file != nil {
			f = x.file()
		}
		s.Start(f, 0)
		for _, r := range part {
			if err := s.Add([]byte(r.key), []byte(r.value)); err != nil {
				return nil, err
			}
		}
		sections, err := s.Seal()
		if err != nil {
			return nil, err
		}
		if s.Emitted() != int64(len(part)) || s.Spilled() != int64(len(f.data)) {
			return nil, fmt.Errorf("%d emitted and %d bytes, want %d and %d", s.Emitted(), s.Spilled(), len(part), len(f.data))
		}
		if sections, err = ParseTable(AppendTable(nil, sections), x.partitions, int64(len(f.data))); err != nil {
			return nil, err
		}
		files, tables = append(files, f), append(tables, sections)
		x.runs += len(sections)
	}
	for p := range x.partitions {
		one, err := x.merge(p, files, tables)
		if err != nil {
			return nil, err
		}
		got = append(got, one...)
	}
	return got, nil
}

func (x *trial) merge(p int, files []*memFile, tables [][]Section) (got []record, err error) {
	var runs []Run
	open := 0
	for i, sections := range tables {
		for _, sec := range sections {
			if sec.Partition == p {
				runs = append(runs, Run{Name: fmt.Sprintf("m-%05d.1", i), File: files[i], Section: sec, Done: func() { open-- }})
			}
		}
	}
	spill := &memFile{}
	if x.spill != nil {
		spill = x.spill
	}
	g := NewGather(&GatherOptions{Budget: x.mergeBudget, Combine: x.late, DigestKey: 7, Spill: spill, Fan: x.fan})
	defer func() {
		g.Close()
		if open != 0 && err == nil {
			err = fmt.Errorf("%d runs were not let go", open)
		}
	}()
	ahead := min(x.ahead, len(runs))
	for i := 0; ; i++ {
		if i == ahead {
			if err := g.Total(len(runs)); err != nil {
				return nil, err
			}
		}
		if open > x.fan && i >= ahead {
			return nil, fmt.Errorf("%d runs are open, more than %d", open, x.fan)
		}
		if i == len(runs) {
			break
		}
		open++
		if err := g.Add(runs[i]); err != nil {
			return nil, err
		}
		for more := i < ahead && i%3 == 0; more; {
			var err error
			if more, err = g.Ahead(); err != nil {
				return nil, err
			}
		}
	}
	m, err := g.Merge()
	if err != nil {
		return nil, err
	}
	if len(m.runs) > x.fan {
		return nil, fmt.Errorf("%d runs are merged at once, more than %d", len(m.runs), x.fan)
	}
	for k, values := range m.Groups() {
		for v := range values {
			got = append(got, record{string(k), string(v)})
		}
	}
	if len(spill.data) > 0 {
		x.merged++
	}
	return got, m.Err()
}

// reference is what any trial with as many partitions is to give.
func reference(recs []record, partitions int, combine Combine) (want []record) {
	parts := make([][]record, partitions)
	for _, r := range recs {
		p := Partition([]byte(r.key), partitions)
		parts[p] = append(parts[p], r)
	}
	for _, part := range parts {
		slices.SortFunc(part, compareRecords)
		for i, r := range part {
			if n := len(want); combine != nil && i > 0 && want[n-1].key == r.key {
				want[n-1].value = string(combine(nil, []byte(want[n-1].value), []byte(r.value)))
				continue
			}
			want = append(want, r)
		}
	}
	return want
}

// Any budget, any number of runs and any fan-in give the bytes of a sort in memory.
func TestAnyBudgetSortsAlike(t *testing.T) {
	rnd := seeded(t)
	trials := 24
	if testing.Short() {
		trials = 8
	}
	merged, runs := 0, 0
	for i := range trials {
		n := rnd.IntN(20_000)
		long := 0
		recs := randomRecords(rnd, n, func() string {
			if long < 3 && rnd.IntN(n) == 0 {
				long++
				return string(bytes.Repeat([]byte{byte(rnd.IntN(3))}, rnd.IntN(2<<20)))
			}
			return fmt.Sprint(rnd.IntN(9))
		})
		var combine Combine
		if i%2 == 1 {
			combine = join
			for i := range recs {
				recs[i].value = recs[i].value[:min(len(recs[i].value), 100)]
			}
		}
		x := randomTrial(rnd)
		if x.late = combine; rnd.IntN(3) > 0 {
			x.early = combine
		}
		got, err := x.run(rnd, recs)
		if err != nil {
			t.Fatalf("%+v: %v", x, err)
		}
		if want := reference(recs, x.partitions, combine); !slices.Equal(got, want) {
			t.Fatalf("%+v: got %d records, want %d, or others", x, len(got), len(want))
		}
		runs += x.runs
		merged += x.merged
	}
	t.Logf("%d runs, %d partitions merged in several steps", runs, merged)
	if merged == 0 || runs < 10*trials {
		t.Errorf("%d runs, %d merged in several steps: that tests little", runs, merged)
	}
}

// A full disk, a short write or a flipped bit is an error that says so, and never other records.
func TestFilesGoWrong(t *testing.T) {
	rnd := seeded(t)
	recs := randomRecords(rnd, 20_000, func() string { return fmt.Sprint(rnd.IntN(1000)) })
	base := trial{attempts: 2, partitions: 2, fan: 3, sortBudget: 1, mergeBudget: 1}
	whole := base
	whole.file = func() *memFile { return &memFile{} }
	want, err := whole.run(rnd, recs)
	if err != nil || whole.merged == 0 {
		t.Fatalf("%v, %d merged", err, whole.merged)
	}
	for range 3 {
		at := 1 + rnd.IntN(30_000)
		for _, c := range []struct {
			name string
			file memFile
			want error
		}{
			{"full disk", memFile{room: at}, syscall.ENOSPC},
			{"short write", memFile{room: at, short: true}, io.ErrShortWrite},
			{"flipped bit", memFile{flip: at}, ErrCorrupt},
		} {
			for _, merging := range []bool{false, true} {
				x, file := base, c.file
				if merging {
					x.spill = &file
				} else {
					x.file = func() *memFile { f := file; return &f }
				}
				got, err := x.run(rnd, recs)
				if !errors.Is(err, c.want) {
					t.Errorf("%s at %d, merging %t: got %v, want %v; %d records of %d", c.name, at, merging, err, c.want, len(got), len(want))
				}
				var bad *RunError
				if c.want == ErrCorrupt && errors.As(err, &bad) == merging {
					t.Errorf("%s at %d, merging %t: the error names %+v", c.name, at, merging, bad)
				}
			}
		}
	}
}

func TestSpillLimit(t *testing.T) {
	s := NewSorter(&SorterOptions{Budget: 1})
	defer s.Close()
	f := &memFile{}
	s.Start(f, 100_000)
	var err error
	for i := 0; err == nil && i < 1_000_000; i++ {
		err = s.Add(fmt.Appendf(nil, "%x", rand.Uint64()), nil)
	}
	if !errors.Is(err, ErrSpace) || len(f.data) > 100_000 {
		t.Errorf("got %v with %d bytes written, want ErrSpace with at most 100,000", err, len(f.data))
	}
	if _, again := s.Seal(); !errors.Is(again, ErrSpace) {
		t.Errorf("sealed all the same: %v", again)
	}
}

// Many values of one key are streamed: they need not fit into memory, neither while they are sorted nor when they are merged.
func TestOneKey(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const n = 100_000
	s := NewSorter(&SorterOptions{Budget: 1 << 20})
	defer s.Close()
	s.Start(f, 0)
	for i := range n {
		if err := s.Add([]byte("key"), fmt.Appendf(nil, "%09d", i*7%n)); err != nil {
			t.Fatal(err)
		}
	}
	sections, err := s.Seal()
	if err != nil {
		t.Fatal(err)
	}
	g := NewGather(&GatherOptions{Budget: 1 << 20, Spill: &memFile{}})
	defer g.Close()
	for _, sec := range sections {
		if err := g.Add(Run{File: f, Section: sec}); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Total(len(sections)); err != nil {
		t.Fatal(err)
	}
	m, err := g.Merge()
	if err != nil {
		t.Fatal(err)
	}
	groups, next := 0, 0
	for _, values := range m.Groups() {
		groups++
		for v := range values {
			if want := fmt.Sprintf("%09d", next); string(v) != want {
				t.Fatalf("got %q, want %q", v, want)
			}
			next++
		}
	}
	if m.Err() != nil || groups != 1 || next != n {
		t.Errorf("%d groups of %d values, %v", groups, next, m.Err())
	}
}

func TestTables(t *testing.T) {
	good := []Section{{Partition: 0, Length: 50, Records: 2, Emitted: 3, Block: 9}, {Partition: 2, Offset: 50, Length: 50, Records: 1, Emitted: 1, Block: 9}}
	if got, err := ParseTable(AppendTable(nil, good), 3, 100); err != nil || !slices.Equal(got, good) {
		t.Errorf("got %+v, %v; want %+v", got, err, good)
	}
	for name, change := range map[string]func(s []Section){
		"partition":        func(s []Section) { s[1].Partition = 3 },
		"order":            func(s []Section) { s[0].Partition = 2; s[1].Partition = 1 },
		"offset":           func(s []Section) { s[1].Offset = 51 },
		"negative offset":  func(s []Section) { s[1].Offset = -1 },
		"length":           func(s []Section) { s[0].Length = 101 },
		"huge":             func(s []Section) { s[1].Offset, s[1].Length = 1<<63-1, 1<<63-1 },
		"no records":       func(s []Section) { s[0].Records = 0 },
		"more than came":   func(s []Section) { s[0].Records = 4 },
		"negative emitted": func(s []Section) { s[0].Emitted = -1 },
		"block":            func(s []Section) { s[0].Block = maxBlock + 1 },
	} {
		s := slices.Clone(good)
		change(s)
		if _, err := ParseTable(AppendTable(nil, s), 3, 100); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
	if _, err := ParseTable(make([]byte, 57), 3, 100); !errors.Is(err, ErrCorrupt) {
		t.Errorf("57 bytes: got %v, want ErrCorrupt", err)
	}
}

// Sorting by eight bytes at a time gives the order of bytes, whatever keys have in common.
func TestRadixSort(t *testing.T) {
	rnd := seeded(t)
	for name, key := range map[string]func() string{
		"random":     func() string { return fmt.Sprint(rnd.Uint64()) },
		"one key":    func() string { return "the same" },
		"zeros":      func() string { return string(make([]byte, rnd.IntN(40))) },
		"long":       func() string { return string(make([]byte, 1000)) + fmt.Sprint(rnd.IntN(100)) },
		"user names": func() string { return fmt.Sprintf("user-%09d@example.com", rnd.IntN(5000)) },
	} {
		recs := make([]record, 2000)
		for i := range recs {
			recs[i] = record{key(), key()}
		}
		run := seal(t, recs, nil)
		slices.SortFunc(recs, compareRecords)
		got, err := readAll(bytes.NewReader(run.data), nil)
		if err != nil || !slices.Equal(got, recs) {
			t.Errorf("%s: got %d records, %v, or another order", name, len(got), err)
		}
	}
}

// While it waits, a Gather merges what a combiner makes smaller, and nothing else: what is only sorted is not written twice.
func TestAhead(t *testing.T) {
	same := func(int) string { return "key" }
	other := func(i int) string { return fmt.Sprint("key", i) }
	for _, c := range []struct {
		name    string
		combine Combine
		key     func(i int) string
		runs    int
		limit   int64
		left    int // runs that are merged at last
		written bool
	}{
		{"without a combiner", nil, same, 20, 0, 20, false},
		{"too few", join, same, leastAhead - 1, 0, leastAhead - 1, false},
		{"little room", join, same, 20, 100, 20, false},
		{"one key", join, same, 16 + 16 + leastAhead, 0, 3, true},
		{"one key and some", join, same, 16 + leastAhead - 1, 0, leastAhead, true},
		{"other keys", join, other, 40, 0, 40 - 16 + 1, true}, // it tries once
	} {
		t.Run(c.name, func(t *testing.T) {
			spill := &memFile{}
			g := NewGather(&GatherOptions{Combine: c.combine, DigestKey: 7, Spill: spill, Limit: c.limit})
			defer g.Close()
			var recs []record
			s := NewSorter(&SorterOptions{DigestKey: 7})
			defer s.Close()
			for i := range c.runs {
				r := record{c.key(i), fmt.Sprint(i)}
				recs = append(recs, r)
				run := sealBy(t, s, []record{r})
				if err := g.Add(Run{File: bytes.NewReader(run.data), Section: run.sections[0]}); err != nil {
					t.Fatal(err)
				}
			}
			for more := true; more; {
				var err error
				if more, err = g.Ahead(); err != nil {
					t.Fatal(err)
				}
			}
			if err := g.Total(c.runs); err != nil {
				t.Fatal(err)
			}
			m, err := g.Merge()
			if err != nil {
				t.Fatal(err)
			}
			if len(m.runs) != c.left || (len(spill.data) > 0) != c.written {
				t.Errorf("%d runs are left and %d bytes were written", len(m.runs), len(spill.data))
			}
			var got []record
			for key, value, ok := m.Next(); ok; key, value, ok = m.Next() {
				got = append(got, record{string(key), string(value)})
			}
			slices.SortFunc(recs, compareRecords)
			if want := reference(recs, 1, c.combine); !slices.Equal(got, want) || m.Err() != nil {
				t.Errorf("got %v, %v, want %v", got, m.Err(), want)
			}
		})
	}
}

// More runs than were announced, or fewer, are an error and never a shorter result.
func TestTotal(t *testing.T) {
	for _, c := range []struct{ runs, total int }{{2, 1}, {1, 2}, {0, 1}, {1, 0}} {
		g := NewGather(&GatherOptions{Spill: &memFile{}})
		run := seal(t, []record{{"k", "v"}}, nil)
		var err error
		for range c.runs {
			err = errors.Join(err, g.Add(Run{File: bytes.NewReader(run.data), Section: run.sections[0]}))
		}
		err = errors.Join(err, g.Total(c.total))
		if err == nil {
			_, err = g.Merge()
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d runs of %d: got %v, want ErrCorrupt", c.runs, c.total, err)
		}
		g.Close()
	}
}
