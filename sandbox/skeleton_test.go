package sandbox

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// place is a data segment at a constant place.
func place(at int64, content string) string {
	return "\x00\x41" + string(signed(at)) + "\x0b" + sized(content)
}

func TestJoinSegments(t *testing.T) {
	const memory = 1 << 16
	zeros := func(n int) string { return string(make([]byte, n)) }
	tests := []struct {
		name     string
		segments []string
		want     string // of each: place, content
	}{
		{"none", nil, ""},
		{"touch", []string{place(8, "ab"), place(10, "c")}, fmt.Sprintf("8 %q ", "abc")},
		{"a gap", []string{place(8, "ab"), place(12, "c")}, fmt.Sprintf("8 %q ", "ab\x00\x00c")},
		{"the largest gap", []string{place(0, "a"), place(257, "b")}, fmt.Sprintf("0 %q ", "a"+zeros(256)+"b")},
		{"a larger gap", []string{place(0, "a"), place(258, "b")}, `0 "a" 258 "b" `},
		{"out of order", []string{place(200, "b"), place(100, "a"), place(101, "x")}, fmt.Sprintf("100 %q ", "ax"+zeros(98)+"b")},
		{"empty", []string{place(5, ""), place(5, "a"), place(6, "")}, `5 "a" `},
		{"to the end", []string{place(memory-1, "a"), place(memory, "")}, fmt.Sprintf(`%d "a" `, memory-1)},
		{"overlap", []string{place(0, "abc"), place(2, "d")}, "left alone"},
		{"the same place", []string{place(0, "a"), place(0, "b")}, "left alone"},
		{"beyond the end", []string{place(memory-1, "ab")}, "left alone"},
		{"beyond the end, empty", []string{place(memory+1, "")}, "left alone"},
		{"negative", []string{place(-1, "")}, "left alone"},
		{"of a global", []string{"\x00\x23\x00\x0b" + sized("a")}, "left alone"},
		{"passive", []string{"\x01" + sized("a")}, "left alone"},
		{"of a memory by number", []string{"\x02\x00\x41\x00\x0b" + sized("a")}, "left alone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			joined, ok := joinSegments([]byte(list(tt.segments...)), memory)
			got := ""
			for _, s := range joined {
				got += fmt.Sprintf("%d %q ", s.begin, s.content)
			}
			if !ok {
				got = "left alone"
			}
			if got != tt.want {
				t.Errorf("got %s; want %s", got, tt.want)
			}
		})
	}
}

func TestAddress(t *testing.T) {
	for _, n := range []int32{0, 1, 63, 64, 127, 128, 8191, 8192, 1 << 20, 1<<31 - 1, -1, -64, -65, -1 << 31} {
		r := cursor{[]byte(string(signed(int64(n))) + "\x0b")}
		if got := r.address(); got != int(uint32(n)) || len(r.b) != 1 {
			t.Errorf("address %d: %d, %d bytes left; want %d, 1", n, got, len(r.b), uint32(n))
		}
	}
}

// TestSkeletonData checks that a compiled guest, of whose memory the engine knows nothing, begins with the same as an interpreted one, for which the engine fills it.
func TestSkeletonData(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 8 {
		var segments []string
		for range rnd.IntN(40) {
			b := make([]byte, rnd.IntN(300))
			for i := range b {
				b[i] = byte(1 + rnd.IntN(255))
			}
			segments = append(segments, place(int64(rnd.IntN(60000)), string(b)))
		}
		// It writes its first page of memory to stdout.
		code := assemble(
			1, list("\x60\x00\x00", "\x60\x04\x7f\x7f\x7f\x7f\x01\x7f"),
			2, list(sized("wasi_snapshot_preview1")+sized("fd_write")+"\x00\x01"),
			3, list("\x00"),
			5, list("\x00\x02"),
			7, list(sized("memory")+"\x02\x00", sized("_start")+"\x00\x01"),
			10, list(body("\x41\x84\x80\x04\x41\x80\x80\x04\x36\x02\x00"+ // its size, above it
				"\x41\x01\x41\x80\x80\x04\x41\x01\x41\x90\x80\x04\x10\x00\x1a")),
			11, list(append(segments, place(1<<16, "\x00\x00\x00\x00\x00\x00\x01\x00"))...))
		compiled, interpreted := bothEngines(t, code)
		want := output(interpreted, Run{}, bytes.NewReader(nil))
		for range 2 {
			if got := output(compiled, Run{}, bytes.NewReader(nil)); got != want {
				t.Fatalf("%d segments: %d bytes differ from %d", len(segments), len(got), len(want))
			}
		}
	}
}
