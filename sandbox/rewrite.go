package sandbox

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// A rewritten is a module made ready to be stopped from outside, and to be brought back to an earlier state. It differs from
// the module that it was in this:
//
//	global    one more, an i32 that is 0 at first
//	export    that global as PREFIX"stop"; all other mutable ones as PREFIX"0", PREFIX"1", …; the start function as PREFIX"start"
//	table     none can grow beyond mostElements, or its size at the start if that is more
//	start     gone: whoever instantiates the module calls it
//	code      each function, and each turn of a loop, begins with a trap if the new global is not 0
//
// No other export begins with PREFIX. Indices stay as they were.
type rewritten struct {
	code   []byte
	prefix string
	state  int    // mutable globals that were exported
	start  bool   // there was a start function
	fixed  string // why no instance can be brought back to an earlier state; "" if it can
}

// maxState bounds the mutable globals that are saved and set for each run. Compilers make a dozen at most.
const maxState = 256

// Kinds and bytes of the binary format.
const (
	sectionType, sectionFunction, sectionTable, sectionGlobal, sectionExport, sectionStart, sectionCode = 1, 3, 4, 6, 7, 8, 10
	sectionData, sectionDataCount                                                                       = 11, 12
	exportFunction, exportGlobal                                                                        = 0, 3
)

// rewrite rewrites a module that has been checked.
func rewrite(m *module) (w *rewritten, err error) {
	defer func() {
		if p := recover(); p != nil { // an index beyond the end: what the check overlooked
			w, err = nil, fmt.Errorf("%w: %v", ErrModule, p)
		}
	}()
	code := m.code
	sections := make(map[byte][]byte)
	for r := (cursor{code[8:]}); len(r.b) > 0; {
		id := r.take(1)[0]
		sections[id] = r.take(r.number())
	}
	w = &rewritten{prefix: freePrefix(sections[sectionExport])}
	switch {
	case m.changesTables:
		w.fixed = "it changes tables"
	case m.dropsSegments:
		w.fixed = "it drops segments"
	}
	stop, exports := w.globals(sections)
	sections[sectionExport] = lengthen(sections[sectionExport], exports)
	sections[sectionCode] = w.bodies(sections, stop)
	delete(sections, sectionStart)
	if tables, ok := sections[sectionTable]; ok {
		sections[sectionTable] = boundTables(tables)
	}

	w.code = append(make([]byte, 0, len(code)+len(code)/4), code[:8]...)
	for _, id := range sectionOrder {
		if body, ok := sections[id]; ok {
			w.code = append(w.code, id)
			w.code = append(binary.AppendUvarint(w.code, uint64(len(body))), body...)
		}
	}
	return w, nil
}

// mostElements is what a table can grow to. Compilers make tables that do not grow.
const mostElements = maxTable / maxTables

// boundTables gives each table a maximum. To grow a table may always fail.
func boundTables(section []byte) []byte {
	r := cursor{section}
	n := r.number()
	out := binary.AppendUvarint(nil, uint64(n))
	for range n {
		kind, bounded, least := r.take(1)[0], r.take(1)[0] == 1, r.number()
		most := max(least, mostElements)
		if bounded {
			most = min(most, r.number())
		}
		out = binary.AppendUvarint(append(out, kind, 1), uint64(least))
		out = binary.AppendUvarint(out, uint64(most))
	}
	return out
}

// freePrefix returns a prefix that no export has.
func freePrefix(exports []byte) string {
	prefix := "millrace."
	r := cursor{exports}
	for n := r.number(); n > 0; n-- {
		name := string(r.take(r.number()))
		for strings.HasPrefix(name, prefix) {
			prefix += "."
		}
		r.take(1)
		r.number()
	}
	return prefix
}

// globals adds the global and returns its index, and all exports that are to be added.
func (w *rewritten) globals(sections map[byte][]byte) (stop int, exports [][]byte) {
	export := func(name string, kind byte, index int) {
		name = w.prefix + name
		e := append(binary.AppendUvarint(nil, uint64(len(name))), name...)
		exports = append(exports, binary.AppendUvarint(append(e, kind), uint64(index)))
	}
	if start, ok := sections[sectionStart]; ok {
		w.start = true
		r := cursor{start}
		export("start", exportFunction, r.number())
	}
	r := cursor{sections[sectionGlobal]}
	if len(r.b) > 0 {
		stop = r.number()
	}
	for i := range stop {
		kind, mutable := r.take(1)[0], r.take(1)[0] == 1
		r.expression()
		switch {
		case !mutable:
		case kind < 0x7c: // neither integer nor float
			w.fixed = "a mutable global holds a vector or a reference"
		case w.state == maxState:
			w.fixed = fmt.Sprintf("more than %d mutable globals", maxState)
		default:
			export(fmt.Sprint(w.state), exportGlobal, i)
			w.state++
		}
	}
	export("stop", exportGlobal, stop)
	sections[sectionGlobal] = lengthen(sections[sectionGlobal], [][]byte{{i32, 1, 0x41, 0, 0x0b}})
	return stop, exports
}

// lengthen adds items to a section that is a list.
func lengthen(section []byte, items [][]byte) []byte {
	n, rest := 0, section
	if len(section) > 0 {
		r := cursor{section}
		n = r.number()
		rest = r.b
	}
	out := append(binary.AppendUvarint(nil, uint64(n+len(items))), rest...)
	for _, i := range items {
		out = append(out, i...)
	}
	return out
}

// bodies rewrites the code section. The traps of a function are one at its end, so that a check that finds nothing only goes on:
//
//	block
//	  global.get stop  br_if 0
//	  block (result …)
//	    the function, each loop of which begins with: global.get stop  br_if to the end of the outer block
//	  end
//	  return
//	end
//	unreachable
//
// A function with several results, for which such a block would need a type of its own, has its traps where its checks are.
func (w *rewritten) bodies(sections map[byte][]byte, stop int) []byte {
	get := binary.AppendUvarint([]byte{0x23}, uint64(stop))
	r, n := items(sections[sectionCode])
	out := binary.AppendUvarint(make([]byte, 0, len(r.b)+len(r.b)/4), uint64(n))
	var body []byte
	for _, results := range results(sections) {
		f := cursor{r.take(r.number())}
		code := f.b
		for groups := f.number(); groups > 0; groups-- {
			f.number()
			f.take(1)
		}
		body = append(body[:0], code[:len(code)-len(f.b)]...)
		outside := len(results) <= 1
		check := func(depth int) {
			if body = append(body, get...); outside {
				body = binary.AppendUvarint(append(body, 0x0d), uint64(depth))
			} else {
				body = append(body, 0x04, 0x40, 0x00, 0x0b) // if, unreachable, end
			}
		}
		if outside {
			body = append(body, 0x02, 0x40)
		}
		check(0)
		if outside {
			body = append(append(body, 0x02), append(results, 0x40)[0])
		}
		code = f.b
		for depth := 1; len(f.b) > 0; { // blocks within the outer one
			switch f.instruction() {
			case 0x02, 0x04: // block, if
				depth++
			case 0x0b: // end
				depth--
			case 0x03: // loop
				depth++
				body = append(body, code[:len(code)-len(f.b)]...)
				code = f.b
				check(depth)
			}
		}
		if body = append(body, code...); outside {
			body = append(body, 0x0f, 0x0b, 0x00, 0x0b) // return, end, unreachable, end
		}
		out = append(binary.AppendUvarint(out, uint64(len(body))), body...)
	}
	return out
}

// results returns the types of the results of each function that has a body.
func results(sections map[byte][]byte) (of [][]byte) {
	var types [][]byte
	for r, n := items(sections[sectionType]); n > 0; n-- {
		r.take(1)
		r.take(r.number())
		all := r.take(r.number())
		types = append(types, all[:len(all):len(all)])
	}
	for r, n := items(sections[sectionFunction]); n > 0; n-- {
		of = append(of, types[r.number()])
	}
	return of
}

// items returns the items of a section and their number.
func items(section []byte) (cursor, int) {
	if len(section) == 0 {
		return cursor{}, 0
	}
	r := cursor{section}
	n := r.number()
	return r, n
}

// A cursor goes through code that has been checked. It panics where that was not.
type cursor struct{ b []byte }

func (r *cursor) take(n int) []byte {
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// number takes a LEB128 number; the value means something only if it is unsigned.
func (r *cursor) number() int {
	v := 0
	for shift := 0; ; shift += 7 {
		c := r.take(1)[0]
		v |= int(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
}

// expression takes a constant expression.
func (r *cursor) expression() {
	for {
		if r.instruction() == 0x0b {
			return
		}
	}
}

// instruction takes one instruction and returns its first byte.
func (r *cursor) instruction() byte {
	op := r.take(1)[0]
	numbers, bytes := 0, 0
	switch {
	case op >= 0x02 && op <= 0x04, op == 0x0c, op == 0x0d, op == 0x10, op >= 0x20 && op <= 0x26, op >= 0x3f && op <= 0x42, op == 0xd0, op == 0xd2:
		numbers = 1
	case op == 0x0e: // br_table
		numbers = r.number() + 1
	case op == 0x11, op >= 0x28 && op <= 0x3e: // call_indirect, loads and stores
		numbers = 2
	case op == 0x1c: // select of types
		bytes = r.number()
	case op == 0x43: // f32.const
		bytes = 4
	case op == 0x44: // f64.const
		bytes = 8
	case op == 0xfc:
		numbers = [18]int{8: 2, 9: 1, 10: 2, 11: 1, 12: 2, 13: 1, 14: 2, 15: 1, 16: 1, 17: 1}[r.number()]
	case op == 0xfd:
		switch sub := r.number(); {
		case sub <= 11, sub == 92, sub == 93:
			numbers = 2
		case sub == 12, sub == 13:
			bytes = 16
		case sub >= 21 && sub <= 34:
			bytes = 1
		case sub >= 84 && sub <= 91:
			numbers, bytes = 2, 1
		}
	}
	for range numbers {
		r.number()
	}
	r.take(bytes)
	return op
}
