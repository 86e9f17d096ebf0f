package shuffle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
)

// cut deals records to k runs and returns readers of them.
func cut(t testing.TB, rnd *rand.Rand, recs []record, k int, combine Combine) []*RunReader {
	parts := make([][]record, k)
	for _, r := range recs {
		i := rnd.IntN(k)
		parts[i] = append(parts[i], r)
	}
	var runs []*RunReader
	for i, p := range parts {
		run := seal(t, p, &SorterOptions{Combine: combine, Budget: 1 << 30})
		if len(p) > 0 {
			runs = append(runs, NewRunReader(bytes.NewReader(run.data), &RunOptions{Name: fmt.Sprint(i), Expect: &run.sections[0]}))
		}
	}
	return runs
}

func TestMergeIsASort(t *testing.T) {
	rnd := seeded(t)
	for _, n := range []int{0, 1, 10, 20_000} {
		recs := randomRecords(rnd, n, func() string { return fmt.Sprint(rnd.IntN(4)) })
		want := slices.Clone(recs)
		slices.SortFunc(want, compareRecords)
		for _, k := range []int{1, 2, 3, 7, 16, 33} {
			m := Merge(cut(t, rnd, recs, k, nil), nil)
			var got []record
			var keys []string
			for k, values := range m.Groups() {
				keys = append(keys, string(k))
				for v := range values {
					got = append(got, record{string(k), string(v)})
				}
			}
			if m.Err() != nil {
				t.Fatal(m.Err())
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d records in %d runs: the merge is not the sorted input", n, k)
			}
			if !slices.IsSorted(keys) || len(slices.Compact(slices.Clone(keys))) != len(keys) {
				t.Errorf("%d records in %d runs: a key came twice", n, k)
			}
			if got := m.Merged(); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", merged(want)) {
				t.Errorf("read %+v, want %+v", got, merged(want))
			}
			one := Merge(cut(t, rnd, recs, k, nil), nil)
			for _, _, ok := one.Next(); ok; _, _, ok = one.Next() {
			}
			if got := one.Merged(); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", merged(want)) {
				t.Errorf("read one by one %+v, want %+v", got, merged(want))
			}
		}
	}
}

// merged returns what a Merger says of sorted records.
func merged(recs []record) (m Merged) {
	size := int64(0)
	for i, r := range recs {
		if i == 0 || r.key != recs[i-1].key {
			m.Keys++
			size = 0
		}
		m.Records++
		m.Emitted++
		m.Bytes += int64(len(r.key) + len(r.value))
		if size++; size > m.Largest {
			m.Largest, m.Key = size, []byte(r.key)
		}
	}
	return m
}

func TestMergeCombines(t *testing.T) {
	rnd := seeded(t)
	recs := randomRecords(rnd, 5000, func() string { return string(rune('a' + rnd.IntN(26))) })
	want := map[string][]byte{}
	for _, r := range recs {
		want[r.key] = join(nil, want[r.key], []byte(r.value))
	}
	for _, k := range []int{1, 2, 9} {
		for _, early := range []Combine{nil, join} {
			m := Merge(cut(t, rnd, recs, k, early), join)
			got := 0
			for key, values := range m.Groups() {
				n := 0
				for acc := range values {
					n++
					if !bytes.Equal(acc, want[string(key)]) {
						t.Fatalf("key %q: got %d bytes, want %d", key, len(acc), len(want[string(key)]))
					}
				}
				if n != 1 {
					t.Fatalf("key %q has %d values, want 1", key, n)
				}
				got++
			}
			if m.Err() != nil || got != len(want) {
				t.Errorf("%d runs: got %d groups, %v; want %d", k, got, m.Err(), len(want))
			}
		}
	}
}

func TestMergeOfNothing(t *testing.T) {
	m := Merge(nil, nil)
	for k := range m.Groups() {
		t.Errorf("got key %q", k)
	}
	if m.Err() != nil {
		t.Error(m.Err())
	}
}

func TestMergeOneByOne(t *testing.T) {
	rnd := seeded(t)
	for k := range 5 {
		var recs []record
		for i := range k * 20 {
			recs = append(recs, record{fmt.Sprint(i / 7), fmt.Sprint(i % 7)})
		}
		var want, got []string
		for key, values := range Merge(cut(t, rnd, recs, k, nil), nil).Groups() {
			for value := range values {
				want = append(want, fmt.Sprintf("%s %s", key, value))
			}
		}
		m := Merge(cut(t, rnd, recs, k, nil), nil)
		for key, value, ok := m.Next(); ok; key, value, ok = m.Next() {
			got = append(got, fmt.Sprintf("%s %s", key, value))
		}
		if _, _, ok := m.Next(); ok || m.Err() != nil || len(got) != len(recs) || !slices.Equal(got, want) {
			t.Errorf("%d runs: got %v, want %v; %v", k, got, want, m.Err())
		}
	}
}

func TestValuesNeedNotBeRead(t *testing.T) {
	var recs []record
	for i := range 30 {
		recs = append(recs, record{fmt.Sprint(i / 10), fmt.Sprint(i % 10)})
	}
	rnd := seeded(t)
	for name, use := range map[string]func(iter.Seq[[]byte]) int{
		"none": func(iter.Seq[[]byte]) int { return 0 },
		"one": func(values iter.Seq[[]byte]) int {
			for range values {
				return 1
			}
			return 0
		},
		"twice": func(values iter.Seq[[]byte]) (n int) {
			for range values {
				if n++; n == 4 {
					break
				}
			}
			for range values { // the rest
				n++
			}
			for range values { // nothing is left
				n += 100
			}
			return n
		},
	} {
		m := Merge(cut(t, rnd, recs, 3, nil), nil)
		var got []string
		for k, values := range m.Groups() {
			got = append(got, fmt.Sprintf("%s:%d", k, use(values)))
		}
		want := map[string]string{"none": "[0:0 1:0 2:0]", "one": "[0:1 1:1 2:1]", "twice": "[0:10 1:10 2:10]"}[name]
		if fmt.Sprint(got) != want || m.Err() != nil {
			t.Errorf("%s: got %v, %v; want %s", name, got, m.Err(), want)
		}
	}
	m := Merge(cut(t, rnd, recs, 3, nil), nil)
	for range m.Groups() {
		break
	}
	if got := m.Merged(); got.Keys != 1 {
		t.Errorf("%+v after a break, want 1 key", got)
	}
}

func TestMergeReportsBadRuns(t *testing.T) {
	var recs []record
	for i := range 20_000 {
		recs = append(recs, record{fmt.Sprintf("%06d", i/2), ""})
	}
	for _, combine := range []Combine{nil, join} {
		good := seal(t, recs, nil)
		bad := bytes.Clone(good.data)
		bad[len(bad)-1] ^= 1 // all records come, the end is wrong
		m := Merge([]*RunReader{NewRunReader(bytes.NewReader(good.data), nil),
			NewRunReader(bytes.NewReader(bad), &RunOptions{Name: "m-00007.1"})}, combine)
		for _, values := range m.Groups() {
			for range values {
			}
		}
		if err := m.Err(); !errors.Is(err, ErrCorrupt) || !bytes.Contains([]byte(err.Error()), []byte("m-00007.1")) {
			t.Errorf("got %v, want ErrCorrupt with the run's name", err)
		}
	}
}

func BenchmarkMerge(b *testing.B) {
	const runs, each = 16, 20_000
	rnd := rand.New(rand.NewPCG(1, 1))
	one := binary.BigEndian.AppendUint64(nil, 1)
	var data [][]byte
	for range runs {
		var recs []record
		for range each {
			recs = append(recs, record{fmt.Sprintf("word%d", rnd.IntN(50_000)), string(one)})
		}
		data = append(data, seal(b, recs, nil).data)
	}
	for name, combine := range map[string]Combine{"groups": nil, "combine": sum} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				var rs []*RunReader
				for _, d := range data {
					rs = append(rs, NewRunReader(bytes.NewReader(d), nil))
				}
				m := Merge(rs, combine)
				for _, values := range m.Groups() {
					for v := range values {
						io.Discard.Write(v)
					}
				}
				if m.Err() != nil {
					b.Fatal(m.Err())
				}
			}
			b.ReportMetric(float64(b.N*runs*each)/1e6/b.Elapsed().Seconds(), "Mrecords/s")
		})
	}
}
