package sandbox

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"

	"github.com/millrace/millrace/internal/hostfn"
)

// cases is the input of testdata/hostfn.
type cases []byte

func (c *cases) add(kind, option byte, a, b []byte) {
	*c = append(*c, kind, option)
	*c = append(binary.LittleEndian.AppendUint32(*c, uint32(len(a))), a...)
	*c = append(binary.LittleEndian.AppendUint32(*c, uint32(len(b))), b...)
}

// randomCases returns n cases: patterns and texts, compressed data whole and damaged, data to be hashed.
func randomCases(seed uint64, n int) (c cases) {
	r := rand.New(rand.NewPCG(seed, 0))
	atoms := []string{"a", "b", "é", ".", `\d`, `\w`, `\b`, "^", "$", "[a-c]", "[^b]", "(a|bc)", "(", ")", "|", "*", "+", "?", "{2}", "invoice ", `(?i)`, `\pL`, "\xff", `(?-u:\xff)`, "["}
	words := []string{"a", "b", "ab", "bc", "abc", " ", "é", "日", "\n", "\n", "\r\n", "\xff", "invoice 12", "x", "1", strings.Repeat("a", 50)}
	join := func(list []string, most int) []byte {
		var b []byte
		for range r.IntN(most) {
			b = append(b, list[r.IntN(len(list))]...)
		}
		return b
	}
	for range n {
		switch r.IntN(3) {
		case 0:
			text := join(words, 60)
			if r.IntN(20) == 0 { // of several blocks
				text = bytes.Repeat(append(text, "\nab"...), 1+200_000/(len(text)+1)/(1+len(text)/20))
			}
			c.add('s', byte(r.IntN(8)), join(atoms, 7), text)
		case 1:
			format := byte(r.IntN(6))
			text := bytes.Repeat(join(words, 40), r.IntN(200))
			b := packed(format, text)
			switch r.IntN(4) {
			case 0:
				for range 1 + r.IntN(3) {
					if len(b) > 0 {
						b[r.IntN(len(b))] ^= byte(1 << r.IntN(8))
					}
				}
			case 1:
				b = b[:r.IntN(len(b)+1)]
			case 2:
				b = append(b, join(words, 3)...)
			}
			limit := len(text) + r.IntN(4) - 2
			if r.IntN(2) == 0 {
				limit = 1 << 20
			}
			c.add('d', format, binary.LittleEndian.AppendUint32(nil, uint32(max(limit, 0))), b)
		case 2:
			c.add('h', 0, join(words, 100), join(words, 1000))
		}
	}
	return c
}

// packed compresses text in one of the formats, or leaves it as it is.
func packed(format byte, text []byte) []byte {
	var out bytes.Buffer
	var w io.WriteCloser
	switch format {
	case 1:
		w = gzip.NewWriter(&out)
	case 2:
		w = zlib.NewWriter(&out)
	case 3:
		w, _ = flate.NewWriter(&out, 6)
	case 4:
		w, _ = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	default:
		return bytes.Clone(text)
	}
	_, _ = w.Write(text)
	_ = w.Close()
	return out.Bytes()
}

// TestSDKSame runs the same program as WebAssembly and natively: it must say the same. Later runs are restored from a snapshot, to which one
// pattern belongs; in each run it opens others.
func TestSDKSame(t *testing.T) {
	native := filepath.Join(t.TempDir(), "hostfn")
	if text, err := goBuild(native, "hostfn").CombinedOutput(); err != nil {
		t.Fatalf("compile: %v\n%s", err, text)
	}
	g := programOf(t, "hostfn").open(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	errorsSeen := map[string]int{}
	for round := range uint64(25) {
		in := randomCases(seed+round, 60)
		cmd := exec.Command(native)
		cmd.Stdin = bytes.NewReader(in)
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		report, err := g.Run(context.Background(), &Run{Streams: Streams{Stdin: bytes.NewReader(in), Stdout: &got}})
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, report.Log)
		}
		if !bytes.Equal(got.Bytes(), want) {
			a, b := strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
			for i := range min(len(a), len(b)) {
				if a[i] != b[i] {
					t.Fatalf("round %d, line %d: got %s, want %s", round, i, a[i], b[i])
				}
			}
			t.Fatalf("round %d: %d lines, want %d", round, len(a), len(b))
		}
		if x := g.instance; x == nil || len(x.snapshot.host.patterns.open) != 1 {
			t.Fatalf("round %d: no snapshot with one pattern", round)
		}
		for _, e := range []string{"corrupt compressed data", "larger than allowed", "unknown format", "<nil>", "pattern ", "again"} {
			errorsSeen[e] += strings.Count(got.String(), e)
		}
	}
	for e, n := range errorsSeen {
		if n == 0 {
			t.Errorf("no case showed %q", e)
		}
	}
}

// hostOf returns a host whose guest has a memory of that many bytes and runs nothing.
func hostOf(size int) (*host, []byte) {
	g := &wasmGuest{}
	memory := make([]byte, size)
	x := &instance{guest: g, memory: &memoryPlan{reserved: memory, size: uint64(size)}}
	state := freshHost()
	g.host.reset(x, &Run{}, newMeter(&Streams{}, Limits{}), &state)
	return &g.host, memory
}

func (h *host) ask(name string, args ...uint64) hostfn.Code {
	for _, c := range millraceCalls {
		if c.name == name {
			return c.call(h, args)
		}
	}
	panic(name)
}

func TestMillracePointers(t *testing.T) {
	const size, last = 1 << 16, 1<<16 - 1
	const far = 1<<32 - 1
	tests := []struct {
		name string
		args []uint64
		want hostfn.Code
	}{
		{"search_open_1", []uint64{size, 0, 0, size, 0}, 1}, // the empty pattern, and nothing more
		{"search_open_1", []uint64{size, 1, 0, 0, 0}, hostfn.Fault},
		{"search_open_1", []uint64{far, 2, 0, 0, 0}, hostfn.Fault},
		{"search_open_1", []uint64{0, 0, 0, last, 2}, hostfn.Fault},
		{"search_open_1", []uint64{0, 0, 8, 0, 0}, hostfn.Invalid},
		{"search_open_1", []uint64{100, 1, 0, 200, 0}, hostfn.Syntax}, // no room for the reason
		{"search_1", []uint64{0, 0, size, 0, 0, 100, 1}, 0},
		{"search_1", []uint64{0, 0, size + 1, 0, 0, 100, 1}, hostfn.Fault},
		{"search_1", []uint64{0, 0, 1, size, 0, 100, 1}, hostfn.Fault},
		{"search_1", []uint64{0, 0, far, far, 0, 100, 1}, hostfn.Fault},
		{"search_1", []uint64{0, 0, 1000, 10, size - 11, 100, 1}, hostfn.Fault},
		{"search_1", []uint64{0, 0, 1000, 10, 0, size - 15, 1}, hostfn.Fault},
		{"search_1", []uint64{0, 0, 1000, 10, 0, 100, 1 << 28}, hostfn.Fault}, // 16 times that is 0 of 32 bits
		{"search_1", []uint64{0, 0, 1000, 10, 0, 100, far}, hostfn.Fault},
		{"search_1", []uint64{0, 0, 1000, 10, 0, size, 0}, 0},
		{"search_1", []uint64{0, 2, 1000, 10, 0, 100, 1}, hostfn.Invalid},
		{"search_1", []uint64{99, 0, 1000, 10, 0, 100, 1}, hostfn.Invalid},
		{"search_1", []uint64{far, 0, 1000, 10, 0, 100, 1}, hostfn.Invalid},
		{"search_1", []uint64{0, 0, 90, 20, 0, 100, 1}, hostfn.Invalid},
		{"search_1", []uint64{0, 0, 0, 1, 0, 100, 1}, hostfn.Invalid},
		{"search_1", []uint64{0, 0, 1000, 1, 100, 111, 1}, hostfn.Invalid},
		{"decompress_1", []uint64{1, size, 0, size, 0}, hostfn.Corrupt},
		{"decompress_1", []uint64{0, 0, 10, 100, 10}, hostfn.Invalid},
		{"decompress_1", []uint64{far, 0, 10, 100, 10}, hostfn.Invalid},
		{"decompress_1", []uint64{4, 0, 10, 9, 10}, hostfn.Invalid},
		{"decompress_1", []uint64{4, 0, size + 1, 9, 10}, hostfn.Fault},
		{"decompress_1", []uint64{4, 0, 10, last, 2}, hostfn.Fault},
		{"decompress_1", []uint64{4, 0, 10, far, far}, hostfn.Fault},
		{"sha256_1", []uint64{size, 0, size - 32}, hostfn.OK},
		{"sha256_1", []uint64{size, 0, size - 31}, hostfn.Fault},
		{"sha256_1", []uint64{1, size, 0}, hostfn.Fault},
		{"crc32c_1", []uint64{0, size, size - 4}, hostfn.OK},
		{"crc32c_1", []uint64{0, size, far - 3}, hostfn.Fault},
		{"xxh3_1", []uint64{0, size, size - 8}, hostfn.OK},
		{"xxh3_1", []uint64{far, far, 0}, hostfn.Fault},
		{"xxh3_1", []uint64{0, 0, size - 7}, hostfn.Fault},
	}
	h, memory := hostOf(size)
	memory[100] = '('
	if got := h.ask("search_open_1", 0, 1, 0, 200, 10); got != 0 {
		t.Fatalf("pattern: %d", got)
	}
	for _, tt := range tests {
		if got := h.ask(tt.name, tt.args...); got != tt.want {
			t.Errorf("%s%v answers %d; want %d", tt.name, tt.args, got, tt.want)
		}
	}
	if got := h.ask("search_open_1", 100, 1, 0, 200, 20); got != hostfn.Syntax || string(memory[200:220]) != "pattern \"(\" at 0: un"[:19]+"\x00" {
		t.Errorf("%d, %q", got, memory[200:220])
	}
}

// TestMillracePatterns opens patterns until there is no room, and looks for those of a snapshot, and no others, after a restore.
func TestMillracePatterns(t *testing.T) {
	h, memory := hostOf(1 << 16)
	copy(memory, "xa\nab")
	open := func(n uint64) hostfn.Code { return h.ask("search_open_1", 3, n, 0, 100, 100) }
	if a, ab := open(1), open(2); a != 0 || ab != 1 {
		t.Fatalf("handles %d, %d", a, ab)
	}
	state := h.hostState
	found := func(handle uint64) hostfn.Code {
		clear(memory[200:212])
		return h.ask("search_1", handle, 0, 0, 5, 200, 300, 10)
	}
	for range 3 {
		for _, want := range []hostfn.Code{2, 1} {
			if got := found(uint64(2 - want)); got != want {
				t.Errorf("pattern %d: %d matches, want %d", 2-want, got, want)
			}
		}
		if got := found(2); got != hostfn.Invalid {
			t.Errorf("a pattern of another run answers %d", got)
		}
		n := 2
		for code := open(1); code >= 0; code = open(1) {
			if n++; n > 1000 {
				t.Fatal("no end of patterns")
			}
		}
		if got := open(1); got != hostfn.Limit || h.patterns.size > maxPatterns || n < 50 {
			t.Errorf("after %d patterns of %d bytes: %d", n, h.patterns.size, got)
		}
		h.reset(h.instance, h.run, h.meter, &state)
	}
}

// TestMillraceStops checks that work of the host for a guest ends with the guest's time.
func TestMillraceStops(t *testing.T) {
	g := programOf(t, "hostfn").open(t)
	// Each match looks at the rest of the line for a b that is not there.
	var slow cases
	slow.add('s', 0, []byte(`a.*b|a`), bytes.Repeat([]byte("a"), 10<<20))
	begin := time.Now()
	_, err := g.Run(context.Background(), &Run{Streams: Streams{Stdin: bytes.NewReader(slow)}, Limits: Limits{Wall: 700 * time.Millisecond}})
	if took := time.Since(begin); !errors.Is(err, ErrLimit) || took > 10*time.Second {
		t.Errorf("got %v after %v", err, took)
	}
	var next cases
	next.add('s', 0, []byte(`b+`), []byte("abb"))
	var out bytes.Buffer
	if _, err := g.Run(context.Background(), &Run{Streams: Streams{Stdin: bytes.NewReader(next), Stdout: &out}}); err != nil || !strings.Contains(out.String(), `1-3 of "abb"`) {
		t.Errorf("the next run: %v, %q", err, out.String())
	}
}

// TestMillraceC runs a program in C that has the host search.
func TestMillraceC(t *testing.T) {
	g := programOf(t, "hostfn-c").open(t)
	for i, body := range mails(20) {
		var want, got bytes.Buffer
		for line := range bytes.Lines(body) {
			for _, m := range address.FindAll(line, -1) {
				fmt.Fprintf(&want, "%s\t1\n", m)
			}
		}
		_, err := g.Run(context.Background(), &Run{Streams: Streams{Stdin: bytes.NewReader(body), Stdout: &got}})
		if err != nil || got.String() != want.String() {
			t.Errorf("mail %d: %v, %q; want %q", i, err, got.String(), want.String())
		}
	}
}

// FuzzMillrace calls the functions with whatever arguments, on whatever memory: they answer within their bounds, the hashes are right, and
// no byte of memory changes but where the call says.
func FuzzMillrace(f *testing.F) {
	f.Add([]byte("a+\x00aab\naa"), []byte{0, 0, 2, 0, 9, 9, 1, 0, 0, 3, 6, 64, 128, 3})
	f.Add(packed(1, []byte("hello")), []byte{2, 1, 0, 30, 64, 64, 0, 0})
	f.Add(packed(4, []byte("hello")), []byte{2, 4, 0, 18, 64, 64, 0, 0, 3, 0, 9, 32, 4, 1, 2, 3, 5, 9, 8, 7})
	f.Add([]byte("hash me"), []byte{3, 0, 7, 64, 0, 0, 0, 0, 4, 0, 7, 64, 0, 0, 0, 0, 5, 0, 7, 64, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, content, calls []byte) {
		h, memory := hostOf(1 << 12)
		copy(memory, content)
		for n := 0; len(calls) >= 8 && n < 20; n++ {
			c := millraceCalls[int(calls[0])%len(millraceCalls)]
			var args []uint64
			for i := range len(c.types) - 2 {
				v := uint64(int64(int8(calls[1+i%7]))) // small, or close to 2^64: the engine gives 64 bits
				if calls[0]&0x40 != 0 {
					v *= 33
				}
				args = append(args, v)
			}
			before := bytes.Clone(memory)
			got := c.call(h, args)
			if got < hostfn.TooSmall || int64(got) > int64(len(memory)) {
				t.Errorf("%s%v answers %d", c.name, args, got)
			}
			if want := afterCall(c.name, args, got, before, memory); !bytes.Equal(memory, want) {
				t.Errorf("%s%v answers %d and leaves another memory than it should", c.name, args, got)
			}
			calls = calls[8:]
		}
	})
}

// afterCall returns what memory should be after a call that found it as before and answered code. Where the call writes what this test
// cannot foresee, that is what it wrote.
func afterCall(name string, args []uint64, code hostfn.Code, before, after []byte) []byte {
	want := bytes.Clone(before)
	region := func(at, n uint64) (from, to uint64) {
		return uint64(uint32(at)), uint64(uint32(at)) + uint64(uint32(n))
	}
	wrote := func(at, n uint64) {
		from, to := region(at, n)
		copy(want[from:to], after[from:to])
	}
	switch {
	case code == hostfn.Fault || code == hostfn.Invalid:
	case name == "search_open_1":
		if code < 0 {
			wrote(args[3], args[4])
		}
	case name == "search_1":
		wrote(args[4], hostfn.CursorSize)
		wrote(args[5], uint64(code)*hostfn.FoundSize)
	case name == "decompress_1":
		wrote(args[3], args[4])
	default:
		from, to := region(args[0], args[1])
		in, out := before[from:to], want[uint32(args[2]):]
		switch name {
		case "sha256_1":
			sum := sha256.Sum256(in)
			copy(out, sum[:])
		case "crc32c_1":
			table := crc32.MakeTable(crc32.Castagnoli)
			binary.LittleEndian.PutUint32(out, crc32.Update(binary.LittleEndian.Uint32(out), table, in))
		case "xxh3_1":
			binary.LittleEndian.PutUint64(out, xxh3.Hash(in))
		}
	}
	return want
}
