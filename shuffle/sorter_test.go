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

// sealed is a run in memory.
type sealed struct {
	data     []byte
	sections []Section
}

func (s *sealed) section(p int) []byte {
	sec := s.sections[p]
	return s.data[sec.Offset : sec.Offset+sec.Length]
}

func seal(t testing.TB, recs []record, opts *SorterOptions) *sealed {
	t.Helper()
	s := NewSorter(opts)
	for _, r := range recs {
		if err := s.Add([]byte(r.key), []byte(r.value)); err != nil {
			t.Fatal(err)
		}
	}
	var buf bytes.Buffer
	sections, err := s.Seal(&buf)
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
				sec := run.sections[p]
				r := NewRunReader(bytes.NewReader(run.section(p)), &RunOptions{Expect: &sec, DigestKey: secret})
				var got []record
				for k, v := range r.All() {
					got = append(got, record{string(k), string(v)})
				}
				if err := r.Err(); err != nil {
					t.Fatal(err)
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
		if a, b := plain.sections[p], run.sections[p]; a.Emitted != b.Emitted || a.Digest != b.Digest {
			t.Errorf("partition %d: combined section %+v, plain %+v: counts and digest differ", p, b, a)
		}
		r := NewRunReader(bytes.NewReader(run.section(p)), nil)
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

func TestSorterBudget(t *testing.T) {
	for _, combine := range []Combine{nil, sum} {
		s := NewSorter(&SorterOptions{Budget: 1 << 20, Combine: combine})
		var err error
		added := 0
		for ; err == nil && added < 1_000_000; added++ {
			err = s.Add(fmt.Appendf(nil, "%08d", added), make([]byte, 8))
		}
		if !errors.Is(err, ErrMemory) {
			t.Fatalf("after %d records: %v, want ErrMemory", added, err)
		}
		if s.Held() > 1<<20 {
			t.Errorf("holds %d bytes, more than its budget", s.Held())
		}
		sections, err := s.Seal(io.Discard)
		if err != nil || sections[0].Records != int64(added-1) {
			t.Errorf("sealed %+v, %v; want the %d records before the error", sections, err, added-1)
		}
		s.Reset()
		if err := s.Add([]byte("k"), make([]byte, 8)); err != nil {
			t.Errorf("after Reset: %v", err)
		}
	}
}

func TestSorterReset(t *testing.T) {
	rnd := seeded(t)
	s := NewSorter(&SorterOptions{Partitions: 4, Combine: join, Budget: 1 << 30})
	for range 3 {
		recs := randomRecords(rnd, 3000, func() string { return fmt.Sprint(rnd.IntN(9)) })
		want := seal(t, recs, &SorterOptions{Partitions: 4, Combine: join})
		for _, r := range recs {
			if err := s.Add([]byte(r.key), []byte(r.value)); err != nil {
				t.Fatal(err)
			}
		}
		var buf bytes.Buffer
		if _, err := s.Seal(&buf); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(buf.Bytes(), want.data) {
			t.Fatal("a sorter that was reset seals other bytes than a new one")
		}
		s.Reset()
	}
}

func TestSorterTooLarge(t *testing.T) {
	concat := func(dst, a, b []byte) []byte { return append(append(dst, a...), b...) }
	s := NewSorter(&SorterOptions{Combine: concat})
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
			b.ReportAllocs()
			for i := range b.N {
				if s.Add(words[i&(1<<16-1)], one) != nil || combine == nil && i&(1<<20-1) == 1<<20-1 {
					s.Reset()
				}
			}
			b.ReportMetric(float64(b.N)/1e6/b.Elapsed().Seconds(), "Mrecords/s")
		})
	}
	b.Run("seal", func(b *testing.B) {
		s := NewSorter(&SorterOptions{Partitions: 8})
		for _, w := range words {
			s.Add(w, one)
		}
		for range b.N {
			if _, err := s.Seal(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*len(words))/1e6/b.Elapsed().Seconds(), "Mrecords/s")
	})
}
