package sandbox

import "bytes"

// blockType reads the type of a block: nothing, one result, or the index of a type.
func (c *codeChecker) blockType() signature {
	if c.off < len(c.b) {
		first := c.off
		switch t := c.b[first]; {
		case t == 0x40:
			c.off++
			return signature{}
		case typeNames[t] != "":
			c.off++
			return signature{results: c.b[first:c.off]}
		}
	}
	t := c.signed(33)
	if t < 0 || t >= int64(len(c.m.types)) {
		c.fail("unknown type %d", t)
		return signature{}
	}
	return c.m.types[t]
}

// block validates block, loop and if.
func (c *codeChecker) block(op byte) {
	s := c.blockType()
	if op == 0x04 {
		c.pop(i32)
	}
	c.popAll(s.params)
	c.enter(op, s)
}

// otherwise validates else.
func (c *codeChecker) otherwise() {
	f := c.leave()
	if f.kind != 0x04 {
		c.fail("else without if")
		return
	}
	c.enter(0x05, signature{f.params, f.results})
}

func (c *codeChecker) end() {
	f := c.leave()
	if f.kind == 0x04 && !bytes.Equal(f.params, f.results) {
		c.fail("if without else has type %v", signature{f.params, f.results})
	}
	if f.kind != bodyFrame {
		c.pushAll(f.results)
	}
}

// label reads the label of a branch and returns what the branch carries: a loop's parameters, else a block's results.
func (c *codeChecker) label() []valueType {
	i := c.index("label", len(c.frames))
	if i < 0 {
		return nil
	}
	f := &c.frames[len(c.frames)-1-i]
	if f.kind == 0x03 {
		return f.params
	}
	return f.results
}

// branchTable validates br_table, of which each target must find what it wants on the stack.
func (c *codeChecker) branchTable() {
	c.pop(i32)
	arity := -1
	for range c.count("targets of br_table", maxBranches) + 1 {
		carried := c.label()
		if c.err != nil {
			return
		}
		if arity < 0 {
			arity = len(carried)
		}
		if len(carried) != arity {
			c.fail("targets of br_table with %d and %d values", arity, len(carried))
		}
		c.peekAll(carried)
	}
	c.unreachable()
}

// call validates a call of a function of type t; -1 is no type.
func (c *codeChecker) call(t int) {
	if t < 0 {
		return
	}
	c.popAll(c.m.types[t].params)
	c.pushAll(c.m.types[t].results)
}

// selectUntyped validates select without types, which is not for references.
func (c *codeChecker) selectUntyped() {
	c.pop(i32)
	a := c.popAny()
	b := c.popAny()
	if isReference(a) || isReference(b) || a != b && a != unknown && b != unknown {
		c.fail("select of %s and %s", typeNames[b], typeNames[a])
	}
	c.push(max(a, b)) // the known one
}
