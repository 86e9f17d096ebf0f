package sandbox

func (m *module) readTypes(r *moduleReader) {
	for range r.count("types", maxTypes) {
		if r.byte() != 0x60 {
			r.fail("type is not a function")
		}
		s := signature{params: r.valueTypes("parameters"), results: r.valueTypes("results")}
		if r.err != nil {
			return
		}
		m.types = append(m.types, s)
	}
}

func (m *module) readImports(r *moduleReader) {
	for range r.count("imports", maxImports) {
		i := importedThing{from: r.name(), name: r.name(), kind: externalKind(r.byte())}
		switch i.kind {
		case externalFunction:
			if t := r.index("type", len(m.types)); t >= 0 {
				i.signature = m.types[t]
				m.functions = append(m.functions, t)
				m.imported++
			}
		case externalTable:
			m.tables = append(m.tables, r.table())
		case externalMemory:
			m.readMemory(r)
		case externalGlobal:
			m.globals = append(m.globals, r.global())
			m.constants++
		default:
			r.fail("import of kind %d", i.kind)
		}
		if r.err != nil {
			return
		}
		m.imports = append(m.imports, i)
	}
}

func (m *module) readMemory(r *moduleReader) {
	if m.memory != nil {
		r.fail("2 memories; at most 1")
	}
	l := r.limits("memory", 1<<16)
	m.memory = &l
	m.minMemory = uint64(l.least) * wasmPage
}

func (m *module) readGlobals(r *moduleReader) {
	for range r.count("globals", maxGlobals) {
		g := r.global()
		m.constant(r, g.value)
		if r.err != nil {
			return
		}
		m.globals = append(m.globals, g)
	}
}

func (m *module) readExports(r *moduleReader) {
	for range r.count("exports", maxExports) {
		name := r.name()
		e := exportedThing{kind: externalKind(r.byte())}
		switch e.kind {
		case externalFunction:
			if e.index = r.index("function", len(m.functions)); e.index >= 0 {
				m.mayRefer(e.index)
			}
		case externalTable:
			e.index = r.index("table", len(m.tables))
		case externalMemory:
			e.index = r.index("memory", m.memories())
		case externalGlobal:
			e.index = r.index("global", len(m.globals))
		default:
			r.fail("export of kind %d", e.kind)
		}
		if _, twice := m.exports[name]; twice {
			r.fail("export %q twice", name)
		}
		if r.err != nil {
			return
		}
		m.exports[name] = e
	}
}

func (m *module) memories() int {
	if m.memory == nil {
		return 0
	}
	return 1
}

// mayRefer notes that a function is named outside of code, which allows ref.func to name it in code.
func (m *module) mayRefer(function int) {
	if m.referable == nil {
		m.referable = make([]bool, len(m.functions))
	}
	m.referable[function] = true
}

func (m *module) readStart(r *moduleReader) {
	f := r.index("function", len(m.functions))
	if f >= 0 && !m.types[m.functions[f]].equal(signature{}) {
		r.fail("start function has type %v", m.types[m.functions[f]])
	}
}
