package sandbox

import (
	"bytes"
	"fmt"
	"slices"
)

// Bounds of a module. Go and C programs stay far below; what is beyond makes compilers slow or large.
const (
	maxModule      = 256 << 20 // bytes
	maxTypes       = 50_000
	maxImports     = 1_000
	maxFunctions   = 200_000
	maxTables      = 16
	maxTable       = 2_000_000 // elements at the start, of all tables
	maxGlobals     = 100_000
	maxExports     = 100_000
	maxSegments    = 100_000 // element and data segments, each
	maxElements    = 4_000_000
	maxBody        = 1 << 20 // bytes of one function
	maxLocals      = 10_000  // of one function
	maxAllLocals   = 8_000_000
	maxBranches    = 65_520 // targets of one br_table
	maxNesting     = 4_096  // blocks in blocks
	maxArity       = 1_000  // parameters, results
	maxName        = 4_096  // bytes
	wasmPage       = 1 << 16
	maxMemoryPages = 1 << 15 // at the start: 2 GiB
)

// sectionOrder holds the ids of sections in the order in which they may come. 12 is the data count.
var sectionOrder = []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11}

var sectionNames = map[byte]string{
	1: "type", 2: "import", 3: "function", 4: "table", 5: "memory", 6: "global",
	7: "export", 8: "start", 9: "element", 10: "code", 11: "data", 12: "data count",
}

// A module is what checkModule has learned: the code without its custom sections (names, debugging data) and the size of its
// memory at the start.
type module struct {
	code      []byte
	minMemory uint64 // bytes
	imported  int    // functions
	declared  int    // functions with a body
	coded     int    // function bodies seen
	start     bool   // exports _start
	locals    int    // of all functions
}

// checkModule reads a module in one pass, in time and memory bounded by its length, and refuses what is malformed in its outline,
// beyond our bounds, or asks for imports that we do not have. It is no full validation: types are the engine's concern. Errors are ErrModule.
func checkModule(code []byte) (*module, error) {
	if len(code) > maxModule {
		return nil, fmt.Errorf("%w: module of %s; at most %s", ErrModule, byteText(int64(len(code))), byteText(maxModule))
	}
	if !bytes.HasPrefix(code, []byte("\x00asm\x01\x00\x00\x00")) {
		return nil, fmt.Errorf("%w: not a WebAssembly module of version 1", ErrModule)
	}
	m := &module{code: make([]byte, 0, len(code))}
	m.code = append(m.code, code[:8]...)
	r := &moduleReader{b: code, off: 8}
	last := -1
	for r.err == nil && r.off < len(r.b) {
		begin := r.off
		id := r.byte()
		size := int(r.u32())
		if r.err == nil && size > len(r.b)-r.off {
			r.fail("section %d of %d bytes goes beyond the end", id, size)
		}
		if r.err != nil {
			break
		}
		body := &moduleReader{b: r.b[:r.off+size], off: r.off}
		r.off += size
		if id == 0 {
			continue
		}
		place := slices.Index(sectionOrder, id)
		switch {
		case place < 0:
			body.fail("unknown section %d", id)
		case place <= last:
			body.fail("%s section twice or out of order", sectionNames[id])
		default:
			last = place
			m.section(id, body)
			if body.err == nil && body.off != len(body.b) {
				body.fail("%s section has %d bytes too many", sectionNames[id], len(body.b)-body.off)
			}
		}
		if r.err = body.err; r.err == nil {
			m.code = append(m.code, r.b[begin:r.off]...)
		}
	}
	if r.err == nil && m.coded != m.declared {
		r.fail("%d function bodies for %d functions", m.coded, m.declared)
	}
	if r.err == nil && !m.start {
		r.err = fmt.Errorf("no function _start is exported: not a WASI command")
	}
	if r.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModule, r.err)
	}
	return m, nil
}

func (m *module) section(id byte, r *moduleReader) {
	switch id {
	case 1:
		for range r.count("types", maxTypes) {
			if r.byte() != 0x60 {
				r.fail("type is not a function")
			}
			r.skip(r.count("parameters", maxArity))
			r.skip(r.count("results", maxArity))
			if r.err != nil {
				return
			}
		}
	case 2:
		m.imports(r)
	case 3:
		m.declared = r.count("functions", maxFunctions)
		for range m.declared {
			r.u32()
		}
	case 4:
		total := uint64(0)
		for range r.count("tables", maxTables) {
			r.byte()
			least, _ := r.limits()
			if total += uint64(least); total > maxTable {
				r.fail("tables of %d elements; at most %d", total, maxTable)
			}
		}
	case 5:
		for range r.count("memories", 1) {
			least, _ := r.limits()
			m.minMemory = uint64(least) * wasmPage
			if least > maxMemoryPages {
				r.fail("memory of %d pages at the start; at most %d", least, maxMemoryPages)
			}
		}
	case 6:
		for range r.count("globals", maxGlobals) {
			r.skip(2)
			r.constant()
		}
	case 7:
		for range r.count("exports", maxExports) {
			name, kind := r.name(), r.byte()
			r.u32()
			m.start = m.start || kind == 0 && name == "_start"
		}
	case 8:
		r.u32()
	case 9:
		m.elements(r)
	case 10:
		m.bodies(r)
	case 11:
		for range r.count("data segments", maxSegments) {
			kind := r.u32()
			if kind == 2 {
				r.u32()
			}
			if kind == 0 || kind == 2 {
				r.constant()
			}
			if kind > 2 {
				r.fail("data segment of kind %d", kind)
			}
			r.skip(int(r.u32()))
			if r.err != nil {
				return
			}
		}
	case 12:
		r.u32()
	}
}

// imports allows functions of WASI preview 1 and nothing else.
func (m *module) imports(r *moduleReader) {
	for range r.count("imports", maxImports) {
		from, name, kind := r.name(), r.name(), r.byte()
		if r.err != nil {
			return
		}
		if kind != 0 {
			r.fail("import %q.%q is not a function", from, name)
		}
		if from != "wasi_snapshot_preview1" || !wasiFunctions[name] {
			r.fail("unknown import %q.%q", from, name)
		}
		r.u32()
		m.imported++
	}
}

// elements counts what the element segments hold.
func (m *module) elements(r *moduleReader) {
	total := 0
	for range r.count("element segments", maxSegments) {
		kind := r.u32()
		if kind > 7 {
			r.fail("element segment of kind %d", kind)
		}
		active := kind&1 == 0
		if active && kind&2 != 0 {
			r.u32() // the table
		}
		if active {
			r.constant()
		}
		if kind&3 != 0 {
			r.byte() // what the elements are
		}
		n := r.count("elements", maxElements)
		if total += n; total > maxElements {
			r.fail("%d elements; at most %d", total, maxElements)
		}
		for range n {
			if r.err != nil {
				return
			}
			if kind&4 != 0 {
				r.constant()
			} else {
				r.u32()
			}
		}
	}
}

// bodies walks the code of each function.
func (m *module) bodies(r *moduleReader) {
	n := r.count("function bodies", maxFunctions)
	m.coded = n
	for i := range n {
		size := int(r.u32())
		if r.err == nil && size > maxBody {
			r.fail("function %d of %d bytes; at most %d", m.imported+i, size, maxBody)
		}
		if r.err == nil && size > len(r.b)-r.off {
			r.fail("function %d goes beyond the end", m.imported+i)
		}
		if r.err != nil {
			return
		}
		body := &moduleReader{b: r.b[:r.off+size], off: r.off}
		m.locals += body.locals()
		if body.err == nil && m.locals > maxAllLocals {
			body.fail("more than %d locals in all functions", maxAllLocals)
		}
		body.instructions()
		if body.err != nil {
			r.err = fmt.Errorf("function %d: %w", m.imported+i, body.err)
			return
		}
		r.off += size
	}
}
