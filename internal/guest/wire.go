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
	var h [headerLen]byte
	for i := range h {
		if h[i], err = r.ReadByte(); err != nil {
			if i > 0 {
				err = noEOF(err)
			}
			return 0, 0, err
		}
	}
	n = int(binary.BigEndian.Uint32(h[1:]))
	if n < 0 { // where int has 32 bits
		return 0, 0, protocolError("frame is too long")
	}
	return h[0], n, nil
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
	f := fields{p: p}
	for len(f.p) > 0 && !f.bad {
		name := f.string()
		params[name] = f.string()
	}
	if !f.done() {
		return nil, protocolError("malformed parameters")
	}
	return params, nil
}

// fields takes values from the front of p. After a malformed one all others are zero.
type fields struct {
	p   []byte
	bad bool
}

func (f *fields) string() string {
	n, k := binary.Uvarint(f.p)
	if k <= 0 || n > uint64(len(f.p)-k) {
		f.p, f.bad = nil, true
		return ""
	}
	s := string(f.p[k : k+int(n)])
	f.p = f.p[k+int(n):]
	return s
}

func (f *fields) varint() int64 {
	n, k := binary.Varint(f.p)
	if k <= 0 {
		f.p, f.bad = nil, true
		return 0
	}
	f.p = f.p[k:]
	return n
}

// done reports whether everything was taken and well-formed.
func (f *fields) done() bool { return !f.bad && len(f.p) == 0 }

// noEOF turns the end of a stream into an error where it must not end.
func noEOF(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return protocolError("stream is cut short")
	}
	return err
}
