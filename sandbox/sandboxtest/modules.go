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

// wasiTypes are the host functions with their types: parameters, a colon, results; i is i32, I is i64.
var wasiTypes = map[string]string{
	"args_get": "ii:i", "args_sizes_get": "ii:i", "environ_get": "ii:i", "environ_sizes_get": "ii:i",
	"clock_res_get": "ii:i", "clock_time_get": "iIi:i",
	"fd_advise": "iIIi:i", "fd_allocate": "iII:i", "fd_close": "i:i", "fd_datasync": "i:i", "fd_fdstat_get": "ii:i",
	"fd_fdstat_set_flags": "ii:i", "fd_fdstat_set_rights": "iII:i", "fd_filestat_get": "ii:i", "fd_filestat_set_size": "iI:i",
	"fd_filestat_set_times": "iIIi:i", "fd_pread": "iiiIi:i", "fd_prestat_get": "ii:i", "fd_prestat_dir_name": "iii:i",
	"fd_pwrite": "iiiIi:i", "fd_read": "iiii:i", "fd_readdir": "iiiIi:i", "fd_renumber": "ii:i", "fd_seek": "iIii:i",
	"fd_sync": "i:i", "fd_tell": "ii:i", "fd_write": "iiii:i",
	"path_create_directory": "iii:i", "path_filestat_get": "iiiii:i", "path_filestat_set_times": "iiiiIIi:i", "path_link": "iiiiiii:i",
	"path_open": "iiiiiIIii:i", "path_readlink": "iiiiii:i", "path_remove_directory": "iii:i", "path_rename": "iiiiii:i",
	"path_symlink": "iiiii:i", "path_unlink_file": "iii:i",
	"poll_oneoff": "iiii:i", "proc_exit": "i:", "proc_raise": "i:i", "sched_yield": ":i", "random_get": "ii:i",
	"sock_accept": "iii:i", "sock_recv": "iiiiii:i", "sock_send": "iiiii:i", "sock_shutdown": "ii:i",
}

// A build is a command under construction that imports functions of WASI.
type build struct {
	imports []string // their indices are those of the functions
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
		params, results, _ := strings.Cut(wasiTypes[f], ":")
		kinds := func(s string) []byte {
			return bytes.Map(func(r rune) rune { return map[rune]rune{'i': 0x7f, 'I': 0x7e}[r] }, []byte(s))
		}
		types = append(types, cat([]byte{0x60}, sized(kinds(params)), sized(kinds(results))))
		imports = append(imports, cat(name("wasi_snapshot_preview1"), name(f), []byte{0}, num(uint64(i+1))))
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

// canaries traps if it finds something that it has left in memory, in its data, in a global, in a table, or in what the host knows of it;
// then it leaves that.
func canaries() []byte {
	b := &build{
		imports: []string{"fd_close", "fd_fdstat_get", "clock_time_get"}, pages: 2,
		globals: [][]byte{cat([]byte{0x7f, 1}, i32(0), []byte{0x0b}), {0x7e, 1, 0x42, 9, 0x0b}},
		tables:  [][]byte{{0x70, 0, 4}},
		data:    [][]byte{text(2000, "x")},
	}
	load := func(at int32) []byte { return cat(i32(at), []byte{0x28, 2, 0}) }
	store := func(at, v int32) []byte { return cat(i32(at), i32(v), []byte{0x36, 2, 0}) }
	b.code = cat(
		load(0), unlessZero, load(65536), unlessZero, load(131068), unlessZero,
		load(2000), i32('x'), []byte{0x47}, unlessZero,
		[]byte{0x3f, 0}, i32(2), []byte{0x47}, unlessZero, // memory.size
		[]byte{0x23, 0}, unlessZero, []byte{0x23, 1, 0x42, 9, 0x52}, unlessZero,
		i32(1), []byte{0x25, 0, 0xd1, 0x45}, unlessZero, // table.get, ref.is_null
		[]byte{0xfc, 16, 0}, i32(4), []byte{0x47}, unlessZero, // table.size
		i32(2), i32(4096), []byte{0x10, 1}, unlessZero, // stderr is open
		// The clock begins where it began: its first look differs from the last one's by no run.
		i32(1), []byte{0x42, 0}, i32(8), []byte{0x10, 2}, unlessZero,
		i32(8), []byte{0x29, 3, 0, 0x42}, leb(2000), []byte{0x56}, unlessZero, // no more than two ticks, in nanoseconds

		store(0, 1), store(65536, 2), store(131068, 3), store(2000, 'y'),
		i32(7), []byte{0x24, 0, 0x42, 8, 0x24, 1}, // global.set
		i32(1), []byte{0xd2}, num(3), []byte{0x26, 0}, // table.set of ref.func
		[]byte{0xd0, 0x70}, i32(3), []byte{0xfc, 15, 0, 0x1a}, // table.grow
		i32(1), []byte{0x40, 0, 0x1a}, store(131072, 5), // memory.grow
		i32(2), []byte{0x10, 0, 0x1a}, // fd_close
	)
	return b.module()
}

// leb returns a signed number as a constant holds it.
func leb(n int32) []byte { return i32(n)[1:] }

// wild calls a host function with one argument after the other at and beyond the end of memory, the others being harmless. What it
// answers is its own concern, but after it the module counts its memory and finds all that it has beside what it pointed to.
func wild(function string) []byte {
	params, results, _ := strings.Cut(wasiTypes[function], ":")
	b := &build{imports: []string{function}, pages: 1, data: [][]byte{text(60000, "canary")}}
	for i := range params {
		for _, v := range []int32{-1, -2, -8, -16, -65536, 1 << 30, 1<<31 - 1, -1 << 31, 65536, 65537, 65535, 65534, 65532, 65528, 65520, 0} {
			for j, kind := range params {
				switch {
				case kind == 'I' && i == j:
					b.code = append(b.code, 0x42)
					b.code = append(b.code, leb(v)...)
				case kind == 'I':
					b.code = append(b.code, 0x42, 0)
				case i == j:
					b.code = append(b.code, i32(v)...)
				case j == 0 && !strings.HasSuffix(function, "_get"):
					b.code = append(b.code, i32(1)...) // a descriptor that is there
				default:
					b.code = append(b.code, i32(64)...)
				}
			}
			b.code = append(b.code, 0x10, 0)
			if results != "" {
				b.code = append(b.code, 0x1a)
			}
		}
	}
	b.code = append(b.code, cat([]byte{0x3f, 0}, i32(1), []byte{0x47}, unlessZero)...)
	b.code = append(b.code, cat(i32(60000), []byte{0x28, 0, 0}, i32('c'|'a'<<8|'n'<<16|'a'<<24), []byte{0x47}, unlessZero)...)
	return b.module()
}
