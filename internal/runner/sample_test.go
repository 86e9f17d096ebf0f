package runner

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

func TestSample(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 1000, 12345} {
		s := &sample{most: 4, every: 1}
		for i := range n {
			if err := s.add(fmt.Appendf(nil, "%06d", i)); err != nil {
				t.Fatal(err)
			}
		}
		if len(s.keys) > 8 || len(s.keys) < min(n, 4) {
			t.Errorf("%d keys of %d", len(s.keys), n)
		}
		for i, key := range s.keys {
			if want := fmt.Sprintf("%06d", int64(i)*s.every); string(key) != want {
				t.Errorf("of %d: key %d is %s, want %s", n, i, key, want)
			}
		}
	}
	s := &sample{most: 4, every: 1}
	if _ = s.add(make([]byte, 1000)); len(s.keys[0]) != maxSampled {
		t.Errorf("a key of %d bytes", len(s.keys[0]))
	}
}

func TestSampleTravels(t *testing.T) {
	a, b := pair(t)
	s := &sample{most: 2000, every: 1}
	for i := range 3000 {
		_ = s.add(bytes.Repeat(fmt.Appendf(nil, "%d,", i), i%100))
	}
	want := slices.Clone(s.keys)
	sent := make(chan error, 1)
	go func() {
		err := s.send(a)
		a.Hang()
		sent <- err
	}()
	var got [][]byte
	for {
		k, p, _, err := b.Recv()
		if err != nil {
			break
		}
		keys, err := Keys(p)
		if k != KindKeys || err != nil {
			t.Fatalf("frame %c: %v", k, err)
		}
		got = append(got, keys...)
	}
	if err := <-sent; err != nil || !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("got %d keys, want %d, or others; %v", len(got), len(want), err)
	}
	for _, bad := range []string{"\x01", "\x02\x00a", "\x00\x00\xff\xff"} {
		if _, err := Keys([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestRanges(t *testing.T) {
	if ranges(nil) != nil {
		t.Error("no cuts make ranges")
	}
	p := ranges([][]byte{[]byte("b"), []byte("d"), []byte("d")})
	for key, want := range map[string]int{"": 0, "a": 0, "b": 1, "b\x00": 1, "c": 1, "d": 3, "zz": 3} {
		if got := p([]byte(key)); got != want {
			t.Errorf("%q is of partition %d, want %d", key, got, want)
		}
	}
}
