package sandbox

import (
	"fmt"
	"unicode/utf8"
)

// A moduleReader reads the binary format of WebAssembly. After its first error, which it keeps, it reads zeros.
type moduleReader struct {
	b   []byte
	off int
	err error
}

func (r *moduleReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format+" (at byte %d)", append(args, r.off)...)
	}
}

func (r *moduleReader) byte() byte {
	if r.err != nil {
		return 0
	}
	if r.off >= len(r.b) {
		r.fail("ends too early")
		return 0
	}
	c := r.b[r.off]
	r.off++
	return c
}

func (r *moduleReader) skip(n int) {
	if r.err != nil {
		return
	}
	if n < 0 || n > len(r.b)-r.off {
		r.fail("%d bytes go beyond the end", n)
		return
	}
	r.off += n
}

// u32 reads an unsigned LEB128 number of at most 5 bytes.
func (r *moduleReader) u32() uint32 {
	var v uint32
	for shift := 0; ; shift += 7 {
		c := r.byte()
		if r.err != nil {
			return 0
		}
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

// skipLEB skips a LEB128 number of at most bits bits, signed or not.
func (r *moduleReader) skipLEB(bits int) {
	for n := (bits + 6) / 7; n > 0; n-- {
		if c := r.byte(); r.err != nil || c < 0x80 {
			return
		}
	}
	r.fail("number is too long")
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

func (r *moduleReader) name() string {
	n := r.count("bytes of a name", maxName)
	if r.err != nil {
		return ""
	}
	s := string(r.b[r.off : r.off+n])
	r.off += n
	if !utf8.ValidString(s) {
		r.fail("name is not UTF-8")
	}
	return s
}

// limits reads the limits of a table or memory; most is 0 if there is none.
func (r *moduleReader) limits() (least, most uint32) {
	switch flag := r.byte(); flag {
	case 0:
		return r.u32(), 0
	case 1:
		return r.u32(), r.u32()
	default:
		r.fail("limits of kind %d", flag)
		return 0, 0
	}
}

// constant skips a constant expression.
func (r *moduleReader) constant() {
	for r.err == nil {
		switch op := r.byte(); op {
		case 0x0b:
			return
		case 0x23, 0xd2: // global.get, ref.func
			r.u32()
		case 0x41: // i32.const
			r.skipLEB(32)
		case 0x42: // i64.const
			r.skipLEB(64)
		case 0x43:
			r.skip(4)
		case 0x44:
			r.skip(8)
		case 0xd0: // ref.null
			r.byte()
		case 0xfd:
			if r.u32() != 12 { // v128.const
				r.fail("no constant instruction")
			}
			r.skip(16)
		default:
			r.fail("no constant instruction: %#x", op)
		}
	}
}
