package builtin

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"unicode"
	"unicode/utf8"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
)

// words counts words: it emits (word, n) for each distinct word of an object, to be summed. Words are those of
// bufio.ScanWords, with its limit: a word of 64 KiB or more fails its object.
func words() *Program {
	return &Program{
		Name: "words", Key: guest.String, Acc: guest.Binary, Stock: "sum:int64",
		New: func(params map[string]string) (Mapper, error) {
			for name := range params {
				return nil, fmt.Errorf("parameter %q: words has none", name)
			}
			return &wordCounter{seed: rand.Uint64()}, nil
		},
	}
}

const (
	maxWord    = 64<<10 - 1 // as long as bufio.Scanner takes
	wordBlock  = 1 << 20    // bytes of a streamed object that are counted together
	maxEntries = 1 << 18    // distinct words counted together
)

// A wordCounter counts the words of a block of bytes in a hash table with open addressing, and emits what it counted
// block by block. Words are slices of the block.
type wordCounter struct {
	seed    uint64      // of the hash, so that nobody can write mail whose words collide
	entries []wordEntry // in the order of their first occurrence
	slots   []int32     // index into entries + 1, or 0; a power of two long
	block   []byte      // of a streamed object
	value   []byte      // of the record being emitted
}

type wordEntry struct {
	x        uint64 // digest of the word
	n        int64  // how often it occurred
	hash     uint32
	off, len int32 // the word in the block
}

func (w *wordCounter) Map(obj *mapper.Object, out Emitter) error {
	if obj.Data == nil {
		return w.stream(obj, out)
	}
	for data, base := obj.Data, 0; len(data) > 0; {
		n, err := w.count(data, base)
		if err != nil {
			return err
		}
		if err := w.flush(data, out); err != nil {
			return err
		}
		data, base = data[n:], base+n
	}
	return nil
}

// stream counts an object that is not in memory.
func (w *wordCounter) stream(obj *mapper.Object, out Emitter) error {
	if w.block == nil {
		w.block = make([]byte, wordBlock)
	}
	have, base := 0, 0
	for eof := false; !eof || have > 0; {
		n, err := io.ReadFull(obj, w.block[have:])
		have += n
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			eof = true
		default:
			return err
		}
		use := have
		if !eof { // what is behind the last space may go on
			use = lastSpace(w.block[:have])
			if use == 0 {
				return tooLong(base)
			}
		}
		for done := 0; done < use; {
			n, err := w.count(w.block[done:use], base+done)
			if err != nil {
				return err
			}
			if err := w.flush(w.block[done:use], out); err != nil {
				return err
			}
			done += n
		}
		base += use
		have = copy(w.block, w.block[use:have])
	}
	return nil
}

// lastSpace returns the end of the last ASCII space in b, 0 if there is none.
func lastSpace(b []byte) int {
	for i := len(b); i > 0; i-- {
		if spaces[b[i-1]] == space {
			return i
		}
	}
	return 0
}

func tooLong(off int) error { return fmt.Errorf("word at %d: longer than %d bytes", off, maxWord) }

// Classes of bytes.
const (
	letter  = iota // part of a word
	space          // ASCII white space
	complex        // may begin white space beyond ASCII
)

var spaces = func() (t [256]uint8) {
	for _, b := range "\t\n\v\f\r " {
		t[b] = space
	}
	for _, b := range []byte{0xc2, 0xe1, 0xe2, 0xe3} {
		t[b] = complex
	}
	return t
}()

// count counts words at the start of data, until its end or until the table is full, and returns how many bytes it
// used. base is the offset of data in the object.
func (w *wordCounter) count(data []byte, base int) (int, error) {
	w.reset(len(data))
	mask := uint32(len(w.slots) - 1)
	for i := 0; i < len(data); {
		switch spaces[data[i]] {
		case space:
			i++
			continue
		case complex:
			if n := spaceAt(data[i:]); n > 0 {
				i += n
				continue
			}
		}
		start := i
		i = wordEnd(data, i+1)
		n := i - start
		if n > maxWord {
			return 0, tooLong(base + start)
		}
		var x uint64
		if n <= 8 && start+8 <= len(data) {
			x = binary.LittleEndian.Uint64(data[start:]) & (^uint64(0) >> (64 - 8*n))
		} else {
			x = digest(data[start:i], w.seed)
		}
		hi, lo := bits.Mul64(x^w.seed, 0xe7037ed1a0b428db)
		h := uint32(hi ^ lo)
		for s := h & mask; ; s = (s + 1) & mask {
			k := w.slots[s]
			if k == 0 {
				w.entries = append(w.entries, wordEntry{x, 1, h, int32(start), int32(n)})
				w.slots[s] = int32(len(w.entries))
				if len(w.entries) >= maxEntries {
					return i, nil
				}
				if len(w.entries) > len(w.slots)/2 {
					w.grow()
					mask = uint32(len(w.slots) - 1)
				}
				break
			}
			e := &w.entries[k-1]
			if e.x == x && int(e.len) == n && (n <= 8 || string(data[e.off:int(e.off)+n]) == string(data[start:i])) {
				e.n++
				break
			}
		}
	}
	return len(data), nil
}

// reset empties the table, in a size that suits n bytes.
func (w *wordCounter) reset(n int) {
	w.entries = w.entries[:0]
	size := max(256, 1<<bits.Len(uint(min(n, wordBlock)/5)))
	if cap(w.slots) < size {
		w.slots = make([]int32, size)
		return
	}
	w.slots = w.slots[:size]
	clear(w.slots)
}

// grow doubles the slots.
func (w *wordCounter) grow() {
	size := 2 * len(w.slots)
	if cap(w.slots) >= size {
		w.slots = w.slots[:size]
		clear(w.slots)
	} else {
		w.slots = make([]int32, size)
	}
	mask := uint32(size - 1)
	for k := range w.entries {
		s := w.entries[k].hash & mask
		for w.slots[s] != 0 {
			s = (s + 1) & mask
		}
		w.slots[s] = int32(k + 1)
	}
}

// flush emits what count counted in data.
func (w *wordCounter) flush(data []byte, out Emitter) error {
	for k := range w.entries {
		e := &w.entries[k]
		w.value = reducer.AppendTotal(w.value[:0], e.n)
		if err := out.Record(data[e.off:e.off+e.len], w.value); err != nil {
			return err
		}
	}
	return nil
}

// spaceAt returns the length of the white space beyond ASCII that b begins with, 0 if there is none.
func spaceAt(b []byte) int {
	if r, n := utf8.DecodeRune(b); n > 1 && unicode.IsSpace(r) {
		return n
	}
	return 0
}

// wordEnd returns the end of the word that goes on at i. It looks at eight bytes at a time for one that may be
// white space: one up to the space, or beyond ASCII.
func wordEnd(data []byte, i int) int {
	for i < len(data) {
		if i+8 <= len(data) {
			const ones, tops = 0x0101010101010101, 0x8080808080808080
			x := binary.LittleEndian.Uint64(data[i:])
			found := ((x-('!'*ones))&^x | x) & tops // right for the first such byte
			if found == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(found) / 8
		}
		if c := spaces[data[i]]; c != letter && (c == space || spaceAt(data[i:]) > 0) {
			return i
		}
		i++
	}
	return i
}

// digest returns what a word is told apart by: its bytes, if they are no more than eight, else a hash with a secret seed.
func digest(b []byte, seed uint64) uint64 {
	if len(b) <= 8 {
		var x [8]byte
		copy(x[:], b)
		return binary.LittleEndian.Uint64(x[:])
	}
	h := uint64(len(b)) ^ seed
	for ; len(b) > 8; b = b[8:] {
		hi, lo := bits.Mul64(h^binary.LittleEndian.Uint64(b), 0xa0761d6478bd642f)
		h = hi ^ lo
	}
	hi, lo := bits.Mul64(h^digest(b, seed), seed|1)
	return hi ^ lo
}
