package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds on what is decoded.
const (
	maxPickle  = 1 << 20
	maxEntries = 1000
	maxStack   = 3 * maxEntries
)

var errPickle = errors.New("metadata are not a dictionary of strings")

// decode reads a Python pickle of a dictionary of strings to strings. It knows the operations that Python 2 and 3 write for such, and of what a
// pickle can call it knows the two by which Python 3 writes bytes for Python 2, and what they would return: it calls nothing. A string that
// Python wrote as bytes is those bytes; one that it wrote as text is UTF-8.
func decode(pickle []byte) (map[string]string, error) {
	if len(pickle) > maxPickle {
		return nil, fmt.Errorf("%w: %d bytes", errPickle, len(pickle))
	}
	m := machine{rest: pickle, memo: map[uint32]any{}}
	for !m.done && m.err == nil {
		m.step()
	}
	if m.err != nil {
		return nil, m.err
	}
	if d, ok := m.pop().(map[string]string); ok && m.err == nil && len(m.stack) == 0 && len(m.rest) == 0 {
		return d, nil
	}
	return nil, errPickle
}

// What may lie on the stack: string, map[string]string, and these.
type (
	mark   struct{}
	global string // of the two that are known
	pair   [2]string
	none   struct{} // the empty tuple
)

const (
	encode    global = "_codecs encode"
	makeBytes global = "__builtin__ bytes"
)

type machine struct {
	rest  []byte
	stack []any
	memo  map[uint32]any
	done  bool
	err   error
}

func (m *machine) fail() { m.err = errPickle }

// take returns the next n bytes, or nil after the end.
func (m *machine) take(n uint64) []byte {
	if n > uint64(len(m.rest)) {
		m.fail()
		return nil
	}
	b := m.rest[:n]
	m.rest = m.rest[n:]
	return b
}

// number takes a little-endian number of n bytes.
func (m *machine) number(n int) uint64 {
	var b [8]byte
	copy(b[:], m.take(uint64(n)))
	return binary.LittleEndian.Uint64(b[:])
}

func (m *machine) line() string {
	line, rest, ok := strings.Cut(string(m.rest[:min(len(m.rest), 100)]), "\n")
	if !ok {
		m.fail()
		return ""
	}
	_ = rest
	m.rest = m.rest[len(line)+1:]
	return line
}

func (m *machine) push(v any) {
	if len(m.stack) == maxStack {
		m.fail()
		return
	}
	m.stack = append(m.stack, v)
}

func (m *machine) pop() any {
	if len(m.stack) == 0 {
		m.fail()
		return nil
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v
}

func (m *machine) popString() string {
	s, ok := m.pop().(string)
	if !ok {
		m.fail()
	}
	return s
}

func (m *machine) remember(at uint32) {
	if len(m.stack) == 0 || len(m.memo) == maxStack {
		m.fail()
		return
	}
	m.memo[at] = m.stack[len(m.stack)-1]
}

func (m *machine) recall(at uint32) {
	v, ok := m.memo[at]
	if !ok {
		m.fail()
		return
	}
	m.push(v)
}

// text pushes a string of n bytes that Python wrote as text.
func (m *machine) text(n uint64) {
	b := m.take(n)
	if !utf8.Valid(b) {
		m.fail()
		return
	}
	m.push(string(b))
}

// bytes pushes a string of n bytes that Python wrote as such.
func (m *machine) bytes(n uint64) { m.push(string(m.take(n))) }

// step executes one operation.
func (m *machine) step() {
	op := m.take(1)
	if m.err != nil {
		return
	}
	switch op[0] {
	case 0x80: // PROTO
		if v := m.take(1); m.err == nil && v[0] > 5 {
			m.fail()
		}
	case 0x95: // FRAME
		m.take(8)
	case '}': // EMPTY_DICT
		m.push(map[string]string{})
	case '(': // MARK
		m.push(mark{})
	case ')': // EMPTY_TUPLE
		m.push(none{})
	case 'q': // BINPUT
		m.remember(uint32(m.number(1)))
	case 'r': // LONG_BINPUT
		m.remember(uint32(m.number(4)))
	case 0x94: // MEMOIZE
		m.remember(uint32(len(m.memo)))
	case 'h': // BINGET
		m.recall(uint32(m.number(1)))
	case 'j': // LONG_BINGET
		m.recall(uint32(m.number(4)))
	case 'X': // BINUNICODE
		m.text(m.number(4))
	case 0x8c: // SHORT_BINUNICODE
		m.text(m.number(1))
	case 'U', 'C': // SHORT_BINSTRING, SHORT_BINBYTES
		m.bytes(m.number(1))
	case 'T', 'B': // BINSTRING, BINBYTES
		m.bytes(m.number(4))
	case 'c': // GLOBAL
		g := global(m.line() + " " + m.line())
		if g != encode && g != makeBytes {
			m.fail()
		}
		m.push(g)
	case 0x86: // TUPLE2
		second := m.popString()
		m.push(pair{m.popString(), second})
	case 'R': // REDUCE
		m.reduce()
	case 's': // SETITEM
		value := m.popString()
		key := m.popString()
		m.set(key, value)
	case 'u': // SETITEMS
		m.setItems()
	case '.': // STOP
		m.done = true
	default:
		m.fail()
	}
}

// reduce replaces a known function and its arguments by what it would return.
func (m *machine) reduce() {
	args, f := m.pop(), m.pop()
	switch a, isPair := args.(pair); {
	case f == makeBytes && args == none{}:
		m.push("")
	case f == encode && isPair && a[1] == "latin1":
		b := make([]byte, 0, len(a[0]))
		for _, r := range a[0] {
			if r > 0xff {
				m.fail()
				return
			}
			b = append(b, byte(r))
		}
		m.push(string(b))
	default:
		m.fail()
	}
}

// set adds an item to the dictionary on top of the stack.
func (m *machine) set(key, value string) {
	if len(m.stack) == 0 {
		m.fail()
		return
	}
	d, ok := m.stack[len(m.stack)-1].(map[string]string)
	if !ok || len(d) == maxEntries {
		m.fail()
		return
	}
	d[key] = value
}

// setItems adds what lies above the last mark to the dictionary below it.
func (m *machine) setItems() {
	at := len(m.stack) - 1
	for at >= 0 && m.stack[at] != (mark{}) {
		if _, ok := m.stack[at].(string); !ok {
			m.fail()
			return
		}
		at--
	}
	if at < 0 || (len(m.stack)-at)%2 == 0 {
		m.fail()
		return
	}
	items := m.stack[at+1:]
	m.stack = m.stack[:at]
	for i := 0; i < len(items); i += 2 {
		m.set(items[i].(string), items[i+1].(string))
	}
}
