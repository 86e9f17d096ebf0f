package format

import "encoding/binary"

// A thrift writes structures in Thrift's compact protocol, in which Parquet keeps what it says of its data. Only what is needed of it is here.
type thrift struct {
	buf  []byte
	last []int16 // the last field of each open structure
}

// Types of the compact protocol.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI32    = 5
	thriftI64    = 6
	thriftBinary = 8
	thriftList   = 9
	thriftStruct = 12
)

// open begins a structure, as a field, an element of a list or the outermost one.
func (t *thrift) open() { t.last = append(t.last, 0) }

func (t *thrift) close() {
	t.buf = append(t.buf, 0)
	t.last = t.last[:len(t.last)-1]
}

// field writes the header of field id, which is larger than that of the field before and by less than 16.
func (t *thrift) field(id int16, typ byte) {
	last := &t.last[len(t.last)-1]
	t.buf = append(t.buf, byte(id-*last)<<4|typ)
	*last = id
}

func (t *thrift) i32(id int16, n int32) {
	t.field(id, thriftI32)
	t.buf = binary.AppendVarint(t.buf, int64(n))
}

func (t *thrift) i64(id int16, n int64) {
	t.field(id, thriftI64)
	t.buf = binary.AppendVarint(t.buf, n)
}

func (t *thrift) bytes(id int16, b []byte) {
	t.field(id, thriftBinary)
	t.element(string(b))
}

func (t *thrift) text(id int16, s string) { t.bytes(id, []byte(s)) }

func (t *thrift) byte(id int16, b byte) {
	t.field(id, thriftByte)
	t.buf = append(t.buf, b)
}

func (t *thrift) bool(id int16, b bool) {
	if b {
		t.field(id, thriftTrue)
	} else {
		t.field(id, thriftFalse)
	}
}

// structure begins a structure that is a field.
func (t *thrift) structure(id int16) {
	t.field(id, thriftStruct)
	t.open()
}

// empty writes a field that is a structure without fields.
func (t *thrift) empty(id int16) {
	t.structure(id)
	t.close()
}

// list begins a list of n elements, which follow.
func (t *thrift) list(id int16, typ byte, n int) {
	t.field(id, thriftList)
	if n < 15 {
		t.buf = append(t.buf, byte(n)<<4|typ)
		return
	}
	t.buf = binary.AppendUvarint(append(t.buf, 0xf0|typ), uint64(n))
}

// element writes a string that is an element of a list.
func (t *thrift) element(s string) {
	t.buf = append(binary.AppendUvarint(t.buf, uint64(len(s))), s...)
}

// number writes a number that is an element of a list.
func (t *thrift) number(n int64) { t.buf = binary.AppendVarint(t.buf, n) }
