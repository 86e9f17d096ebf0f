package sandbox

// An operator is an instruction that takes operands of fixed types and gives at most one value.
type operator struct {
	known bool
	count int          // operands
	takes [3]valueType // their types
	gives valueType    // unknown: nothing
	width uint32       // bytes that it reads from memory or writes there; 0: it does neither
	lanes byte         // lanes among which it chooses one; 0: none
}

// A run describes the operators from first to last. The types are in the short form of parseSignature.
type run struct {
	first, last byte
	types       string
	width       uint32
	lanes       byte
}

func operatorTable(runs []run) *[256]operator {
	var table [256]operator
	for _, r := range runs {
		s := parseSignature(r.types)
		o := operator{known: true, count: len(s.params), width: r.width, lanes: r.lanes}
		copy(o.takes[:], s.params)
		if len(s.results) > 0 {
			o.gives = s.results[0]
		}
		for i := int(r.first); i <= int(r.last); i++ {
			table[i] = o
		}
	}
	return &table
}

// operators are those of one byte (Core Specification 2.0, sections 5.4.6 and 5.4.7).
var operators = operatorTable([]run{
	// loads
	{0x28, 0x28, "i:i", 4, 0}, {0x29, 0x29, "i:I", 8, 0}, {0x2a, 0x2a, "i:f", 4, 0}, {0x2b, 0x2b, "i:F", 8, 0},
	{0x2c, 0x2d, "i:i", 1, 0}, {0x2e, 0x2f, "i:i", 2, 0},
	{0x30, 0x31, "i:I", 1, 0}, {0x32, 0x33, "i:I", 2, 0}, {0x34, 0x35, "i:I", 4, 0},
	// stores
	{0x36, 0x36, "ii:", 4, 0}, {0x37, 0x37, "iI:", 8, 0}, {0x38, 0x38, "if:", 4, 0}, {0x39, 0x39, "iF:", 8, 0},
	{0x3a, 0x3a, "ii:", 1, 0}, {0x3b, 0x3b, "ii:", 2, 0},
	{0x3c, 0x3c, "iI:", 1, 0}, {0x3d, 0x3d, "iI:", 2, 0}, {0x3e, 0x3e, "iI:", 4, 0},
	// tests and comparisons
	{first: 0x45, last: 0x45, types: "i:i"}, {first: 0x46, last: 0x4f, types: "ii:i"},
	{first: 0x50, last: 0x50, types: "I:i"}, {first: 0x51, last: 0x5a, types: "II:i"},
	{first: 0x5b, last: 0x60, types: "ff:i"}, {first: 0x61, last: 0x66, types: "FF:i"},
	// arithmetic
	{first: 0x67, last: 0x69, types: "i:i"}, {first: 0x6a, last: 0x78, types: "ii:i"},
	{first: 0x79, last: 0x7b, types: "I:I"}, {first: 0x7c, last: 0x8a, types: "II:I"},
	{first: 0x8b, last: 0x91, types: "f:f"}, {first: 0x92, last: 0x98, types: "ff:f"},
	{first: 0x99, last: 0x9f, types: "F:F"}, {first: 0xa0, last: 0xa6, types: "FF:F"},
	// conversions
	{first: 0xa7, last: 0xa7, types: "I:i"}, {first: 0xa8, last: 0xa9, types: "f:i"}, {first: 0xaa, last: 0xab, types: "F:i"},
	{first: 0xac, last: 0xad, types: "i:I"}, {first: 0xae, last: 0xaf, types: "f:I"}, {first: 0xb0, last: 0xb1, types: "F:I"},
	{first: 0xb2, last: 0xb3, types: "i:f"}, {first: 0xb4, last: 0xb5, types: "I:f"}, {first: 0xb6, last: 0xb6, types: "F:f"},
	{first: 0xb7, last: 0xb8, types: "i:F"}, {first: 0xb9, last: 0xba, types: "I:F"}, {first: 0xbb, last: 0xbb, types: "f:F"},
	{first: 0xbc, last: 0xbc, types: "f:i"}, {first: 0xbd, last: 0xbd, types: "F:I"},
	{first: 0xbe, last: 0xbe, types: "i:f"}, {first: 0xbf, last: 0xbf, types: "I:F"},
	{first: 0xc0, last: 0xc1, types: "i:i"}, {first: 0xc2, last: 0xc4, types: "I:I"},
})

// saturating are the operators behind the byte 0xfc that convert without a trap.
var saturating = operatorTable([]run{
	{first: 0, last: 1, types: "f:i"}, {first: 2, last: 3, types: "F:i"}, {first: 4, last: 5, types: "f:I"}, {first: 6, last: 7, types: "F:I"},
})

// apply reads the immediates of operator op of the table and does to the stack what it does. prefix is the byte before it, if there is one.
func (c *codeChecker) apply(table *[256]operator, prefix string, op uint32) {
	if op > 255 || !table[op].known {
		c.fail("unknown instruction %s%#x", prefix, op)
		return
	}
	o := &table[op]
	if o.width > 0 {
		c.memory()
		if align := c.u32(); align > 4 || 1<<align > o.width {
			c.fail("alignment 2^%d of %d bytes", align, o.width)
		}
		c.u32() // offset
	}
	if o.lanes > 0 {
		if lane := c.byte(); lane >= o.lanes {
			c.fail("lane %d of %d", lane, o.lanes)
		}
	}
	for i := o.count - 1; i >= 0; i-- {
		c.pop(o.takes[i])
	}
	if o.gives != unknown {
		c.push(o.gives)
	}
}

// prefixed validates an instruction behind the byte 0xfc: saturating conversions, bulk memory and tables.
func (c *codeChecker) prefixed(op uint32) {
	switch op {
	case 8: // memory.init
		c.data()
		c.memory()
		c.zero()
		c.popThree()
	case 9: // data.drop
		c.data()
		c.m.dropsSegments = true
	case 10: // memory.copy
		c.memory()
		c.zero()
		c.zero()
		c.popThree()
	case 11: // memory.fill
		c.memory()
		c.zero()
		c.popThree()
	case 12: // table.init
		holds := c.element()
		c.tableOf(holds)
		c.popThree()
		c.m.changesTables = true
	case 13: // elem.drop
		c.element()
		c.m.dropsSegments = true
	case 14: // table.copy
		c.tableOf(c.table())
		c.popThree()
		c.m.changesTables = true
	case 15: // table.grow
		t := c.table()
		c.pop(i32)
		c.pop(t)
		c.push(i32)
		c.m.changesTables = true
	case 16: // table.size
		c.table()
		c.push(i32)
	case 17: // table.fill
		t := c.table()
		c.pop(i32)
		c.pop(t)
		c.pop(i32)
		c.m.changesTables = true
	default:
		c.apply(saturating, "0xfc ", op)
	}
}
