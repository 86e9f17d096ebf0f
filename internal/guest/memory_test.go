package guest

import (
	"io"
	"strings"
	"testing"
)

// Objects that lie in shared memory, beside one in the stream: taken whole, read, read in part, left.
func TestObjectsInMemory(t *testing.T) {
	memory := []byte("..hellomill..")
	var stdin []byte
	put := func(key string, size int64, off, n int) {
		var err error
		if stdin, err = AppendMemory(stdin, &Meta{Key: key, Size: size}, off, n); err != nil {
			t.Fatal(err)
		}
	}
	put("a", 5, 2, 5)
	put("empty", 0, 13, 0)
	put("b", 4, 7, 4)
	stdin, err := AppendObject(stdin, &Meta{Key: "streamed", Size: 4}, []byte("body"))
	if err != nil {
		t.Fatal(err)
	}
	put("other size", 7, 2, 5)
	bodies := []string{"hello", "", "mill", "body", "hello"}
	open := func() *Objects {
		o := NewObjects(rough(strings.NewReader(string(stdin))), NewAnswers(io.Discard))
		o.Share(memory)
		return o
	}
	for _, inline := range []int{0, 4, 1000} {
		for _, limit := range []int64{0, 2, 1000} {
			o := open()
			for i, want := range bodies {
				if _, err := o.Next(); err != nil {
					t.Fatal(err)
				}
				whole, err := o.Inline(inline)
				if err != nil {
					t.Fatal(err)
				}
				if wantWhole := want != "" && len(want) <= inline && i < 4; (whole != nil) != wantWhole || wantWhole && string(whole) != want {
					t.Errorf("object %d: got %q inline, limit %d; want %q: %t", i, whole, inline, want, wantWhole)
				}
				if whole != nil {
					continue
				}
				got, err := io.ReadAll(io.LimitReader(o, limit))
				if want := want[:min(int64(len(want)), limit)]; err != nil || string(got) != want {
					t.Errorf("object %d: got %q, %v; want %q", i, got, err, want)
				}
			}
			if _, err := o.Next(); err != io.EOF {
				t.Errorf("after the last object: got %v; want EOF", err)
			}
		}
	}
	o := open()
	if _, err := o.Next(); err != nil {
		t.Fatal(err)
	}
	if p, err := o.Inline(5); err != nil || &p[0] != &memory[2] || cap(p) != 5 {
		t.Errorf("got %q of %d, %v; want it where it lies", p, cap(p), err)
	}
}
