package guest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"
)

// Text appends enc, the encoding of a value of type t, as it stands in text output: strings and bytes with \t, \n, \r and \\
// escaped, numbers in decimal (a float in the shortest form that reads back as it), binary in base64, JSON as it is, its line
// breaks and tabs made spaces. An encoding that is not one of t is shown as bytes.
func Text(dst []byte, t Type, enc []byte) []byte {
	if plain, ok := appendPlain(dst, t, enc); ok {
		return plain
	}
	switch t {
	case Binary:
		return base64.StdEncoding.AppendEncode(dst, enc)
	case JSON:
		return appendJSONLine(dst, enc)
	}
	return AppendEscaped(dst, enc)
}

// AppendEscaped appends p with tab, newline, carriage return and backslash written as \t, \n, \r and \\.
func AppendEscaped(dst, p []byte) []byte {
	const long = 24 // for which it is quicker to look for one byte after the other
	if len(p) >= long && bytes.IndexByte(p, '\\') < 0 && bytes.IndexByte(p, '\t') < 0 && bytes.IndexByte(p, '\n') < 0 && bytes.IndexByte(p, '\r') < 0 {
		return append(dst, p...)
	}
	start := 0
	for i, c := range p {
		var e byte
		switch c {
		case '\t':
			e = 't'
		case '\n':
			e = 'n'
		case '\r':
			e = 'r'
		case '\\':
			e = '\\'
		default:
			continue
		}
		dst = append(dst, p[start:i]...)
		dst = append(dst, '\\', e)
		start = i + 1
	}
	return append(dst, p[start:]...)
}

// AppendUnescaped is the inverse of AppendEscaped. A backslash before anything else stands for itself.
func AppendUnescaped(dst, p []byte) []byte {
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c == '\\' && i+1 < len(p) {
			switch p[i+1] {
			case 't':
				c = '\t'
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case '\\':
			default:
				dst = append(dst, c)
				continue
			}
			i++
		}
		dst = append(dst, c)
	}
	return dst
}

// AppendJSON appends enc, the encoding of a value of type t, as a JSON value without line breaks: numbers and booleans as such,
// strings and bytes as strings in which what is not UTF-8 is U+FFFD, binary as a string of base64, infinite floats
// as the strings "+Inf" and "-Inf", JSON as it is.
func AppendJSON(dst []byte, t Type, enc []byte) []byte {
	if t == Float {
		if f, err := DecodeFloat(enc); err == nil && math.IsInf(f, 0) {
			return append(append(append(dst, '"'), Text(nil, t, enc)...), '"')
		}
	}
	if plain, ok := appendPlain(dst, t, enc); ok {
		return plain
	}
	switch t {
	case Binary:
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), enc), '"')
	case JSON:
		return appendJSONLine(dst, enc)
	}
	return appendQuoted(dst, enc)
}

// appendPlain appends numbers and booleans.
func appendPlain(dst []byte, t Type, enc []byte) ([]byte, bool) {
	switch t {
	case Int:
		if n, err := DecodeInt(enc); err == nil {
			return strconv.AppendInt(dst, n, 10), true
		}
	case Uint:
		if n, err := DecodeUint(enc); err == nil {
			return strconv.AppendUint(dst, n, 10), true
		}
	case Float:
		if f, err := DecodeFloat(enc); err == nil {
			return strconv.AppendFloat(dst, f, 'g', -1, 64), true
		}
	case Bool:
		if len(enc) == 1 && enc[0] <= 1 {
			return strconv.AppendBool(dst, enc[0] == 1), true
		}
	}
	return dst, false
}

// appendJSONLine appends a JSON document on one line: outside of its strings line breaks and tabs are spaces, inside there are none.
func appendJSONLine(dst, doc []byte) []byte {
	for _, c := range doc {
		if c == '\n' || c == '\r' || c == '\t' {
			c = ' '
		}
		dst = append(dst, c)
	}
	return dst
}

func appendQuoted(dst, p []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(p); {
		c := p[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(p[i:])
			if r == '\u2028' || r == '\u2029' { // line breaks to some readers
				dst = append(dst, `\u202`...)
				dst = append(dst, hex[r&15])
			} else {
				dst = utf8.AppendRune(dst, r)
			}
			i += n
			continue
		}
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < ' ' || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
		i++
	}
	return append(dst, '"')
}

// ParseText appends the encoding of a value of type t that a foreign program wrote as text: a number in decimal, true or
// false, any bytes for the others. Strings are taken as they are, without undoing escapes. Errors do not quote the text.
func ParseText(dst []byte, t Type, text []byte) ([]byte, error) {
	var err error
	switch t {
	case Int:
		var n int64
		if n, err = strconv.ParseInt(string(text), 10, 64); err == nil {
			return AppendInt(dst, n), nil
		}
	case Uint:
		var n uint64
		if n, err = strconv.ParseUint(string(text), 10, 64); err == nil {
			return AppendUint(dst, n), nil
		}
	case Float:
		var f float64
		if f, err = strconv.ParseFloat(string(text), 64); err == nil {
			return AppendFloat(dst, f)
		}
	case Bool:
		switch string(text) {
		case "true":
			return append(dst, 1), nil
		case "false":
			return append(dst, 0), nil
		}
	default:
		return append(dst, text...), nil
	}
	return dst, NotText(t.String(), err)
}

// NotText returns the error of a text that is not of the named type; cause may be an error of package strconv.
func NotText(name string, cause error) error {
	if errors.Is(cause, strconv.ErrRange) {
		return textError("value is out of the range of " + name)
	}
	return textError("value is not of type " + name)
}

type textError string

func (e textError) Error() string { return string(e) }
