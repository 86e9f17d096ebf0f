package sandbox

import "encoding/binary"

// Two small modules stand between the engine and a guest. Written by hand, because a host function cannot be left and entered again.
//
// The shim is what the guest imports as wasi_snapshot_preview1: the functions of the host, of which those that may be where a
// snapshot is taken are called until they answer something else than again:
//
//	(func (export "fd_read") (param i32 i32 i32 i32) (result i32) (local i32)
//	  loop (result i32)
//	    local.get 0 … local.get 3  call $host.fd_read
//	    local.tee 4  i32.const again  i32.eq  br_if 0
//	    local.get 4
//	  end)
//
// A stack that is restored continues behind the call that took the snapshot, which there has answered again: so the host
// is called once more, on the new stack, where it can take the next snapshot and do what the guest wants.
//
// The entry calls the guest, so that a host function is below all frames of the guest: a call begins by continuing a snapshot from there,
// and ends by going back to it.
//
//	(func (export "run")
//	  call $host.begin  br_if 0
//	  call $guest.start            if there is a start function
//	  call $guest._start)

// again is no error number of WASI.
const again = 0xffff

// assembled is a module under construction.
type assembled []byte

func newAssembled() assembled { return assembled("\x00asm\x01\x00\x00\x00") }

func (a assembled) section(id byte, items ...[]byte) assembled {
	var body []byte
	body = binary.AppendUvarint(body, uint64(len(items)))
	for _, i := range items {
		body = append(body, i...)
	}
	return append(binary.AppendUvarint(append(a, id), uint64(len(body))), body...)
}

// prefixed puts the length of b in front of it.
func prefixed(b ...byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(b))), b...) }

// external is an import or export of a function by its index, or the index of its type.
func external(index int, names ...string) []byte {
	var b []byte
	for _, n := range names {
		b = append(b, prefixed([]byte(n)...)...)
	}
	return binary.AppendUvarint(append(b, exportFunction), uint64(index))
}

// shim assembles the module that a guest imports.
func shim() []byte {
	var types, imports, functions, exports, bodies [][]byte
	for i, c := range wasiCalls {
		params, results := c.types()
		types = append(types, append(append([]byte{0x60}, prefixed(params...)...), prefixed(results...)...))
		imports = append(imports, external(i, "host", c.name))
		if c.point == nowhere {
			exports = append(exports, external(i, c.name))
			continue
		}
		exports = append(exports, external(len(wasiCalls)+len(functions), c.name))
		functions = append(functions, binary.AppendUvarint(nil, uint64(i)))
		n := byte(len(params))
		body := []byte{1, 1, i32, 0x03, i32}
		for p := range n {
			body = append(body, 0x20, p)
		}
		body = append(binary.AppendUvarint(append(body, 0x10), uint64(i)), 0x22, n, 0x41)
		body = append(body, again&0x7f|0x80, again>>7&0x7f|0x80, again>>14)
		body = append(body, 0x46, 0x0d, 0, 0x20, n, 0x0b, 0x0b)
		bodies = append(bodies, prefixed(body...))
	}
	return newAssembled().section(1, types...).section(2, imports...).section(3, functions...).section(7, exports...).section(10, bodies...)
}

// entry assembles the module that calls a guest.
func entry(w *rewritten) []byte {
	imports := [][]byte{external(1, "host", "begin"), external(0, "guest", "_start")}
	body := []byte{0, 0x10, 0, 0x0d, 0}
	if w.start {
		imports = append(imports, external(0, "guest", w.prefix+"start"))
		body = append(body, 0x10, 2)
	}
	body = append(body, 0x10, 1, 0x0b)
	return newAssembled().section(1, []byte{0x60, 0, 0}, []byte{0x60, 0, 1, i32}).section(2, imports...).section(3, []byte{0}).
		section(7, external(len(imports), "run")).section(10, prefixed(body...))
}
