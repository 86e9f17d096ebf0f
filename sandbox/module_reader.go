package sandbox

import (
	"fmt"
	"unicode/utf8"
)

// A moduleReader reads the binary format of WebAssembly (Core Specification 2.0, chapter 5). After its first error, which it keeps, it
// has nothing more to read and reads zeros.
type moduleReader struct {
	b   []byte
	off int
	err error
}

func (r *moduleReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format+" (at byte %d)", append(args, r.off)...)
	}
	r.off = len(r.b)
}

func (r *moduleReader) byte() byte {
	if r.off < len(r.b) {
		r.off++
		return r.b[r.off-1]
	}
	return r.endsEarly()
}

// endsEarly is by itself, and called, so that byte is not: most of the time goes there.
//
//go:noinline
func (r *moduleReader) endsEarly() byte {
	r.fail("ends too early")
	return 0
}

// bytes returns the next n bytes, which belong to the module.
func (r *moduleReader) bytes(n int) []byte {
	if n < 0 || n > len(r.b)-r.off {
		r.fail("%d bytes go beyond the end", n)
		return nil
	}
	r.off += n
	return r.b[r.off-n : r.off]
}

func (r *moduleReader) skip(n int) { r.bytes(n) }

// zero reads a byte that says nothing yet.
func (r *moduleReader) zero() {
	if r.byte() != 0 {
		r.fail("zero byte expected")
	}
}

// u32 reads an unsigned LEB128 number of at most 5 bytes.
func (r *moduleReader) u32() uint32 {
	if r.off < len(r.b) && r.b[r.off] < 0x80 {
		r.off++
		return uint32(r.b[r.off-1])
	}
	var v uint32
	for shift := 0; ; shift += 7 {
		c := r.byte()
		if shift == 28 && c > 0x0f {
			r.fail("number is too long")
			return 0
		}
		v |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
}

// signed reads a signed LEB128 number of bits bits: of at most as many bytes as they take, and no bits beyond.
func (r *moduleReader) signed(bits int) int64 {
	var v int64
	for shift := 0; ; shift += 7 {
		c := r.byte()
		if left := bits - shift; left <= 7 {
			if beyond := int8(c<<1) >> left; c >= 0x80 || beyond != 0 && beyond != -1 {
				r.fail("number is too long")
				return 0
			}
		}
		v |= int64(c&0x7f) << shift
		if c < 0x80 {
			if shift += 7; shift < 64 && c&0x40 != 0 {
				v |= -1 << shift
			}
			return v
		}
	}
}

// count reads how many of something follow. They take a byte each at least.
func (r *moduleReader) count(what string, most int) int {
	n := r.u32()
	if r.err != nil {
		return 0
	}
	if int64(n) > int64(most) {
		r.fail("%d %s; at most %d", n, what, most)
		return 0
	}
	if int(n) > len(r.b)-r.off {
		r.fail("%d %s go beyond the end", n, what)
		return 0
	}
	return int(n)
}

// index reads an index into a space of n things.
func (r *moduleReader) index(what string, n int) int {
	i := r.u32()
	if r.err == nil && int64(i) >= int64(n) {
		r.fail("unknown %s %d", what, i)
	}
	if r.err != nil {
		return -1
	}
	return int(i)
}

func (r *moduleReader) name() string {
	s := string(r.bytes(r.count("bytes of a name", maxName)))
	if !utf8.ValidString(s) {
		r.fail("name is not UTF-8")
	}
	return s
}

// limits reads the limits of a table or memory that can have most at most.
func (r *moduleReader) limits(what string, most uint32) limits {
	l := limits{most: most}
	switch flag := r.byte(); flag {
	case 0:
		l.least = r.u32()
	case 1:
		l.least, l.most, l.bounded = r.u32(), r.u32(), true
	default:
		r.fail("limits of kind %d", flag)
	}
	if l.least > l.most || l.most > most {
		r.fail("%s of %d to %d; at most %d", what, l.least, l.most, most)
	}
	return l
}

func (r *moduleReader) valueType() valueType {
	t := r.byte()
	if typeNames[t] == "" {
		r.fail("unknown value type %#x", t)
	}
	return t
}

func (r *moduleReader) referenceType() valueType {
	t := r.byte()
	if !isReference(t) {
		r.fail("unknown reference type %#x", t)
	}
	return t
}

// valueTypes reads a list of types, which belongs to the module.
func (r *moduleReader) valueTypes(what string) []valueType {
	list := r.bytes(r.count(what, maxArity))
	for _, t := range list {
		if typeNames[t] == "" {
			r.fail("unknown value type %#x", t)
			return nil
		}
	}
	return list
}

func (r *moduleReader) table() tableType {
	return tableType{element: r.referenceType(), limits: r.limits("table", 1<<32-1)}
}

func (r *moduleReader) global() globalType {
	g := globalType{value: r.valueType()}
	switch flag := r.byte(); flag {
	case 0:
	case 1:
		g.mutable = true
	default:
		r.fail("global of mutability %d", flag)
	}
	return g
}
