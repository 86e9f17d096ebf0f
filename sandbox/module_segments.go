package sandbox

// constant reads a constant expression that gives one value of type want (Core Specification 2.0, section 3.3.10). All instructions that
// may be in one give a value and take none; so there is just one.
func (m *module) constant(r *moduleReader, want valueType) {
	got := unknown
	switch op := r.byte(); op {
	case 0x23: // global.get
		if g := r.index("constant global", m.constants); g >= 0 {
			if m.globals[g].mutable {
				r.fail("global %d is not constant", g)
			}
			got = m.globals[g].value
		}
	case 0x41:
		r.signed(32)
		got = i32
	case 0x42:
		r.signed(64)
		got = i64
	case 0x43:
		r.skip(4)
		got = f32
	case 0x44:
		r.skip(8)
		got = f64
	case 0xd0: // ref.null
		got = r.referenceType()
	case 0xd2: // ref.func
		if f := r.index("function", len(m.functions)); f >= 0 {
			m.mayRefer(f)
		}
		got = funcref
	case 0xfd:
		if r.byte() != 12 { // v128.const
			r.fail("no constant instruction")
		}
		r.skip(16)
		got = v128
	default:
		r.fail("no constant instruction: %#x", op)
	}
	if r.err == nil && got != want {
		r.fail("constant of type %s; want %s", typeNames[got], typeNames[want])
	}
	if r.byte() != 0x0b && r.err == nil {
		r.fail("constant expression of several instructions")
	}
}

// readElements reads the element segments. The lowest bits of a segment's kind say: not active; explicit table, or only declared; expressions.
func (m *module) readElements(r *moduleReader) {
	for range r.count("element segments", maxSegments) {
		kind := r.u32()
		if kind > 7 {
			r.fail("element segment of kind %d", kind)
		}
		active, expressions := kind&1 == 0, kind&4 != 0
		table := 0
		if active {
			if kind&2 != 0 {
				table = r.index("table", len(m.tables))
			} else if len(m.tables) == 0 {
				r.fail("unknown table 0")
			}
			m.constant(r, i32)
		}
		holds := funcref
		if kind&3 != 0 {
			if expressions {
				holds = r.referenceType()
			} else {
				r.zero()
			}
		}
		n := r.count("elements", maxElements)
		if m.elements += n; m.elements > maxElements {
			r.fail("%d elements; at most %d", m.elements, maxElements)
		}
		if r.err == nil && active && m.tables[table].element != holds {
			r.fail("elements of type %s in a table of %s", typeNames[holds], typeNames[m.tables[table].element])
		}
		for range n {
			if expressions {
				m.constant(r, holds)
			} else if f := r.index("function", len(m.functions)); f >= 0 {
				m.mayRefer(f)
			}
			if r.err != nil {
				return
			}
		}
		m.segments = append(m.segments, holds)
	}
}

func (m *module) readData(r *moduleReader) {
	for range r.count("data segments", maxSegments) {
		kind := r.u32()
		switch kind {
		case 0, 2:
			if kind == 2 {
				r.index("memory", m.memories())
			} else if m.memory == nil {
				r.fail("unknown memory 0")
			}
			m.constant(r, i32)
		case 1:
		default:
			r.fail("data segment of kind %d", kind)
		}
		r.skip(int(r.u32()))
		if r.err != nil {
			return
		}
		m.data++
	}
}
