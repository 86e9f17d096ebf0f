package sandboxtest

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
)

// A wat is a module under construction, section by section.
type wat []byte

func newWat() wat { return wat("\x00asm\x01\x00\x00\x00") }

func (w wat) section(id byte, body ...byte) wat {
	w = append(w, id)
	return append(binary.AppendUvarint(w, uint64(len(body))), body...)
}

// list prefixes items with their number.
func list(items ...[]byte) []byte {
	b := binary.AppendUvarint(nil, uint64(len(items)))
	for _, i := range items {
		b = append(b, i...)
	}
	return b
}

func sized(b []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(b))), b...) }
func name(s string) []byte  { return sized([]byte(s)) }
func num(n uint64) []byte   { return binary.AppendUvarint(nil, n) }

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// command returns a module with one memory of pages (min, max 65,536), and functions of type () -> () with these bodies, of which the first is _start.
func command(pages uint64, bodies ...[]byte) []byte {
	var kinds, codes [][]byte
	for _, b := range bodies {
		kinds = append(kinds, []byte{0})
		codes = append(codes, sized(b))
	}
	return newWat().section(1, list([]byte{0x60, 0, 0})...).
		section(3, list(kinds...)...).
		section(5, list(cat([]byte{1}, num(pages), num(65536)))...).
		section(7, list(cat(name("_start"), []byte{0, 0}))...).
		section(10, list(codes...)...)
}

// body returns a function body without locals.
func body(code ...byte) []byte { return append(append([]byte{0}, code...), 0x0b) }

func repeat(n int, b ...byte) []byte { return bytes.Repeat(b, n) }

func i32(n int32) []byte {
	b := []byte{0x41}
	for {
		c := byte(n & 0x7f)
		n >>= 7
		if n == 0 && c&0x40 == 0 || n == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

// A build is a command under construction that imports functions of the host.
type build struct {
	imports []string // of hostTypes; their indices are those of the functions
	pages   uint64   // of memory, least
	locals  []byte   // declaration; nil: none
	globals [][]byte
	tables  [][]byte
	data    [][]byte // active segments
	start   bool     // the code is the start function, and _start is empty
	code    []byte
	more    [][]byte // bodies of further functions of type () -> ()
}

func (b *build) module() []byte {
	n := uint64(len(b.imports))
	types, imports := [][]byte{{0x60, 0, 0}}, [][]byte{}
	for i, f := range b.imports {
		module, signature := hostFunction(f)
		params, results, _ := strings.Cut(signature, ":")
		kinds := func(s string) []byte {
			return bytes.Map(func(r rune) rune { return map[rune]rune{'i': 0x7f, 'I': 0x7e}[r] }, []byte(s))
		}
		types = append(types, cat([]byte{0x60}, sized(kinds(params)), sized(kinds(results))))
		imports = append(imports, cat(name(module), name(f), []byte{0}, num(uint64(i+1))))
	}
	locals := b.locals
	if locals == nil {
		locals = []byte{0}
	}
	bodies := [][]byte{sized(cat(locals, b.code, []byte{0x0b}))}
	for _, m := range b.more {
		bodies = append(bodies, sized(m))
	}
	entry := n
	if b.start {
		entry = n + uint64(len(bodies))
		bodies = append(bodies, sized(body()))
	}
	w := newWat().section(1, list(types...)...)
	if n > 0 {
		w = w.section(2, list(imports...)...)
	}
	w = w.section(3, list(slices.Repeat([][]byte{{0}}, len(bodies))...)...)
	if b.tables != nil {
		w = w.section(4, list(b.tables...)...)
	}
	w = w.section(5, list(cat([]byte{0}, num(b.pages)))...)
	if b.globals != nil {
		w = w.section(6, list(b.globals...)...)
	}
	w = w.section(7, list(cat(name("_start"), []byte{0}, num(entry)), cat(name("memory"), []byte{2, 0}))...)
	if b.start {
		w = w.section(8, num(n)...)
	}
	if b.tables != nil { // so that the code may take a reference of its own function
		w = w.section(9, list(cat([]byte{0x03, 0x00}, list(num(n))))...)
	}
	w = w.section(10, list(bodies...)...)
	if b.data != nil {
		w = w.section(11, list(b.data...)...)
	}
	return w
}

// Instructions that other tests share.
var (
	unlessZero = []byte{0x04, 0x40, 0x00, 0x0b}       // trap unless what is on the stack is 0
	ifZero     = []byte{0x45, 0x04, 0x40, 0x00, 0x0b} // trap if it is
)

// text returns an active data segment.
func text(at int32, s string) []byte { return cat([]byte{0}, i32(at), []byte{0x0b}, name(s)) }

// times returns code that runs the given one n times; local 0 counts.
func times(n int32, code []byte) []byte {
	return cat([]byte{0x03, 0x40}, code, []byte{0x20, 0}, i32(1), []byte{0x6a, 0x22, 0}, i32(n), []byte{0x49, 0x0d, 0, 0x0b})
}

// opens tries to open a path n times, from each of the descriptors 0 to 9; it traps if that works.
func opens(n int32, path string) []byte {
	b := &build{imports: []string{"path_open"}, pages: 1, locals: []byte{1, 1, 0x7f}, data: [][]byte{text(100, path)}}
	for fd := range int32(10) {
		b.code = append(b.code, cat(i32(fd), i32(1), i32(100), i32(int32(len(path))), i32(0), []byte{0x42, 0x7f, 0x42, 0x7f}, i32(0), i32(0), []byte{0x10, 0}, ifZero)...)
	}
	b.code = times(n/10, b.code)
	return b.module()
}

// sockets tries each function of sockets on the descriptors 0 to 9; it traps if one works.
func sockets() []byte {
	b := &build{imports: []string{"sock_accept", "sock_recv", "sock_send", "sock_shutdown"}, pages: 1}
	for fd := range int32(10) {
		b.code = append(b.code, cat(
			i32(fd), i32(0), i32(0), []byte{0x10, 0}, ifZero,
			i32(fd), i32(0), i32(1), i32(0), i32(64), i32(68), []byte{0x10, 1}, ifZero,
			i32(fd), i32(0), i32(1), i32(0), i32(64), []byte{0x10, 2}, ifZero,
			i32(fd), i32(3), []byte{0x10, 3}, ifZero)...)
	}
	return b.module()
}

// exits calls proc_exit(7) from the start function or, through a table, from depth calls deep.
func exits(start bool, depth int) []byte {
	b := &build{imports: []string{"proc_exit"}, pages: 1, start: start}
	b.code = []byte{0x10, 2}
	for i := range depth {
		b.more = append(b.more, body(0x10, byte(i+3)))
	}
	b.more = append(b.more, body(cat(i32(7), []byte{0x10, 0}, []byte{0x00})...))
	return b.module()
}

// growsTable grows a table without end.
func growsTable() []byte {
	b := &build{pages: 1, tables: [][]byte{{0x70, 0, 1}}}
	b.code = cat([]byte{0x03, 0x40, 0xd0, 0x70}, i32(1<<12), []byte{0xfc, 15, 0, 0x1a, 0x0c, 0, 0x0b})
	return b.module()
}

// leb returns a signed number as a constant holds it.
func leb(n int32) []byte { return i32(n)[1:] }
