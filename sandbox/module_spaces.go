package sandbox

// What follows reads an index in an instruction and returns what is there.

func (c *codeChecker) local() valueType {
	if i := c.index("local", len(c.locals)); i >= 0 {
		return c.locals[i]
	}
	return unknown
}

func (c *codeChecker) global() globalType {
	if i := c.index("global", len(c.m.globals)); i >= 0 {
		return c.m.globals[i]
	}
	return globalType{}
}

// table returns what the table holds.
func (c *codeChecker) table() valueType {
	if i := c.index("table", len(c.m.tables)); i >= 0 {
		return c.m.tables[i].element
	}
	return unknown
}

// tableOf reads the index of a table that must hold references of type want.
func (c *codeChecker) tableOf(want valueType) {
	if got := c.table(); got != want {
		c.fail("table of %s; want %s", typeNames[got], typeNames[want])
	}
}

// element returns what the element segment holds.
func (c *codeChecker) element() valueType {
	if i := c.index("element segment", len(c.m.segments)); i >= 0 {
		return c.m.segments[i]
	}
	return unknown
}

// data reads the index of a data segment. Their number must have been announced, for they come after the code.
func (c *codeChecker) data() {
	c.index("data segment", max(c.m.dataCount, 0))
}

// memory says that the instruction needs a memory.
func (c *codeChecker) memory() {
	if c.m.memory == nil {
		c.fail("unknown memory 0")
	}
}

// popThree pops what instructions on pieces of memory or tables take: where to, where from (or what), how many.
func (c *codeChecker) popThree() {
	c.pop(i32)
	c.pop(i32)
	c.pop(i32)
}
