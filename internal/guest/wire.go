package guest

import (
	"bufio"
	"encoding/binary"
	"io"
)

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendHeader appends the header of a frame of stdin.
func appendHeader(dst []byte, kind byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, kind), uint32(n))
}

// readHeader reads the header of a frame of stdin. It returns io.EOF only if there is not a byte of it.
func readHeader(r *bufio.Reader) (kind byte, n int, err error) {
	h, err := r.Peek(headerLen)
	if err != nil {
		if len(h) > 0 {
			err = noEOF(err)
		}
		return 0, 0, err
	}
	kind, n = h[0], int(binary.BigEndian.Uint32(h[1:]))
	if n < 0 { // where int has 32 bits
		return 0, 0, protocolError("frame is too long")
	}
	_, err = r.Discard(headerLen)
	return kind, n, err
}

// readParams reads the n bytes of a frame of parameters.
func readParams(r io.Reader, n int) (map[string]string, error) {
	if n > maxParams {
		return nil, protocolError("parameters are too long")
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, noEOF(err)
	}
	params := make(map[string]string)
	f := fields{s: string(p)}
	for len(f.s) > 0 && !f.bad {
		name := f.string()
		params[name] = f.string()
	}
	if !f.done() {
		return nil, protocolError("malformed parameters")
	}
	return params, nil
}

// fields takes values from the front of s, of which its strings are parts. After a malformed one all others are zero.
type fields struct {
	s   string
	bad bool
}

func (f *fields) string() string {
	n := f.uvarint()
	if n > uint64(len(f.s)) {
		f.s, f.bad = "", true
		return ""
	}
	s := f.s[:n]
	f.s = f.s[n:]
	return s
}

func (f *fields) varint() int64 {
	u := f.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (f *fields) uvarint() (n uint64) {
	for i := 0; i < len(f.s); i++ {
		c := f.s[i]
		if i == binary.MaxVarintLen64-1 && c > 1 {
			break
		}
		if n |= uint64(c&0x7f) << (7 * i); c < 0x80 {
			f.s = f.s[i+1:]
			return n
		}
	}
	f.s, f.bad = "", true
	return 0
}

// done reports whether everything was taken and well-formed.
func (f *fields) done() bool { return !f.bad && len(f.s) == 0 }

// noEOF turns the end of a stream into an error where it must not end.
func noEOF(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return protocolError("stream is cut short")
	}
	return err
}
