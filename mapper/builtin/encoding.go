package builtin

import (
	"bytes"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// An encoding is what a byte order mark says about the text behind it.
type encoding byte

const (
	utf8Plain  encoding = iota // no mark
	utf8Marked                 // UTF-8 with a mark
	utf16LE
	utf16BE
)

func encodingOf(text []byte) encoding {
	switch {
	case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")):
		return utf8Marked
	case bytes.HasPrefix(text, []byte("\xff\xfe")):
		return utf16LE
	case bytes.HasPrefix(text, []byte("\xfe\xff")):
		return utf16BE
	}
	return utf8Plain
}

// decode returns text, which begins with a mark, as UTF-8 without it. The result is valid until the next call.
func (g *grepper) decode(text []byte, enc encoding) []byte {
	if enc == utf8Marked {
		return text[3:]
	}
	d := newDecoder(nil, enc)
	g.decoded = d.append(g.decoded[:0], text[2:], true)
	return g.decoded
}

// A decoder reads text with a mark as UTF-8 without it. What is no UTF-16 becomes U+FFFD.
type decoder struct {
	r    io.Reader
	enc  encoding
	skip int // bytes of the mark that are still to come
	high rune
	odd  []byte // the first byte of a unit, if the second is still to come
	raw  [4096]byte
	out  []byte // decoded, not yet read
	buf  []byte // behind out
	err  error
}

func newDecoder(r io.Reader, enc encoding) *decoder {
	d := &decoder{r: r, enc: enc, skip: 2}
	if enc == utf8Marked {
		d.skip = 3
	}
	return d
}

func (d *decoder) Read(p []byte) (int, error) {
	for len(d.out) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		n, err := d.r.Read(d.raw[:])
		d.err = err
		skip := min(n, d.skip)
		d.skip -= skip
		if d.enc == utf8Marked {
			d.out = d.raw[skip:n]
			continue
		}
		d.buf = d.append(d.buf[:0], d.raw[skip:n], err == io.EOF)
		d.out = d.buf
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// append appends the UTF-8 of text, the next piece of UTF-16, to dst.
func (d *decoder) append(dst, text []byte, last bool) []byte {
	if len(d.odd) > 0 && len(text) > 0 {
		dst = d.unit(dst, d.odd[0], text[0])
		d.odd, text = d.odd[:0], text[1:]
	}
	for ; len(text) >= 2; text = text[2:] {
		dst = d.unit(dst, text[0], text[1])
	}
	d.odd = append(d.odd, text...)
	if last && (d.high != 0 || len(d.odd) > 0) {
		dst = utf8.AppendRune(dst, utf8.RuneError)
	}
	return dst
}

// unit appends what the two bytes of a unit complete.
func (d *decoder) unit(dst []byte, a, b byte) []byte {
	if d.enc == utf16LE {
		a, b = b, a
	}
	r := rune(a)<<8 | rune(b)
	high := d.high
	d.high = 0
	if high != 0 {
		if c := utf16.DecodeRune(high, r); c != utf8.RuneError {
			return utf8.AppendRune(dst, c)
		}
		dst = utf8.AppendRune(dst, utf8.RuneError)
	}
	if r >= 0xd800 && r < 0xdc00 {
		d.high = r
		return dst
	}
	return utf8.AppendRune(dst, r) // a lone low surrogate becomes U+FFFD
}
