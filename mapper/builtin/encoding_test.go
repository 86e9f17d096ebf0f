package builtin

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"testing/iotest"
	"unicode/utf16"
)

// decodeUTF16 is the standard library's way to read UTF-16.
func decodeUTF16(b []byte, order binary.ByteOrder) []byte {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, order.Uint16(b))
	}
	runes := utf16.Decode(units)
	if len(b) > 0 && (len(runes) == 0 || !utf16.IsSurrogate(rune(append(units, 0)[max(len(units)-1, 0)])) || units[len(units)-1] >= 0xdc00) {
		runes = append(runes, '\ufffd') // half a unit; with a high surrogate before it, they are one mistake
	}
	return []byte(string(runes))
}

func FuzzDecoder(f *testing.F) {
	f.Add([]byte("a\x00\xe9\x00\x3d\xd8\x00\xde\n\x00"), false)
	f.Add([]byte("\x00a\xd8\x00\x00b\xdc\x00\xd8\x00"), true)
	f.Add([]byte("\x00\xd8\x00"), false)
	f.Fuzz(func(t *testing.T, body []byte, big bool) {
		mark, order := "\xff\xfe", binary.ByteOrder(binary.LittleEndian)
		if big {
			mark, order = "\xfe\xff", binary.BigEndian
		}
		text := append([]byte(mark), body...)
		want := decodeUTF16(body, order)
		var g grepper
		if got := g.decode(text, encodingOf(text)); !bytes.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
		got, err := io.ReadAll(newDecoder(iotest.OneByteReader(bytes.NewReader(text)), encodingOf(text)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q byte by byte: got %q (%v), want %q", text, got, err, want)
		}
	})
}
