package shuffle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

type record struct{ key, value string }

func compareRecords(a, b record) int {
	if c := bytes.Compare([]byte(a.key), []byte(b.key)); c != 0 {
		return c
	}
	return bytes.Compare([]byte(a.value), []byte(b.value))
}

// sum combines 8-byte big-endian counts.
func sum(dst, a, b []byte) []byte {
	return binary.BigEndian.AppendUint64(dst, binary.BigEndian.Uint64(a)+binary.BigEndian.Uint64(b))
}

// join combines byte strings of any length, as sorted bytes: commutative and associative, and it grows.
func join(dst, a, b []byte) []byte {
	n := len(dst)
	dst = append(append(dst, a...), b...)
	slices.Sort(dst[n:])
	return dst
}

func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// randomRecords returns records with repeated, empty, binary and prefix-sharing keys.
func randomRecords(rnd *rand.Rand, n int, value func() string) []record {
	recs := make([]record, n)
	for i := range recs {
		var key []byte
		switch rnd.IntN(4) {
		case 0:
			key = fmt.Appendf(nil, "word-%03d", rnd.IntN(300))
		case 1:
			key = make([]byte, rnd.IntN(10)) // zeros only: lengths decide
		case 2:
			key = binary.BigEndian.AppendUint64([]byte("shared prefix "), uint64(rnd.IntN(50)))
		default:
			key = make([]byte, rnd.IntN(12))
			for j := range key {
				key[j] = byte(rnd.IntN(3)) * 127
			}
		}
		recs[i] = record{string(key), value()}
	}
	return recs
}

// sealed is what a sorter wrote, in memory.
type sealed struct {
	data     []byte
	sections []Section
}

// section returns the only section of a partition.
func (s *sealed) section(p int) ([]byte, *Section) {
	for i := range s.sections {
		if sec := &s.sections[i]; sec.Partition == p {
			return s.data[sec.Offset : sec.Offset+sec.Length], sec
		}
	}
	return nil, &Section{}
}

func seal(t testing.TB, recs []record, opts *SorterOptions) *sealed {
	t.Helper()
	s := NewSorter(opts)
	defer s.Close()
	return sealBy(t, s, recs)
}

func sealBy(t testing.TB, s *Sorter, recs []record) *sealed {
	t.Helper()
	var buf bytes.Buffer
	s.Start(&buf, 0)
	for _, r := range recs {
		if err := s.Add([]byte(r.key), []byte(r.value)); err != nil {
			t.Fatal(err)
		}
	}
	sections, err := s.Seal()
	if err != nil {
		t.Fatal(err)
	}
	return &sealed{buf.Bytes(), sections}
}

func TestSealAndRead(t *testing.T) {
	rnd := seeded(t)
	for _, n := range []int{0, 1, 2, 1000, 50_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			const parts, secret = 3, 99
			recs := randomRecords(rnd, n, func() string { return fmt.Sprint(rnd.IntN(5)) })
			run := seal(t, recs, &SorterOptions{Partitions: parts, DigestKey: secret})
			want := make([][]record, parts)
			digests := make([]uint64, parts)
			for _, r := range recs {
				p := Partition([]byte(r.key), parts)
				want[p] = append(want[p], r)
				digests[p] += Digest(secret, []byte(r.key), []byte(r.value))
			}
			for p := range parts {
				slices.SortFunc(want[p], compareRecords)
				data, sec := run.section(p)
				var got []record
				if sec.Records > 0 {
					var err error
					if got, err = readAll(bytes.NewReader(data), &RunOptions{Expect: sec, DigestKey: secret}); err != nil {
						t.Fatal(err)
					}
				}
				if !slices.Equal(got, want[p]) {
					t.Errorf("partition %d: got %d records, want %d, or another order", p, len(got), len(want[p]))
				}
				if sec.Emitted != int64(len(want[p])) || sec.Records != sec.Emitted || sec.Digest != digests[p] {
					t.Errorf("partition %d: section %+v, want %d records with digest %x", p, sec, len(want[p]), digests[p])
				}
			}
		})
	}
}

func TestSorterCombines(t *testing.T) {
	rnd := seeded(t)
	recs := randomRecords(rnd, 10_000, func() string { return string(rune('a' + rnd.IntN(26))) })
	plain := seal(t, recs, &SorterOptions{Partitions: 2, DigestKey: 5})
	run := seal(t, recs, &SorterOptions{Partitions: 2, DigestKey: 5, Combine: join, Budget: 1 << 30})
	want := map[string][]byte{}
	for _, r := range recs {
		want[r.key] = join(nil, want[r.key], []byte(r.value))
	}
	seen := 0
	for p := range 2 {
		_, a := plain.section(p)
		data, b := run.section(p)
		if a.Emitted != b.Emitted || a.Digest != b.Digest {
			t.Errorf("partition %d: combined section %+v, plain %+v: counts and digest differ", p, b, a)
		}
		r := NewRunReader(bytes.NewReader(data), nil)
		for k, v := range r.All() {
			seen++
			if !bytes.Equal(v, want[string(k)]) {
				t.Fatalf("key %q: got %d bytes, want %d", k, len(v), len(want[string(k)]))
			}
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
	}
	if seen != len(want) {
		t.Errorf("got %d keys, want %d", seen, len(want))
	}
}

// A sorter never holds more than its budget, and what it cannot hold it writes.
func TestSorterBudget(t *testing.T) {
	for _, combine := range []Combine{nil, sum} {
		s := NewSorter(&SorterOptions{Budget: 1 << 20, Combine: combine})
		var file bytes.Buffer
		s.Start(&file, 0)
		const n = 100_000
		for i := range n {
			if err := s.Add(fmt.Appendf(nil, "%08d", i), make([]byte, 8)); err != nil {
				t.Fatal(err)
			}
			if s.Held() > 1<<20 {
				t.Fatalf("holds %d bytes, more than its budget", s.Held())
			}
		}
		sections, err := s.Seal()
		if err != nil || len(sections) < 4 {
			t.Fatalf("%d runs, %v; want some", len(sections), err)
		}
		var records int64
		for _, sec := range sections {
			records += sec.Records
		}
		if records != n || s.Emitted() != n {
			t.Errorf("%d records in runs, %d emitted, want %d", records, s.Emitted(), n)
		}
		s.Close()
	}
}

// Records and their items do not meet, however odd the budget.
func TestSorterFillsItsMemory(t *testing.T) {
	rnd := seeded(t)
	for odd := range int64(2 * itemSize) {
		var recs []record
		for range 3000 {
			recs = append(recs, record{fmt.Sprint(rnd.IntN(1000)), string(make([]byte, rnd.IntN(30)))})
		}
		s := NewSorter(&SorterOptions{Budget: sectionBuffers + leastMemory + odd})
		run := sealBy(t, s, recs)
		s.Close()
		var got []record
		for _, sec := range run.sections {
			one, err := readAll(bytes.NewReader(run.data[sec.Offset:]), &RunOptions{Expect: &sec})
			if err != nil {
				t.Fatalf("budget odd by %d: %v", odd, err)
			}
			got = append(got, one...)
		}
		slices.SortFunc(got, compareRecords)
		slices.SortFunc(recs, compareRecords)
		if !slices.Equal(got, recs) {
			t.Fatalf("budget odd by %d: other records", odd)
		}
	}
}

// A sorter that is started again, or was closed, writes what a new one does.
func TestSorterStartsAgain(t *testing.T) {
	rnd := seeded(t)
	s := NewSorter(&SorterOptions{Partitions: 4, Combine: join, Budget: 1 << 30})
	for i := range 3 {
		recs := randomRecords(rnd, 3000, func() string { return fmt.Sprint(rnd.IntN(9)) })
		want := seal(t, recs, &SorterOptions{Partitions: 4, Combine: join})
		if got := sealBy(t, s, recs); !bytes.Equal(got.data, want.data) {
			t.Fatal("a sorter that was started again seals other bytes than a new one")
		}
		if i == 1 {
			s.Close()
		}
	}
	s.Close()
}

func TestSorterTooLarge(t *testing.T) {
	concat := func(dst, a, b []byte) []byte { return append(append(dst, a...), b...) }
	s := NewSorter(&SorterOptions{Combine: concat})
	defer s.Close()
	s.Start(io.Discard, 0)
	if err := s.Add(nil, make([]byte, MaxRecord+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	half := make([]byte, MaxRecord/2)
	if err := s.Add([]byte("k"), half); err != nil {
		t.Fatal(err)
	}
	if err := s.Add([]byte("k"), half); !errors.Is(err, ErrTooLarge) {
		t.Errorf("combined: got %v, want ErrTooLarge", err)
	}
}

func TestLargeRecords(t *testing.T) {
	recs := []record{{"a", string(make([]byte, 3<<20))}, {"b", "x"}, {string(make([]byte, 2<<20)), ""}}
	run := seal(t, recs, nil)
	slices.SortFunc(recs, compareRecords)
	r := NewRunReader(bytes.NewReader(run.data), &RunOptions{Expect: &run.sections[0]})
	var got []record
	for k, v := range r.All() {
		got = append(got, record{string(k), string(v)})
	}
	if r.Err() != nil || !slices.Equal(got, recs) {
		t.Errorf("got %d records, %v; want %d", len(got), r.Err(), len(recs))
	}
}

func TestAddOfKnownKeyDoesNotAllocate(t *testing.T) {
	s := NewSorter(&SorterOptions{Partitions: 8, Combine: sum})
	defer s.Close()
	s.Start(io.Discard, 0)
	key, one := []byte("word"), binary.BigEndian.AppendUint64(nil, 1)
	for range 3 {
		s.Add(key, one)
	}
	if n := testing.AllocsPerRun(1000, func() { s.Add(key, one) }); n != 0 {
		t.Errorf("Add allocates %v times, want 0", n)
	}
}

func BenchmarkSorter(b *testing.B) {
	rnd := rand.New(rand.NewPCG(1, 1))
	zipf := rand.NewZipf(rnd, 1.1, 1, 50_000)
	words := make([][]byte, 1<<16)
	for i := range words {
		words[i] = fmt.Appendf(nil, "word%d", zipf.Uint64())
	}
	one := binary.BigEndian.AppendUint64(nil, 1)
	for name, combine := range map[string]Combine{"add": nil, "combine": sum} {
		b.Run(name, func(b *testing.B) {
			s := NewSorter(&SorterOptions{Partitions: 8, Combine: combine, Budget: 1 << 30})
			defer s.Close()
			s.Start(io.Discard, 0)
			b.ReportAllocs()
			for i := range b.N {
				if i&(1<<20-1) == 1<<20-1 {
					b.StopTimer()
					s.Start(io.Discard, 0)
					b.StartTimer()
				}
				if err := s.Add(words[i&(1<<16-1)], one); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/1e6/b.Elapsed().Seconds(), "Mrecords/s")
		})
	}
	b.Run("seal", func(b *testing.B) {
		s := NewSorter(&SorterOptions{Partitions: 8})
		defer s.Close()
		for range b.N {
			b.StopTimer()
			s.Start(io.Discard, 0)
			for _, w := range words {
				s.Add(w, one)
			}
			b.StartTimer()
			if _, err := s.Seal(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*len(words))/1e6/b.Elapsed().Seconds(), "Mrecords/s")
	})
}

// Records go where they are put, also after they were combined, moved and spilled.
func TestSorterPlaced(t *testing.T) {
	recs := randomRecords(seeded(t), 20_000, func() string { return "abcdefgh" })
	place := func(key string) int { return (len(key)*7 + int(append([]byte(key), 0)[0])) % 5 }
	for _, combine := range []Combine{nil, join} {
		want := make([]map[string]int, 5)
		for i := range want {
			want[i] = make(map[string]int)
		}
		var file bytes.Buffer
		s := NewSorter(&SorterOptions{Partitions: 5, Budget: 1, Combine: combine, DigestKey: 7, Placed: true})
		defer s.Close()
		s.Start(&file, 0)
		for _, r := range recs {
			p := place(r.key)
			if err := s.AddTo(p, []byte(r.key), []byte(r.value), 1); err != nil {
				t.Fatal(err)
			}
			want[p][r.key] += len(r.value)
		}
		sections, err := s.Seal()
		if err != nil {
			t.Fatal(err)
		}
		if len(sections) < 10 {
			t.Errorf("%d sections, want several of each partition", len(sections))
		}
		var emitted int64
		for i := range sections {
			sec := &sections[i]
			r := NewRunReader(bytes.NewReader(file.Bytes()[sec.Offset:]), &RunOptions{Expect: sec, DigestKey: 7})
			for key, value := range r.All() {
				if want[sec.Partition][string(key)] -= len(value); place(string(key)) != sec.Partition {
					t.Fatalf("%q is in partition %d", key, sec.Partition)
				}
			}
			if r.Err() != nil {
				t.Fatal(r.Err())
			}
			emitted += sec.Emitted
		}
		for p := range want {
			for key, n := range want[p] {
				if n != 0 {
					t.Fatalf("partition %d: %d bytes of %q are missing", p, n, key)
				}
			}
		}
		if emitted != int64(len(recs)) {
			t.Errorf("%d records were emitted, want %d", emitted, len(recs))
		}
	}
	s := NewSorter(&SorterOptions{Partitions: 2, Combine: join, Placed: true})
	defer s.Close()
	s.Start(io.Discard, 0)
	if err := s.AddTo(2, nil, nil, 1); err == nil {
		t.Error("a third partition of two was taken")
	}
	if err := s.AddTo(1, []byte("k"), []byte("v"), 1); err != nil {
		t.Fatal(err)
	}
	if err := s.AddTo(0, []byte("k"), []byte("v"), 1); err == nil {
		t.Error("a key is of two partitions")
	}
}
