package guest

import "bytes"

// A delimited key is followed by something else, and both together are ordered as the key is, then as what follows. A number is as it is. A string, or bytes, has
// its zero bytes followed by 0xff, and ends in a zero byte and a 1.

const (
	delimiter = 0x01
	escaped   = 0xff
)

// AppendDelimited appends enc, the encoding of a key of type t, delimited.
func AppendDelimited(dst []byte, t Type, enc []byte) []byte {
	if t != String && t != Bytes {
		return append(dst, enc...)
	}
	for {
		i := bytes.IndexByte(enc, 0)
		if i < 0 {
			return append(append(dst, enc...), 0, delimiter)
		}
		dst = append(append(dst, enc[:i]...), 0, escaped)
		enc = enc[i+1:]
	}
}

// CutDelimited returns the encoding of the delimited key of type t that p begins with, perhaps in p, and what follows it.
func CutDelimited(t Type, p []byte) (enc, rest []byte, err error) {
	if t != String && t != Bytes {
		if len(p) < 8 {
			return nil, nil, protocolError("malformed number")
		}
		return p[:8:8], p[8:], nil
	}
	var whole []byte // of what is escaped
	for from := p; ; {
		i := bytes.IndexByte(from, 0)
		if i < 0 || i+1 == len(from) || from[i+1] != delimiter && from[i+1] != escaped {
			return nil, nil, protocolError("string has no end")
		}
		rest = from[i+2:]
		if from[i+1] == delimiter {
			if whole == nil {
				return from[:i:i], rest, nil
			}
			return append(whole, from[:i]...), rest, nil
		}
		whole = append(whole, from[:i+1]...)
		from = rest
	}
}
