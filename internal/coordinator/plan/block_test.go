package plan

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

func sampleBlock(t testing.TB) ([]byte, []Object) {
	var e encoder
	want := []Object{
		{0, "a", 0, "", time.Time{}},
		{0, "\xff\n/", 1 << 62, `W/"x"`, time.Date(1931, 1, 1, 0, 0, 0, 999_999_999, time.UTC)},
		{7, store.Key(strings.Repeat("k", 1024)), 5, strings.Repeat("e", 300), day},
		{0, "a", 5, "again", day},
	}
	for _, o := range want {
		e.add(o.Input, &store.Object{Key: o.Key, Size: o.Size, ETag: o.ETag, Modified: o.Modified})
	}
	block, _ := e.seal(nil)
	return block, want
}

func TestBlock(t *testing.T) {
	block, want := sampleBlock(t)
	got, err := decode(block)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestBlockDamaged(t *testing.T) {
	block, _ := sampleBlock(t)
	for i := range block {
		for bit := range 8 {
			b := slices.Clone(block)
			b[i] ^= 1 << bit
			if _, err := decode(b); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("byte %d, bit %d flipped: got error %v, want %v", i, bit, err, ErrCorrupt)
			}
		}
		if _, err := decode(block[:i]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d bytes: got error %v, want %v", i, err, ErrCorrupt)
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	area := NewDirArea(t.TempDir())
	defer area.Close()
	block, want := sampleBlock(t)
	shard, off, err := area.Write(t.Context(), 0, block)
	if err != nil {
		t.Fatal(err)
	}
	good := job.Split{Task: "m-00000", Shard: shard, Offset: off, Length: int64(len(block)), Objects: len(want), Bytes: 1<<62 + 10}
	if _, err := Open(area).Split(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		change func(*job.Split)
		want   string
	}{
		{func(s *job.Split) { s.Shard = "../x" }, `plan of m-00000: shard "../x": not a name of one`},
		{func(s *job.Split) { s.Offset = -1 }, "corrupt plan: block of"},
		{func(s *job.Split) { s.Offset = 1 }, "corrupt plan: shard ends early"},
		{func(s *job.Split) { s.Length = 1 << 40 }, "corrupt plan: block of 1099511627776 bytes"},
		{func(s *job.Split) { s.Length-- }, "corrupt plan: block of"},
		{func(s *job.Split) { s.Objects++ }, "corrupt plan: 4 objects of"},
		{func(s *job.Split) { s.Bytes++ }, "corrupt plan: 4 objects of"},
	}
	for _, tt := range tests {
		s := good
		tt.change(&s)
		if _, err := Open(area).Split(t.Context(), s); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got error %v, want %s", s, err, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	block, _ := sampleBlock(f)
	f.Add(block)
	f.Add(block[:headerLen])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		decode(b) // must only not panic
		// As the checksum keeps chance away from the payload, that is also tried by itself.
		objects, err := parse(b)
		if err != nil {
			return
		}
		var e encoder
		for _, o := range objects {
			e.add(o.Input, &store.Object{Key: o.Key, Size: o.Size, ETag: o.ETag, Modified: o.Modified})
		}
		block, _ := e.seal(nil)
		again, err := decode(block)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(objects) {
			t.Fatalf("got %v, %v after encoding again, want %v", again, err, objects)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	objects := mails(200_000).objects
	var e encoder
	var size int
	for b.Loop() {
		size = 0
		for i := range objects {
			e.add(0, &objects[i])
			if e.count == MaxObjects {
				block, _ := e.seal(nil)
				size += len(block)
			}
		}
		e.seal(nil)
	}
	b.ReportMetric(float64(size)/float64(len(objects)), "B/object")
}

func BenchmarkDecode(b *testing.B) {
	objects := mails(MaxObjects).objects
	var e encoder
	for i := range objects {
		e.add(0, &objects[i])
	}
	block, _ := e.seal(nil)
	block = bytes.Clone(block)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode(block); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(objects)), "ns/object")
}
