package sandbox

import (
	"bytes"
	"fmt"
	"slices"
)

// Bounds of a module. Go and C programs stay far below; what is beyond makes compilers slow or large. Nothing that is within
// them costs checkModule more than time and memory in proportion to the module's length.
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
	maxBody        = 1 << 20   // bytes of one function
	maxLocals      = 10_000    // of one function
	maxAllLocals   = 8_000_000 // and parameters
	maxBranches    = 65_520    // targets of one br_table
	maxNesting     = 4_096     // blocks in blocks
	maxArity       = 1_000     // parameters, results
	maxName        = 4_096     // bytes
	wasmPage       = 1 << 16
	maxMemoryPages = 1 << 15 // at the start: 2 GiB
)

// sectionOrder holds the ids of sections in the order in which they may come. 12 is the data count.
var sectionOrder = []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11}

var sectionNames = map[byte]string{
	1: "type", 2: "import", 3: "function", 4: "table", 5: "memory", 6: "global",
	7: "export", 8: "start", 9: "element", 10: "code", 11: "data", 12: "data count",
}

// A module is what validateModule has learned of a module. Each kind of thing has its space of indices, in which imports are the first.
// Types are pieces of the bytes that were validated.
type module struct {
	// code is the module without its custom sections (names, debugging data).
	code []byte

	types     []signature
	imports   []importedThing
	functions []int // the types that they have
	tables    []tableType
	memory    *limits // in pages; nil: none
	minMemory uint64  // bytes, at the start
	globals   []globalType
	exports   map[string]exportedThing

	// changesTables says that there are instructions which change a table: set, grow, fill, copy, init.
	changesTables bool
	// dropsSegments says that there are instructions which drop a data or element segment.
	dropsSegments bool

	moduleProgress
}

// moduleProgress is what one section tells the next.
type moduleProgress struct {
	imported  int         // functions among imports
	constants int         // globals among imports: only they can be in constant expressions
	referable []bool      // functions of which code may take references; those beyond are not
	segments  []valueType // what the element segments hold
	elements  int         // in all of them
	dataCount int         // data segments, as announced; -1: not
	data      int         // data segments, as they came
	bodies    int         // of functions
	locals    int         // and parameters, of all functions
}

// checkModule validates a module and refuses what is beyond our bounds, asks for imports that we do not have, or is no WASI command.
// Errors are ErrModule.
func checkModule(code []byte) (*module, error) {
	m, err := validateModule(code)
	if err == nil {
		err = m.isCommand()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModule, err)
	}
	return m, nil
}

// validateModule reads a module in one pass, in time and memory bounded by its length, and refuses what is malformed or invalid by the
// WebAssembly Core Specification 2.0 (chapters 3 and 5), or so large in its parts that it would be a burden.
// It is stricter than that in one point: see vector.
func validateModule(code []byte) (*module, error) {
	if len(code) > maxModule {
		return nil, fmt.Errorf("module of %s; at most %s", byteText(int64(len(code))), byteText(maxModule))
	}
	if !bytes.HasPrefix(code, []byte("\x00asm\x01\x00\x00\x00")) {
		return nil, fmt.Errorf("not a WebAssembly module of version 1")
	}
	m := &module{code: make([]byte, 0, len(code)), exports: map[string]exportedThing{}}
	m.dataCount = -1
	m.code = append(m.code, code[:8]...)
	r := &moduleReader{b: code, off: 8}
	last := -1
	for r.err == nil && r.off < len(r.b) {
		last = m.nextSection(r, last)
	}
	if r.err == nil && m.bodies != len(m.functions)-m.imported {
		r.fail("%d function bodies for %d functions", m.bodies, len(m.functions)-m.imported)
	}
	if r.err == nil && m.dataCount >= 0 && m.data != m.dataCount {
		r.fail("%d data segments; %d announced", m.data, m.dataCount)
	}
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

// nextSection reads one section, which must come after the one whose place in their order is last, and returns its own place.
func (m *module) nextSection(r *moduleReader, last int) int {
	begin := r.off
	id := r.byte()
	size := int(r.u32())
	if r.err == nil && size > len(r.b)-r.off {
		r.fail("section %d of %d bytes goes beyond the end", id, size)
	}
	if r.err != nil {
		return last
	}
	body := &moduleReader{b: r.b[:r.off+size], off: r.off}
	r.off += size
	place := slices.Index(sectionOrder, id)
	switch {
	case id == 0:
		body.name()
		r.err = body.err
		return last
	case place < 0:
		body.fail("unknown section %d", id)
	case place <= last:
		body.fail("%s section twice or out of order", sectionNames[id])
	default:
		m.section(id, body)
		if body.err != nil {
			r.err = fmt.Errorf("%s section: %w", sectionNames[id], body.err)
			return last
		}
		if body.off != len(body.b) {
			body.fail("%s section has %d bytes too many", sectionNames[id], len(body.b)-body.off)
		}
	}
	if r.err = body.err; r.err != nil {
		return last
	}
	m.code = append(m.code, r.b[begin:r.off]...)
	return place
}

func (m *module) section(id byte, r *moduleReader) {
	switch id {
	case 1:
		m.readTypes(r)
	case 2:
		m.readImports(r)
	case 3:
		for range r.count("functions", maxFunctions) {
			m.functions = append(m.functions, r.index("type", len(m.types)))
		}
	case 4:
		for range r.count("tables", maxTables) {
			m.tables = append(m.tables, r.table())
		}
	case 5:
		for range r.count("memories", 1) {
			m.readMemory(r)
		}
	case 6:
		m.readGlobals(r)
	case 7:
		m.readExports(r)
	case 8:
		m.readStart(r)
	case 9:
		m.readElements(r)
	case 10:
		m.readCode(r)
	case 11:
		m.readData(r)
	case 12:
		m.dataCount = int(r.u32())
	}
}
