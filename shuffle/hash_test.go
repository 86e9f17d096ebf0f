package shuffle

import (
	"fmt"
	"testing"
)

// The vectors pin PartitionVersion 1: a change of any of them is a change of the version.
func TestPartitionIsPinned(t *testing.T) {
	for _, tt := range []struct {
		key  string
		n    int
		want int
	}{
		// XXH3-64 of nothing is 0x2d06800538d394c2, as the specification has it: 0x2d06…/2^64 is 0.17589.
		{"", 1_000_000, 175880},
		{"", 1, 0},
		{"a", 1_000_000, 901461}, // 0xe6c632b61e964e1f, likewise
		{"the", 1_000_000, 793251},
		{"the", 7, 5},
		{"a key of more than sixteen bytes", 1_000_000, 152916},
		{"a key of more than one hundred and twenty-eight bytes, which is hashed in another way than shorter ones are; so here is some more text", 1_000_000, 509616},
		{"\x00\xff", 256, 169},
	} {
		if got := Partition([]byte(tt.key), tt.n); got != tt.want {
			t.Errorf("Partition(%.20q, %d) = %d, want %d", tt.key, tt.n, got, tt.want)
		}
	}
}

func TestPartitionIsEven(t *testing.T) {
	const n, keys = 10, 100_000
	var counts [n]int
	for i := range keys {
		counts[Partition(fmt.Appendf(nil, "key-%d", i), n)]++
	}
	for p, c := range counts {
		if c < keys/n*95/100 || c > keys/n*105/100 {
			t.Errorf("partition %d has %d of %d keys", p, c, keys)
		}
	}
}

func TestDigest(t *testing.T) {
	base := Digest(1, []byte("ab"), []byte("c"))
	for name, other := range map[string]uint64{
		"another secret":            Digest(2, []byte("ab"), []byte("c")),
		"another cut":               Digest(1, []byte("a"), []byte("bc")),
		"key and value exchanged":   Digest(1, []byte("c"), []byte("ab")),
		"all in the key":            Digest(1, []byte("abc"), nil),
		"all in the value":          Digest(1, nil, []byte("abc")),
		"nothing":                   Digest(1, nil, nil),
		"nothing, another secret":   Digest(2, nil, nil),
		"one value byte changed":    Digest(1, []byte("ab"), []byte("d")),
		"one zero byte more in key": Digest(1, []byte("ab\x00"), []byte("c")),
	} {
		if other == base {
			t.Errorf("%s: same digest", name)
		}
	}
	if got, want := base, uint64(0x6b369cbea358b48e); got != want {
		t.Errorf("got %#x, want %#x", got, want)
	}
}
