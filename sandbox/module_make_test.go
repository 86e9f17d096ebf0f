package sandbox

import (
	"encoding/binary"
	"slices"
)

// A maker makes a command that is valid out of any bytes: each choice takes one of them, and is 0 when there are none left. What it makes ends
// soon: each function, and each turn of a loop, takes one from a global, and traps when that is 0.
type maker struct {
	b         []byte
	left      int // instructions that may still be made
	types     []signature
	functions []int // their types; imports are the first
	imported  int
	globals   []globalType // the first is the one that is taken from
	tables    []tableType
	locals    []valueType   // of the function under way
	labels    [][]valueType // what a branch to each carries, the innermost last
	code      code
}

const (
	turns        = 400 // of all loops and calls of an instance
	instructions = 300 // of all functions, about
	deepest      = 6   // of expressions and blocks
)

// makeCommand makes a command out of b.
func makeCommand(b []byte) []byte {
	m := &maker{b: b, left: instructions}
	m.declare()
	var bodies []string
	for i := m.imported; i < len(m.functions); i++ {
		bodies = append(bodies, m.function(m.types[m.functions[i]]))
	}
	return m.module(bodies)
}

// pick chooses one of n.
func (m *maker) pick(n int) int {
	if len(m.b) == 0 {
		return 0
	}
	c := m.b[0]
	m.b = m.b[1:]
	return int(c) % n
}

var makerTypes = []valueType{i32, i64, f32, f64, v128, i32, i64, funcref, externref}

func (m *maker) someTypes(most int) (types []valueType) {
	for range m.pick(most + 1) {
		types = append(types, makerTypes[m.pick(len(makerTypes))])
	}
	return types
}

// declare chooses all that is there beside code.
func (m *maker) declare() {
	m.types = []signature{{}, parseSignature("iiii:i"), parseSignature("i:"), parseSignature("iii:i")}
	for range m.pick(5) {
		m.types = append(m.types, signature{m.someTypes(3), m.someTypes(2)})
	}
	m.functions, m.imported = []int{1, 2, 3}, 3 // fd_write, proc_exit, crc32c_1
	for range 1 + m.pick(5) {
		m.functions = append(m.functions, m.pick(len(m.types)))
	}
	m.functions = append(m.functions, 0) // _start
	m.globals = []globalType{{i32, true}}
	for range m.pick(6) {
		m.globals = append(m.globals, globalType{makerTypes[m.pick(len(makerTypes))], m.pick(3) > 0})
	}
	for range m.pick(3) {
		m.tables = append(m.tables, tableType{[]valueType{funcref, externref}[m.pick(2)], limits{least: uint32(m.pick(9))}})
	}
}

// index writes a number that is not signed, sometimes longer than need be.
func (m *maker) index(n int) {
	m.code = binary.AppendUvarint(m.code, uint64(n))
	if m.pick(16) == 15 {
		last := len(m.code) - 1
		m.code[last] |= 0x80
		m.code = append(m.code, 0x80, 0)
	}
}

func (m *maker) op(b ...byte) { m.code = append(m.code, b...) }

// spend makes the code that takes one from global 0.
func (m *maker) spend() {
	m.op(0x23, 0, 0x45, 0x04, 0x40, 0x00, 0x0b, 0x23, 0, 0x41, 1, 0x6b, 0x24, 0)
}

// function makes the body of a function, with its length in front.
func (m *maker) function(s signature) string {
	m.code = nil
	extra := m.someTypes(4)
	m.index(len(extra))
	for _, t := range extra {
		m.index(1)
		m.op(t)
	}
	m.locals = append(slices.Clone(s.params), extra...)
	m.labels = [][]valueType{s.results}
	m.spend()
	m.statements(0)
	m.values(s.results, 0)
	m.op(0x0b)
	return sized(string(m.code))
}

// among returns the places in list of what passes.
func among[T any](list []T, passes func(T) bool) (at []int) {
	for i, x := range list {
		if passes(x) {
			at = append(at, i)
		}
	}
	return at
}

func (m *maker) localsOf(t valueType) []int {
	return among(m.locals, func(l valueType) bool { return l == t })
}

func (m *maker) tablesOf(t valueType) []int {
	return among(m.tables, func(x tableType) bool { return x.element == t })
}

func (m *maker) one(of []int) int { return of[m.pick(len(of))] }

func (m *maker) values(types []valueType, depth int) {
	for _, t := range types {
		m.value(t, depth)
	}
}

func (m *maker) drop(types []valueType) {
	for range types {
		m.op(0x1a)
	}
}

// value makes code that puts a value on the stack.
func (m *maker) value(t valueType, depth int) {
	m.left--
	depth++
	if m.left < 0 || depth > deepest {
		m.constant(t)
		return
	}
	switch m.pick(12) {
	case 0:
		m.constant(t)
	case 1:
		if of := m.localsOf(t); len(of) > 0 {
			m.op(0x20)
			m.index(m.one(of))
			return
		}
		m.constant(t)
	case 2:
		if of := among(m.globals, func(g globalType) bool { return g.value == t }); len(of) > 0 {
			m.op(0x23)
			m.index(m.one(of))
			return
		}
		m.constant(t)
	case 3, 4, 5, 6:
		m.operator(t, depth)
	case 7:
		m.block([]valueType{t}, depth)
	case 8:
		m.call(func(s signature) bool { return len(s.results) == 1 && s.results[0] == t }, t, depth)
	case 9: // select
		m.values([]valueType{t, t, i32}, depth)
		if isReference(t) || m.pick(2) == 1 {
			m.op(0x1c, 1, t)
		} else {
			m.op(0x1b)
		}
	case 10:
		m.value(t, depth)
		if of := m.localsOf(t); len(of) > 0 {
			m.op(0x22) // local.tee
			m.index(m.one(of))
		} else if of := among(m.labels, func(l []valueType) bool { return len(l) == 1 && l[0] == t }); len(of) > 0 {
			m.value(i32, depth)
			m.op(0x0d) // br_if, which leaves the value
			m.index(len(m.labels) - 1 - m.one(of))
		}
	case 11:
		m.special(t, depth)
	}
}

func (m *maker) constant(t valueType) {
	b := func(n int) (b []byte) {
		for range n {
			b = append(b, byte(m.pick(256)))
		}
		return b
	}
	switch t {
	case i32:
		m.code = m.code.i32(int32(int8(m.pick(256))) << (m.pick(4) * 7))
	case i64:
		m.code = m.code.i64(int64(int8(m.pick(256))) << (m.pick(8) * 8))
	case f32:
		m.op(append([]byte{0x43}, b(4)...)...)
	case f64:
		m.op(append([]byte{0x44}, b(8)...)...)
	case v128:
		m.op(append([]byte{0xfd, 12}, b(16)...)...)
	default:
		m.op(0xd0, t)
	}
}

// A made is an operator that a maker can use.
type made struct {
	prefix byte // 0: none
	number int
	operator
}

// operatorsOf are those that give a value of each type; of unknown, those that give none.
var operatorsOf = func() map[valueType][]made {
	of := map[valueType][]made{}
	for prefix, table := range map[byte]*[256]operator{0: operators, 0xfc: saturating, 0xfd: vectorOperators} {
		for i, o := range table {
			if o.known {
				of[o.gives] = append(of[o.gives], made{prefix, i, o})
			}
		}
	}
	for _, list := range of {
		slices.SortFunc(list, func(a, b made) int { return int(a.prefix)*256 + a.number - int(b.prefix)*256 - b.number })
	}
	return of
}()

// operator makes one that gives a value of type t, with its operands.
func (m *maker) operator(t valueType, depth int) {
	of := operatorsOf[t]
	if len(of) == 0 {
		m.special(t, depth)
		return
	}
	o := of[(m.pick(256)<<8|m.pick(256))%len(of)]
	m.values(o.takes[:o.count], depth)
	if o.prefix != 0 {
		m.op(o.prefix)
	}
	if o.prefix == 0 {
		m.op(byte(o.number))
	} else {
		m.code = binary.AppendUvarint(m.code, uint64(o.number))
	}
	if o.width > 0 {
		align := 0
		for 1<<align < o.width {
			align++
		}
		m.index(m.pick(align + 1))
		m.index(m.pick(256) * m.pick(256))
	}
	if o.lanes > 0 {
		m.op(byte(m.pick(int(o.lanes))))
	}
}

// special makes what has operands or immediates of its own.
func (m *maker) special(t valueType, depth int) {
	tables := m.tablesOf(t)
	switch kind := m.pick(6); {
	case t == i32 && kind == 0:
		m.op(0x3f, 0) // memory.size
	case t == i32 && kind == 1:
		m.value(i32, depth)
		m.op(0x41, 3, 0x71, 0x40, 0) // & 3, memory.grow
	case t == i32 && kind == 2:
		m.value([]valueType{funcref, externref}[m.pick(2)], depth)
		m.op(0xd1) // ref.is_null
	case t == i32 && kind < 5 && len(m.tables) > 0:
		i := m.pick(len(m.tables))
		if kind == 4 {
			m.value(m.tables[i].element, depth)
			m.op(0x41, byte(m.pick(8)), 0xfc, 15) // table.grow
		} else {
			m.op(0xfc, 16) // table.size
		}
		m.index(i)
	case t == v128:
		m.values([]valueType{v128, v128}, depth)
		m.op(0xfd, 13) // i8x16.shuffle
		for range 16 {
			m.op(byte(m.pick(32)))
		}
	case t == funcref && kind < 3:
		m.op(0xd2) // ref.func; all are declared
		m.index(m.pick(len(m.functions)))
	case isReference(t) && len(tables) > 0:
		m.op(0x41, byte(m.pick(10)), 0x25) // table.get
		m.index(m.one(tables))
	default:
		m.constant(t)
	}
}

// call makes a call of a function with such a signature, direct or by a table; if there is none, a constant of type t.
func (m *maker) call(fits func(signature) bool, t valueType, depth int) {
	functions := among(m.functions, func(i int) bool { return fits(m.types[i]) })
	tables := m.tablesOf(funcref)
	types := among(m.types, fits)
	switch {
	case len(tables) > 0 && len(types) > 0 && m.pick(3) == 2:
		i := m.one(types)
		m.values(m.types[i].params, depth)
		m.op(0x41, byte(m.pick(10)), 0x11) // call_indirect
		m.index(i)
		m.index(m.one(tables))
	case len(functions) > 0:
		f := m.one(functions)
		m.values(m.types[m.functions[f]].params, depth)
		m.op(0x10)
		m.index(f)
	case t != unknown:
		m.constant(t)
	}
}

// block makes a block, loop or if that gives values of these types.
func (m *maker) block(results []valueType, depth int) {
	kind := byte(0x02 + m.pick(3))
	if kind == 0x04 {
		m.value(i32, depth)
	}
	s := signature{results: results}
	of := among(m.types, func(t signature) bool { return slices.Equal(t.results, results) })
	byType := len(of) > 0 && m.pick(2) == 1
	at := 0
	if byType {
		at = m.one(of)
		s = m.types[at]
		if kind == 0x04 { // the condition is above the parameters
			m.op(0x1a)
			m.values(s.params, depth)
			m.value(i32, depth)
		} else {
			m.values(s.params, depth)
		}
	}
	m.op(kind)
	switch {
	case byType:
		m.index(at)
	case len(results) == 0:
		m.op(0x40)
	case len(results) == 1:
		m.op(results[0])
	default: // there is none of that type
		m.op(0x40)
		s.results = nil
	}
	carried := s.results
	if kind == 0x03 {
		carried = s.params
	}
	m.labels = append(m.labels, carried)
	inside := func() {
		m.drop(s.params)
		if kind == 0x03 {
			m.spend()
		}
		m.statements(depth)
		if kind == 0x03 && m.pick(2) == 1 { // another turn
			m.values(carried, depth)
			m.value(i32, depth)
			m.op(0x0d, 0)
			m.drop(carried)
		}
		m.values(s.results, depth)
	}
	inside()
	if kind == 0x04 && (!slices.Equal(s.params, s.results) || m.pick(2) == 1) {
		m.op(0x05)
		inside()
	}
	m.labels = m.labels[:len(m.labels)-1]
	m.op(0x0b)
	if len(s.results) != len(results) {
		m.values(results, depth)
	}
}

// statements makes code that leaves the stack as it was.
func (m *maker) statements(depth int) {
	for range m.pick(5) {
		m.left--
		if m.left < 0 || depth > deepest {
			return
		}
		m.statement(depth + 1)
	}
}

func (m *maker) statement(depth int) {
	switch m.pick(12) {
	case 0:
		m.value(makerTypes[m.pick(len(makerTypes))], depth)
		m.op(0x1a)
	case 1:
		if len(m.locals) > 0 {
			i := m.pick(len(m.locals))
			m.value(m.locals[i], depth)
			m.op(0x21)
			m.index(i)
		}
	case 2:
		of := among(m.globals, func(g globalType) bool { return g.mutable })
		if i := m.one(of); i > 0 { // the first is not for the program
			m.value(m.globals[i].value, depth)
			m.op(0x24)
			m.index(i)
		}
	case 3, 4:
		m.operator(unknown, depth) // a store
	case 5, 6:
		m.block(nil, depth)
	case 7:
		m.bulk(depth)
	case 8:
		i := m.pick(len(m.labels))
		m.values(m.labels[i], depth)
		m.value(i32, depth)
		m.op(0x0d) // br_if
		m.index(len(m.labels) - 1 - i)
		m.drop(m.labels[i])
	case 9:
		m.branch(depth)
	case 10:
		f := m.pick(len(m.functions))
		s := m.types[m.functions[f]]
		m.values(s.params, depth)
		m.op(0x10)
		m.index(f)
		m.drop(s.results)
	case 11:
		m.call(func(s signature) bool { return len(s.results) == 0 }, unknown, depth)
	}
}

// branch makes a branch that is always taken; what follows is dead.
func (m *maker) branch(depth int) {
	i := m.pick(len(m.labels))
	switch m.pick(4) {
	case 0:
		m.op(0x00)
	case 1:
		m.values(m.labels[0], depth)
		m.op(0x0f) // return
	case 2:
		m.values(m.labels[i], depth)
		m.op(0x0c) // br
		m.index(len(m.labels) - 1 - i)
	case 3:
		of := among(m.labels, func(l []valueType) bool { return slices.Equal(l, m.labels[i]) })
		m.values(m.labels[i], depth)
		m.value(i32, depth)
		m.op(0x0e) // br_table
		n := m.pick(6)
		m.index(n)
		for range n + 1 {
			m.index(len(m.labels) - 1 - m.one(of))
		}
	}
}

// bulk makes an instruction on a piece of memory or of a table, or drops a segment. Segments 0 are passive.
func (m *maker) bulk(depth int) {
	small := func() { m.op(0x41, byte(m.pick(64))) }
	kind := m.pick(9)
	if kind > 4 && len(m.tables) == 0 {
		kind -= 5
	}
	t := 0
	if kind > 4 {
		t = m.pick(len(m.tables))
	}
	switch kind {
	case 0, 1: // memory.fill, memory.copy
		m.values([]valueType{i32, i32}, depth)
		m.op(0x41)
		m.op(signed(int64(m.pick(256) * m.pick(64)))...)
		m.op([][]byte{{0xfc, 11, 0}, {0xfc, 10, 0, 0}}[kind]...)
	case 2: // memory.init
		small()
		small()
		small()
		m.op(0xfc, 8, 0, 0)
	case 3:
		m.op(0xfc, 9, 0) // data.drop
	case 4:
		m.op(0xfc, 13, 0) // elem.drop
	case 5: // table.set
		small()
		m.value(m.tables[t].element, depth)
		m.op(0x26)
		m.index(t)
	case 6: // table.fill
		small()
		m.value(m.tables[t].element, depth)
		small()
		m.op(0xfc, 17)
		m.index(t)
	case 7: // table.copy
		small()
		small()
		small()
		m.op(0xfc, 14)
		m.index(t)
		m.index(m.one(m.tablesOf(m.tables[t].element)))
	case 8: // table.init
		if m.tables[t].element != funcref {
			return
		}
		small()
		small()
		small()
		m.op(0xfc, 12)
		m.index(0)
		m.index(t)
	}
}

// module assembles all that was made.
func (m *maker) module(bodies []string) []byte {
	take := func(f func()) string {
		m.code = nil
		f()
		return string(m.code)
	}
	number := func(n int) string { return take(func() { m.index(n) }) }
	var types, imports, functions, tables, globals, exports []string
	for _, s := range m.types {
		types = append(types, "\x60"+sized(string(s.params))+sized(string(s.results)))
	}
	imports = []string{
		sized("wasi_snapshot_preview1") + sized("fd_write") + "\x00\x01", sized("wasi_snapshot_preview1") + sized("proc_exit") + "\x00\x02",
		sized("millrace") + sized("crc32c_1") + "\x00\x03",
	}
	all := number(len(m.functions))
	for i, f := range m.functions {
		all += number(i)
		if i >= m.imported {
			functions = append(functions, number(f))
		}
		exports = append(exports, sized("f"+string(rune('a'+i)))+"\x00"+number(i))
	}
	exports[len(exports)-1] = sized("_start") + "\x00" + number(len(m.functions)-1)
	if m.pick(4) == 3 {
		exports = append(exports, sized("millrace."+string(make([]byte, m.pick(2))))+"\x02\x00")
	}
	for _, t := range m.tables {
		most := ""
		flag := "\x00"
		if m.pick(2) == 1 {
			flag, most = "\x01", number(int(t.least)+m.pick(20))
		}
		tables = append(tables, string(t.element)+flag+number(int(t.least))+most)
	}
	for i, g := range m.globals {
		mutable := "\x00"
		if g.mutable {
			mutable = "\x01"
		}
		value := take(func() { m.constant(g.value) })
		if i == 0 {
			value = string(code{}.i32(turns))
		}
		globals = append(globals, string(g.value)+mutable+value+"\x0b")
		exports = append(exports, sized("g"+string(rune('a'+i)))+"\x03"+number(i))
	}
	elements := []string{"\x01\x00" + all, "\x03\x00" + all}
	if of := m.tablesOf(funcref); len(of) > 0 && m.pick(4) > 0 {
		n := min(int(m.tables[of[0]].least), len(m.functions))
		list := number(n)
		for range n {
			list += number(m.pick(len(m.functions)))
		}
		elements = append(elements, "\x02"+number(of[0])+"\x41\x00\x0b\x00"+list)
	}
	data := []string{"\x01" + sized("passive data"), "\x00\x41\x08\x0b" + sized("active data")}
	parts := []any{1, list(types...), 2, list(imports...), 3, list(functions...)}
	if len(tables) > 0 {
		parts = append(parts, 4, list(tables...))
	}
	parts = append(parts, 5, list("\x01\x01\x03"), 6, list(globals...), 7, list(append(exports, sized("memory")+"\x02\x00")...))
	if of := among(m.functions, func(f int) bool { return f == 0 }); m.pick(3) == 2 {
		parts = append(parts, 8, number(of[0]))
	}
	return assemble(append(parts, 9, list(elements...), 12, "\x02", 10, list(bodies...), 11, list(data...))...)
}
