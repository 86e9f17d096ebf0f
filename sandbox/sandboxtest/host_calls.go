package sandboxtest

import (
	"maps"
	"slices"
	"strings"

	"github.com/millrace/millrace/sandbox"
)

// The host functions by their import module, with their types: parameters, a colon, results; i is i32, I is i64.
var (
	wasiTypes = map[string]string{
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
	millraceTypes = map[string]string{
		"search_open_1": "iiiii:i", "search_1": "iiiiiii:i", "decompress_1": "iiiii:i",
		"sha256_1": "iii:i", "crc32c_1": "iii:i", "xxh3_1": "iii:i",
	}
)

// hostFunction returns the module that a function is imported from, and its types.
func hostFunction(function string) (module, types string) {
	if types, ok := millraceTypes[function]; ok {
		return "millrace", types
	}
	return "wasi_snapshot_preview1", wasiTypes[function]
}

// A HostCall is a run of the module of [HostCalls].
type HostCall struct {
	Function string
	Input    string
	Is       error // that the run ends with: nil but for functions that end it
}

// HostCalls returns a module that calls one host function, which its input says, with pointers and lengths at and beyond the end of memory; and an input for each function
// that a module may import. What a call answers is its own concern; after all of them the module traps unless it finds its memory as it was, beside
// what they pointed to.
func HostCalls() (module []byte, calls []HostCall) {
	functions := slices.Concat(slices.Sorted(maps.Keys(wasiTypes)), slices.Sorted(maps.Keys(millraceTypes)))
	for i, f := range functions {
		c := HostCall{Function: f, Input: string(rune(i)) + "input"}
		if f == "proc_exit" {
			c.Is = sandbox.ErrExit
		}
		calls = append(calls, c)
	}
	return wild(functions...), calls
}

// edges are pointers and lengths at and beyond the end of one page.
var edges = []int32{-1, -2, -8, -16, -65536, 1 << 30, 1<<31 - 1, -1 << 31, 65536, 65537, 65535, 65534, 65532, 65528, 65520, 0}

// vectors are the functions that take a list of pointers and lengths: their second argument points to it, the third is how many it has.
var vectors = []string{"fd_read", "fd_write", "fd_pread", "fd_pwrite", "sock_recv", "sock_send"}

// wild returns a module that calls one of the functions, that whose number is the first byte of its input.
func wild(functions ...string) []byte {
	b := &build{imports: slices.Concat(functions, []string{"fd_read", "search_open_1"}), pages: 1, data: [][]byte{text(wildCanary, "canary")}}
	read, main := len(functions), len(b.imports)
	b.locals = []byte{1, 1, 0x7f}
	b.code = cat(store(64, 2000), store(68, 1), i32(0), i32(64), i32(1), i32(72), []byte{0x10}, num(uint64(read)), unlessZero,
		i32(2000), []byte{0x2d, 0, 0, 0x21, 0})
	for i, f := range functions {
		b.code = cat(b.code, []byte{0x20, 0}, i32(int32(i)), []byte{0x46, 0x04, 0x40, 0x10}, num(uint64(main+1+i)), []byte{0x0b})
		b.more = append(b.more, body(wildCalls(f, uint64(i), uint64(read+1))...))
	}
	return b.module()
}

// wildCanary is where there are some bytes that no call points to.
const wildCanary = 60000

// wildCalls is the code that calls a function, given by its index, with one argument after the other at an edge, the others being harmless.
func wildCalls(function string, index, open uint64) (code []byte) {
	_, types := hostFunction(function)
	params, results, _ := strings.Cut(types, ":")
	if function == "search_1" { // which needs a pattern
		code = cat(i32(0), i32(1), i32(0), i32(64), i32(64), []byte{0x10}, num(open), []byte{0x1a})
	}
	call := func(args []int32) {
		for i, kind := range params {
			if kind == 'I' {
				code = append(append(code, 0x42), leb(args[i])...)
			} else {
				code = append(code, i32(args[i])...)
			}
		}
		code = append(append(code, 0x10), num(index)...)
		if results != "" {
			code = append(code, 0x1a)
		}
	}
	for i := range params {
		for _, v := range edges {
			args := harmless(function, params)
			args[i] = v
			call(args)
		}
	}
	if slices.Contains(vectors, function) {
		args := harmless(function, params)
		args[1], args[2] = 64, 1
		for _, v := range edges {
			code = cat(code, store(64, v), store(68, 16))
			call(args)
			code = cat(code, store(64, 1024), store(68, v))
			call(args)
		}
	}
	return cat(code, []byte{0x3f, 0}, i32(1), []byte{0x47}, unlessZero,
		i32(wildCanary), []byte{0x28, 0, 0}, i32('c'|'a'<<8|'n'<<16|'a'<<24), []byte{0x47}, unlessZero)
}

// harmless returns arguments with which a function comes as far as it can.
func harmless(function, params string) []int32 {
	switch function {
	case "search_open_1":
		return []int32{0, 1, 0, 64, 64}
	case "search_1":
		return []int32{0, 0, 0, 64, 128, 256, 4}
	case "decompress_1":
		return []int32{3, 0, 64, 128, 64}
	}
	args := make([]int32, len(params))
	for i, kind := range params {
		if kind == 'i' {
			args[i] = 64
		}
	}
	switch kind, _, _ := strings.Cut(function, "_"); kind {
	case "fd", "path", "sock", "clock": // a descriptor that is there, a clock
		args[0] = 1
	}
	if function == "fd_read" || function == "fd_pread" {
		args[0] = 0
	}
	return args
}
