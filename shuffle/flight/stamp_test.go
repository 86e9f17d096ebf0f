package flight

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/millrace/millrace/shuffle"
)

func ExampleStamp() {
	fmt.Println(Stamp{Job: "4f1c", Task: "m-00042", Attempt: 2, Incarnation: 7, Epoch: 3})
	// Output: m-00042 of job 4f1c, attempt 2, incarnation 7, epoch 3
}

func TestStamp(t *testing.T) {
	s := Stamp{Job: "4f1c", Task: "m-00042", Attempt: 2, Incarnation: 7, Epoch: 3}
	b, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	stamp, rest, err := splitStamp(append(bytes.Clone(b), "rest"...))
	if err != nil || !bytes.Equal(stamp, b) || string(rest) != "rest" || describe(stamp) != fmt.Sprintf("%q", s.String()) {
		t.Errorf("got %x, %q, %v: %s", stamp, rest, err, describe(stamp))
	}
	for i := range len(b) * 8 {
		bad := bytes.Clone(b)
		bad[i/8] ^= 1 << (i % 8)
		if _, _, err := splitStamp(bad); !errors.Is(err, shuffle.ErrCorrupt) {
			t.Errorf("bit %d flipped: %v, want ErrCorrupt", i, err)
		}
	}
	for n := range b {
		if _, _, err := splitStamp(b[:n]); !errors.Is(err, shuffle.ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v, want ErrCorrupt", n, err)
		}
	}
}

func FuzzStamp(f *testing.F) {
	b, _ := Stamp{Job: "4f1c", Task: "m-00042", Attempt: 2, Incarnation: 7, Epoch: 3}.encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		stamp, rest, err := splitStamp(data)
		if err == nil && (len(stamp)+len(rest) != len(data) || describe(stamp) == "") {
			t.Errorf("%d and %d of %d bytes", len(stamp), len(rest), len(data))
		}
	})
}
