package inflate

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

var formats = []Format{Gzip, Zlib, Deflate, Zstd}

// pack compresses b.
func pack(t testing.TB, f Format, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch f {
	case Gzip:
		w = gzip.NewWriter(&out)
	case Zlib:
		w = zlib.NewWriter(&out)
	case Deflate:
		w, err = flate.NewWriter(&out, 6)
	case Zstd:
		w, err = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	}
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestDecode(t *testing.T) {
	text := []byte(strings.Repeat("invoice 12 is due; ", 10_000))
	d := &Decoder{} // the same for all: an error leaves nothing behind
	for _, f := range formats {
		p := pack(t, f, text)
		flipped := bytes.Clone(p)
		flipped[len(flipped)/2] ^= 0x55
		tests := []struct {
			name string
			src  []byte
			room int
			want error
		}{
			{"whole", p, len(text), nil},
			{"with room", p, len(text) + 1, nil},
			{"short", p, len(text) - 1, ErrShort},
			{"no room", p, 0, ErrShort},
			{"empty", nil, 100, ErrCorrupt},
			{"nothing in it", pack(t, f, nil), 0, nil},
			{"truncated", p[:len(p)-1], len(text), ErrCorrupt},
			{"first byte only", p[:1], len(text), ErrCorrupt},
			{"flipped", flipped, len(text), ErrCorrupt},
			{"trailing garbage", append(bytes.Clone(p), "xyz"...), len(text), ErrCorrupt},
		}
		if f == Deflate {
			tests = append(tests[:8], tests[9:]...) // nothing in it tells
		}
		for _, tt := range tests {
			dst := make([]byte, tt.room)
			n, err := d.Decode(f, dst, tt.src)
			if !errors.Is(err, tt.want) || err == nil && tt.name == "whole" && !bytes.Equal(dst[:n], text) {
				t.Errorf("format %d, %s: %d bytes, %v; want %v", f, tt.name, n, err, tt.want)
			}
		}
	}
	if _, err := d.Decode(5, nil, nil); err != ErrFormat {
		t.Errorf("format 5: %v", err)
	}
	two := append(pack(t, Gzip, []byte("a")), pack(t, Gzip, []byte("b"))...)
	dst := make([]byte, 2)
	if n, err := d.Decode(Gzip, dst, two); n != 2 || err != nil || string(dst) != "ab" {
		t.Errorf("two members: %d bytes, %v", n, err)
	}
}

func TestZstdWindow(t *testing.T) {
	text := make([]byte, 20<<20)
	for _, window := range []int{8 << 20, 16 << 20} {
		var out bytes.Buffer
		w, err := zstd.NewWriter(&out, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = new(Decoder).Decode(Zstd, make([]byte, len(text)), out.Bytes())
		if want := window > maxWindow; (err == ErrCorrupt) != want || !want && err != nil {
			t.Errorf("window of %d: %v", window, err)
		}
	}
}

// TestPoll checks that work can be ended where it makes no output.
func TestPoll(t *testing.T) {
	empty := bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 1<<20) // stored blocks
	members := bytes.Repeat(pack(t, Gzip, nil), 1<<16)
	for f, src := range map[Format][]byte{Deflate: empty, Gzip: members} {
		polls := 0
		d := &Decoder{Poll: func() { polls++ }}
		_, _ = d.Decode(f, make([]byte, 10), src)
		if want := len(src) / (8 << 10); polls < want {
			t.Errorf("format %d: %d polls for %d bytes", f, polls, len(src))
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, x := range formats {
		p := pack(f, x, []byte(strings.Repeat("invoice 12 is due; ", 20)))
		f.Add(uint32(x), p, 400)
		f.Add(uint32(x), append(p, p...), 40)
	}
	used := &Decoder{}
	f.Fuzz(func(t *testing.T, x uint32, src []byte, room int) {
		room = int(uint(room) % (1 << 20))
		dst := make([]byte, room)
		n, err := used.Decode(Format(x), dst, src)
		again := make([]byte, room)
		n2, err2 := new(Decoder).Decode(Format(x), again, src)
		if n != n2 || err != err2 || !bytes.Equal(dst[:n], again[:n]) {
			t.Errorf("a new decoder differs: %d %v, %d %v", n, err, n2, err2)
		}
	})
}

func ExampleDecoder() {
	src := []byte{1, 5, 0, 0xfa, 0xff, 'h', 'e', 'l', 'l', 'o'}
	dst := make([]byte, 100)
	n, err := new(Decoder).Decode(Deflate, dst, src)
	fmt.Println(string(dst[:n]), err)
	// Output: hello <nil>
}
