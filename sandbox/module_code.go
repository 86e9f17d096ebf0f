package sandbox

// locals reads the declarations of a function's locals and returns their number.
func (r *moduleReader) locals() int {
	total := uint64(0)
	for range r.count("groups of locals", maxLocals) {
		total += uint64(r.u32())
		r.byte()
		if total > maxLocals {
			r.fail("%d locals; at most %d", total, maxLocals)
		}
		if r.err != nil {
			return 0
		}
	}
	return int(total)
}

// instructions walks the instructions of a body to its end. It knows where each one ends, how deep blocks are nested and how many
// targets a branch has, no more.
func (r *moduleReader) instructions() {
	depth := 1
	for r.err == nil && depth > 0 {
		switch op := r.byte(); {
		case op == 0x0b: // end
			depth--
		case op >= 0x02 && op <= 0x04: // block, loop, if
			r.skipLEB(33)
			if depth++; depth > maxNesting {
				r.fail("blocks nested more than %d deep", maxNesting)
			}
		case op == 0x0e: // br_table
			for range r.count("targets of br_table", maxBranches) {
				r.u32()
			}
			r.u32()
		case op == 0xfc:
			r.prefixed()
		case op == 0xfd:
			r.vector()
		default:
			r.plain(op)
		}
	}
	if r.err == nil && r.off != len(r.b) {
		r.fail("%d bytes after its end", len(r.b)-r.off)
	}
}

// plain skips the operands of an instruction of one byte.
func (r *moduleReader) plain(op byte) {
	switch {
	case op <= 0x01, op == 0x05, op == 0x0f, op == 0x1a, op == 0x1b, op >= 0x45 && op <= 0xc4, op == 0xd1:
		// unreachable, nop, else, return, drop, select, numeric, ref.is_null
	case op == 0x0c, op == 0x0d, op == 0x10, op >= 0x20 && op <= 0x26, op == 0xd2:
		r.u32() // br, br_if, call, variables, tables, ref.func
	case op == 0x11: // call_indirect
		r.u32()
		r.u32()
	case op == 0x1c: // select of types
		r.skip(r.count("types", maxArity))
	case op >= 0x28 && op <= 0x3e: // load, store
		r.skipLEB(32)
		r.skipLEB(32)
	case op == 0x3f, op == 0x40, op == 0xd0: // memory.size, memory.grow, ref.null
		r.byte()
	case op == 0x41:
		r.skipLEB(32)
	case op == 0x42:
		r.skipLEB(64)
	case op == 0x43:
		r.skip(4)
	case op == 0x44:
		r.skip(8)
	default:
		r.fail("unknown instruction %#x", op)
	}
}

// prefixed skips an instruction of saturating conversion, bulk memory and tables.
func (r *moduleReader) prefixed() {
	switch op := r.u32(); {
	case op <= 7: // saturating conversions
	case op == 8, op == 10, op == 12, op == 14: // memory.init, memory.copy, table.init, table.copy
		r.u32()
		r.u32()
	case op == 9, op == 11, op >= 13 && op <= 17: // data.drop, memory.fill, elem.drop, table.grow, .size, .fill
		r.u32()
	default:
		r.fail("unknown instruction 0xfc %d", op)
	}
}

// vector skips a SIMD instruction.
func (r *moduleReader) vector() {
	switch op := r.u32(); {
	case op <= 11, op == 92, op == 93: // loads and stores
		r.skipLEB(32)
		r.skipLEB(32)
	case op == 12, op == 13: // v128.const, i8x16.shuffle
		r.skip(16)
	case op >= 21 && op <= 34: // lanes
		r.byte()
	case op >= 84 && op <= 91: // loads and stores of lanes
		r.skipLEB(32)
		r.skipLEB(32)
		r.byte()
	case op <= 255:
	default:
		r.fail("unknown instruction 0xfd %d", op)
	}
}
