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

func TestTicket(t *testing.T) {
	s := Stamp{Job: "4f1c", Task: "r-00007", Attempt: 2, Incarnation: 7, Epoch: 3}
	b, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	ticket := encodeTicket(b, []byte{5, 0, 0, 0, 0, 0, 0, 0}, "runs", []byte("which?"))
	stamp, pieces, name, question, err := parseTicket(ticket)
	if err != nil || !bytes.Equal(stamp, b) || pieces != 5 || name != "runs" || string(question) != "which?" {
		t.Errorf("got %x, %d, %q, %q, %v", stamp, pieces, name, question, err)
	}
	if got, err := parse(stamp); got != s || err != nil {
		t.Errorf("got %v, %v, want %v", got, err, s)
	}
	for n := range len(ticket) - len(question) {
		if _, _, _, _, err := parseTicket(ticket[:n]); !errors.Is(err, shuffle.ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v, want ErrCorrupt", n, err)
		}
	}
}

func FuzzTicket(f *testing.F) {
	b, _ := Stamp{Job: "4f1c", Task: "r-00007", Attempt: 2, Incarnation: 7, Epoch: 3}.encode()
	f.Add(encodeTicket(b, make([]byte, 8), "runs", []byte("which?")))
	f.Fuzz(func(t *testing.T, data []byte) {
		stamp, pieces, name, question, err := parseTicket(data)
		if err != nil {
			return
		}
		again := encodeTicket(stamp, data[len(stamp):len(stamp)+8], name, question)
		if !bytes.Equal(again, data) {
			t.Errorf("%d pieces, %q, %q come from %x, not %x", pieces, name, question, again, data)
		}
		if s, err := parse(stamp); err == nil {
			if b, err := s.encode(); err != nil || !bytes.Equal(b, stamp) {
				t.Errorf("%v comes from %x, %v, not %x", s, b, err, stamp)
			}
		}
	})
}
