package shuffle

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
)

// A partitionSum is all that a sorter wrote of one partition.
type partitionSum struct {
	emitted int64
	digest  uint64
	values  map[string]string
}

// Records that are added many at a time come to the same as one by one, digest and all.
func TestSorterTimes(t *testing.T) {
	r := seeded(t)
	recs := randomRecords(r, 3000, func() string { return "abcdefgh"[:1+r.IntN(3)] })
	for _, tt := range []struct {
		name    string
		combine Combine
		budget  int64
		most    int
	}{{"combined", join, 0, 40}, {"combined, no memory", join, 1, 40}, {"kept", nil, 0, 5}, {"kept, no memory", nil, 1, 5}} {
		add := func(many bool) []partitionSum {
			var file bytes.Buffer
			s := NewSorter(&SorterOptions{Partitions: 3, Budget: tt.budget, Combine: tt.combine, DigestKey: 7})
			defer s.Close()
			s.Start(&file, 0)
			for i, rec := range recs {
				n := 1 + i%tt.most
				if many {
					if err := s.AddTimes([]byte(rec.key), []byte(rec.value), int64(n)); err != nil {
						t.Fatal(err)
					}
					continue
				}
				for range n {
					if err := s.Add([]byte(rec.key), []byte(rec.value)); err != nil {
						t.Fatal(err)
					}
				}
			}
			emitted := s.Emitted()
			sections, err := s.Seal()
			if err != nil {
				t.Fatal(err)
			}
			sums := make([]partitionSum, 3)
			for i := range sections {
				sec := &sections[i]
				p := &sums[sec.Partition]
				if p.values == nil {
					p.values = make(map[string]string)
				}
				p.emitted += sec.Emitted
				p.digest += sec.Digest
				emitted -= sec.Emitted
				rr := NewRunReader(bytes.NewReader(file.Bytes()[sec.Offset:]), &RunOptions{Expect: sec, DigestKey: 7})
				for key, value := range rr.All() {
					p.values[string(key)] = string(join(nil, []byte(p.values[string(key)]), value))
				}
				if rr.Err() != nil {
					t.Fatal(rr.Err())
				}
			}
			if emitted != 0 {
				t.Errorf("%s: %d records are missing in the sections", tt.name, emitted)
			}
			return sums
		}
		if got, want := add(true), add(false); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: many at a time come to something else", tt.name)
		}
	}
	s := NewSorter(&SorterOptions{Combine: join})
	defer s.Close()
	s.Start(io.Discard, 0)
	if err := s.AddTimes([]byte("k"), make([]byte, MaxRecord/2+1), 1<<40); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a value that combines to more than there may be: %v", err)
	}
	if err := s.AddTimes([]byte("k"), nil, 2); err != nil || s.Emitted() != 2 {
		t.Errorf("after that: %d records, %v", s.Emitted(), err)
	}
}
