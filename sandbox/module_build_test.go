package sandbox

import (
	"bytes"
	"encoding/binary"
)

// assemble makes a module of sections: pairs of an id and a content.
func assemble(sections ...any) []byte {
	code := []byte("\x00asm\x01\x00\x00\x00")
	for i := 0; i < len(sections); i += 2 {
		code = append(code, byte(sections[i].(int)))
		code = append(code, sized(sections[i+1].(string))...)
	}
	return code
}

func number[N int | uint32](n N) string { return string(binary.AppendUvarint(nil, uint64(n))) }
func sized(s string) string             { return number(len(s)) + s }

// list prefixes items with their number.
func list(items ...string) string {
	b := bytes.NewBufferString(number(len(items)))
	for _, i := range items {
		b.WriteString(i)
	}
	return b.String()
}

// body is a function body without locals.
func body(code string) string { return sized("\x00" + code + "\x0b") }
