package sandbox

import "fmt"

// readCode validates the body of each function.
func (m *module) readCode(r *moduleReader) {
	m.bodies = r.count("function bodies", maxFunctions)
	if r.err == nil && m.bodies != len(m.functions)-m.imported {
		r.fail("%d function bodies for %d functions", m.bodies, len(m.functions)-m.imported)
	}
	c := &codeChecker{m: m}
	for i := range m.bodies {
		f := m.imported + i
		size := int(r.u32())
		if r.err == nil && size > maxBody {
			r.fail("function %d of %d bytes; at most %d", f, size, maxBody)
		}
		if r.err == nil && size > len(r.b)-r.off {
			r.fail("function %d goes beyond the end", f)
		}
		if r.err != nil {
			return
		}
		c.moduleReader = moduleReader{b: r.b[:r.off+size], off: r.off}
		c.function(m.types[m.functions[f]])
		if c.err != nil {
			r.err = fmt.Errorf("function %d: %w", f, c.err)
			return
		}
		r.off += size
	}
}

// A codeChecker validates function bodies, one after the other, by the algorithm of the Core Specification 2.0, appendix A.3. It
// reads each instruction once and knows of each value on the operand stack its type, of each open block where its operands begin.
type codeChecker struct {
	moduleReader
	m      *module
	locals []valueType

	operands []valueType
	frames   []frame
	floor    int // height of the innermost frame: operands below are not its own

	carried, mayCarry int // values, as carry counts them
}

// function validates the body, which is all that there is to read, of a function of type s.
func (c *codeChecker) function(s signature) {
	c.carried, c.mayCarry = 0, carriedPerByte*(len(c.b)-c.off)+carriedFree
	c.operands, c.frames = c.operands[:0], c.frames[:0]
	c.readLocals(s.params)
	c.enter(bodyFrame, signature{results: s.results})
	for c.err == nil && len(c.frames) > 0 {
		c.instruction(c.byte())
	}
	if c.err == nil && c.off != len(c.b) {
		c.fail("%d bytes after its end", len(c.b)-c.off)
	}
}

// readLocals reads the declarations of locals, which come after the parameters.
func (c *codeChecker) readLocals(params []valueType) {
	c.locals = append(c.locals[:0], params...)
	total := uint64(0)
	for range c.count("groups of locals", maxLocals) {
		n, t := c.u32(), c.valueType()
		if total += uint64(n); total > maxLocals {
			c.fail("%d locals; at most %d", total, maxLocals)
		}
		if c.err != nil {
			return
		}
		for range n {
			c.locals = append(c.locals, t)
		}
	}
	if c.m.locals += len(c.locals); c.m.locals > maxAllLocals {
		c.fail("more than %d locals in all functions", maxAllLocals)
	}
}

// instruction validates the instruction op, of which all but the first byte is still to be read.
func (c *codeChecker) instruction(op byte) {
	switch op {
	case 0x00: // unreachable
		c.unreachable()
	case 0x01: // nop
	case 0x02, 0x03, 0x04: // block, loop, if
		c.block(op)
	case 0x05: // else
		c.otherwise()
	case 0x0b:
		c.end()
	case 0x0c: // br
		c.popAll(c.label())
		c.unreachable()
	case 0x0d: // br_if
		c.pop(i32)
		carried := c.label()
		c.popAll(carried)
		c.pushAll(carried)
	case 0x0e:
		c.branchTable()
	case 0x0f: // return
		c.popAll(c.frames[0].results)
		c.unreachable()
	case 0x10: // call
		if f := c.index("function", len(c.m.functions)); f >= 0 {
			c.call(c.m.functions[f])
		}
	case 0x11: // call_indirect
		t := c.index("type", len(c.m.types))
		c.tableOf(funcref)
		c.pop(i32)
		c.call(t)
	case 0x1a: // drop
		c.popAny()
	case 0x1b:
		c.selectUntyped()
	case 0x1c: // select of types
		types := c.valueTypes("types")
		if len(types) != 1 {
			c.fail("select of %d types", len(types))
			return
		}
		c.pop(i32)
		c.pop(types[0])
		c.pop(types[0])
		c.push(types[0])
	case 0x20: // local.get
		c.push(c.local())
	case 0x21: // local.set
		c.pop(c.local())
	case 0x22: // local.tee
		t := c.local()
		c.pop(t)
		c.push(t)
	case 0x23: // global.get
		c.push(c.global().value)
	case 0x24: // global.set
		g := c.global()
		if !g.mutable {
			c.fail("global is not mutable")
		}
		c.pop(g.value)
	case 0x25: // table.get
		t := c.table()
		c.pop(i32)
		c.push(t)
	case 0x26: // table.set
		c.pop(c.table())
		c.pop(i32)
		c.m.changesTables = true
	case 0x3f: // memory.size
		c.memory()
		c.zero()
		c.push(i32)
	case 0x40: // memory.grow
		c.memory()
		c.zero()
		c.pop(i32)
		c.push(i32)
	case 0x41: // i32.const
		c.signed(32)
		c.push(i32)
	case 0x42: // i64.const
		c.signed(64)
		c.push(i64)
	case 0x43: // f32.const
		c.skip(4)
		c.push(f32)
	case 0x44: // f64.const
		c.skip(8)
		c.push(f64)
	case 0xd0: // ref.null
		c.push(c.referenceType())
	case 0xd1: // ref.is_null
		if t := c.popAny(); t != unknown && !isReference(t) {
			c.fail("%s is no reference", typeNames[t])
		}
		c.push(i32)
	case 0xd2: // ref.func
		if f := c.index("function", len(c.m.functions)); f >= 0 && (f >= len(c.m.referable) || !c.m.referable[f]) {
			c.fail("reference to function %d, which is not declared", f)
		}
		c.push(funcref)
	case 0xfc:
		c.prefixed(c.u32())
	case 0xfd:
		c.vector()
	default:
		c.apply(operators, "", uint32(op))
	}
}
