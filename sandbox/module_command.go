package sandbox

import "fmt"

// isCommand refuses what is no WASI command for our engine: other imports than our host functions with their types, a table or memory
// that is too large from the start, no _start to run.
func (m *module) isCommand() error {
	for _, i := range m.imports {
		if i.kind != externalFunction {
			return fmt.Errorf("import %q.%q is not a function", i.from, i.name)
		}
		short, known := hostFunctions[i.from][i.name]
		if !known {
			return fmt.Errorf("unknown import %q.%q", i.from, i.name)
		}
		if want := parseSignature(short); !i.signature.equal(want) {
			return fmt.Errorf("import %q.%q has type %v; want %v", i.from, i.name, i.signature, want)
		}
	}
	total := uint64(0)
	for _, t := range m.tables {
		total += uint64(t.least)
	}
	if total > maxTable {
		return fmt.Errorf("tables of %d elements; at most %d", total, maxTable)
	}
	if m.memory != nil && m.memory.least > maxMemoryPages {
		return fmt.Errorf("memory of %d pages at the start; at most %d", m.memory.least, maxMemoryPages)
	}
	start, found := m.exports["_start"]
	if !found || start.kind != externalFunction {
		return fmt.Errorf("no function _start is exported: not a WASI command")
	}
	if s := m.types[m.functions[start.index]]; !s.equal(signature{}) {
		return fmt.Errorf("_start has type %v; want %v: not a WASI command", s, signature{})
	}
	return nil
}
