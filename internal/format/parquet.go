package format

import (
	"encoding/binary"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"

	"github.com/millrace/millrace/internal/guest"
)

// A parquetWriter writes a Parquet file: two required columns in plain encoding, in pages compressed by zstd, with the least and the most
// of each column in a row group.
//
//	"PAR1" { row group: { pages of key } { pages of value } } FileMetaData length:u32 "PAR1"
//
// A row group is held in memory, compressed, until it is full. (Encoding and structures: parquet-format 2.10.)
type parquetWriter struct {
	w      io.Writer
	at     int64 // bytes written
	zip    *zstd.Encoder
	cols   [2]parquetColumn
	rows   int64 // of the row group
	groups []parquetGroup
	began  bool
	err    error
}

// Bounds of a page and of a row group, in bytes before compression.
const (
	pageBytes  = 1 << 20
	groupBytes = 64 << 20
)

const (
	parquetMagic   = "PAR1"
	parquetCreator = "millrace version 1"
	parquetZstd    = 6 // among the codecs
	parquetPlain   = 0 // among the encodings
	parquetRLE     = 3
)

// Physical types.
const (
	parquetBoolean   = 0
	parquetInt64     = 2
	parquetDouble    = 5
	parquetByteArray = 6
)

// A parquetGroup is a row group that was written.
type parquetGroup struct {
	rows   int64
	chunks [2]parquetChunk
}

// A parquetChunk is a column of a row group.
type parquetChunk struct {
	offset      int64 // in the file
	values      int64
	plain, zip  int64 // bytes, headers of pages included, before and after compression
	least, most []byte
}

// A parquetColumn collects the values of a row group.
type parquetColumn struct {
	typ   guest.Type
	page  []byte // values of the page under way, in plain encoding
	rows  int32  // in that
	pages []byte // that are complete
	chunk parquetChunk
	spare []byte
}

func newParquet(w io.Writer, key, value guest.Type) *parquetWriter {
	zip, _ := newZstd(nil) // its options are constants
	return &parquetWriter{w: w, zip: zip, cols: [2]parquetColumn{{typ: key}, {typ: value}}}
}

func (p *parquetWriter) Record(key, value []byte) error {
	if p.err != nil {
		return p.err
	}
	for i, enc := range [][]byte{key, value} {
		if p.err = check(p.cols[i].typ, enc); p.err != nil {
			return p.err
		}
	}
	p.cols[0].add(key)
	p.cols[1].add(value)
	p.rows++
	held := int64(0)
	for i := range p.cols {
		c := &p.cols[i]
		if len(c.page) >= pageBytes || c.typ == guest.Bool && c.rows >= 8*pageBytes {
			c.endPage(p.zip)
		}
		held += c.chunk.plain + int64(len(c.page))
	}
	if held >= groupBytes {
		p.err = p.endGroup()
	}
	return p.err
}

func (p *parquetWriter) Close() error {
	if p.err == nil && p.rows > 0 {
		p.err = p.endGroup()
	}
	if p.err != nil {
		return p.err
	}
	if p.err = p.begin(); p.err != nil {
		return p.err
	}
	meta := p.metadata()
	tail := binary.LittleEndian.AppendUint32(meta, uint32(len(meta)))
	p.err = p.write(append(tail, parquetMagic...))
	return p.err
}

// begin writes what a file begins with, once.
func (p *parquetWriter) begin() error {
	if p.began {
		return nil
	}
	p.began = true
	return p.write([]byte(parquetMagic))
}

func (p *parquetWriter) write(b []byte) error {
	n, err := p.w.Write(b)
	p.at += int64(n)
	return err
}

// endGroup writes the row group that was collected.
func (p *parquetWriter) endGroup() error {
	if err := p.begin(); err != nil {
		return err
	}
	g := parquetGroup{rows: p.rows}
	for i := range p.cols {
		c := &p.cols[i]
		if c.rows > 0 {
			c.endPage(p.zip)
		}
		c.chunk.offset = p.at
		if err := p.write(c.pages); err != nil {
			return err
		}
		g.chunks[i] = c.chunk
		c.pages, c.chunk = c.pages[:0], parquetChunk{}
	}
	p.groups, p.rows = append(p.groups, g), 0
	return nil
}

// add adds a value that was checked.
func (c *parquetColumn) add(enc []byte) {
	at := len(c.page)
	switch c.typ {
	case guest.Int:
		n, _ := guest.DecodeInt(enc)
		c.page = binary.LittleEndian.AppendUint64(c.page, uint64(n))
	case guest.Uint:
		n, _ := guest.DecodeUint(enc)
		c.page = binary.LittleEndian.AppendUint64(c.page, n)
	case guest.Float:
		f, _ := guest.DecodeFloat(enc)
		c.page = binary.LittleEndian.AppendUint64(c.page, math.Float64bits(f))
	case guest.Bool:
		if c.rows%8 == 0 {
			c.page = append(c.page, 0)
		}
		c.page[len(c.page)-1] |= enc[0] << (c.rows % 8)
	case guest.Bytes, guest.Binary:
		c.page = append(binary.LittleEndian.AppendUint32(c.page, uint32(len(enc))), enc...)
	default:
		c.page = appendUTF8(append(c.page, 0, 0, 0, 0), enc)
		binary.LittleEndian.PutUint32(c.page[at:], uint32(len(c.page)-at-4))
		enc = c.page[at+4:]
	}
	c.rows++
	c.chunk.span(enc)
}

// longest is the length up to which a value is told as the least or the most of a column, in bytes.
const longest = 64

// span takes note of a value, whose encoding is ordered as the value, if it may be the least or the most.
func (k *parquetChunk) span(enc []byte) {
	switch {
	case k.values == 0:
		k.least, k.most = append([]byte{}, enc...), append([]byte{}, enc...)
	case string(enc) < string(k.least):
		k.least = append(k.least[:0], enc...)
	case string(enc) > string(k.most):
		k.most = append(k.most[:0], enc...)
	}
	k.values++
}

// endPage compresses the page under way.
func (c *parquetColumn) endPage(zip *zstd.Encoder) {
	c.spare = zip.EncodeAll(c.page, c.spare[:0])
	var t thrift
	t.open()
	t.i32(1, 0) // a data page
	t.i32(2, int32(len(c.page)))
	t.i32(3, int32(len(c.spare)))
	t.structure(5)
	t.i32(1, c.rows)
	t.i32(2, parquetPlain)
	t.i32(3, parquetRLE) // of levels, of which required columns have none
	t.i32(4, parquetRLE)
	t.close()
	t.close()
	c.chunk.plain += int64(len(t.buf) + len(c.page))
	c.chunk.zip += int64(len(t.buf) + len(c.spare))
	c.pages = append(append(c.pages, t.buf...), c.spare...)
	c.page, c.rows = c.page[:0], 0
}

// metadata returns the FileMetaData.
func (p *parquetWriter) metadata() []byte {
	rows := int64(0)
	for _, g := range p.groups {
		rows += g.rows
	}
	var t thrift
	t.open()
	t.i32(1, 2)
	t.list(2, thriftStruct, 1+len(p.cols))
	t.open()
	t.text(4, "schema")
	t.i32(5, int32(len(p.cols)))
	t.close()
	for i := range p.cols {
		p.cols[i].schema(&t, columnNames[i])
	}
	t.i64(3, rows)
	t.list(4, thriftStruct, len(p.groups))
	for i := range p.groups {
		p.group(&t, &p.groups[i])
	}
	t.text(6, parquetCreator)
	t.list(7, thriftStruct, len(p.cols))
	for range p.cols {
		t.open()
		t.empty(1) // ordered as its type
		t.close()
	}
	t.close()
	return t.buf
}

// physical returns the physical type of the column.
func (c *parquetColumn) physical() int32 {
	switch c.typ {
	case guest.Int, guest.Uint:
		return parquetInt64
	case guest.Float:
		return parquetDouble
	case guest.Bool:
		return parquetBoolean
	}
	return parquetByteArray
}

// schema writes the SchemaElement of the column.
func (c *parquetColumn) schema(t *thrift, name string) {
	t.open()
	t.i32(1, c.physical())
	t.i32(3, 0) // required
	t.text(4, name)
	switch c.typ {
	case guest.String:
		t.i32(6, 0) // UTF8
		t.structure(10)
		t.empty(1) // STRING
		t.close()
	case guest.JSON:
		t.i32(6, 19) // JSON
		t.structure(10)
		t.empty(12) // JSON
		t.close()
	case guest.Int, guest.Uint:
		signed := c.typ == guest.Int
		if signed {
			t.i32(6, 18) // INT_64
		} else {
			t.i32(6, 14) // UINT_64
		}
		t.structure(10)
		t.structure(10) // INTEGER
		t.byte(1, 64)
		t.bool(2, signed)
		t.close()
		t.close()
	}
	t.close()
}

// group writes a RowGroup.
func (p *parquetWriter) group(t *thrift, g *parquetGroup) {
	plain, zip := int64(0), int64(0)
	t.open()
	t.list(1, thriftStruct, len(g.chunks))
	for i := range g.chunks {
		k := &g.chunks[i]
		plain, zip = plain+k.plain, zip+k.zip
		t.open()
		t.i64(2, 0) // nothing lies behind the chunk; readers want the field
		t.structure(3)
		t.i32(1, p.cols[i].physical())
		t.list(2, thriftI32, 2)
		t.number(parquetPlain)
		t.number(parquetRLE)
		t.list(3, thriftBinary, 1)
		t.element(columnNames[i])
		t.i32(4, parquetZstd)
		t.i64(5, k.values)
		t.i64(6, k.plain)
		t.i64(7, k.zip)
		t.i64(9, k.offset)
		t.structure(12)
		k.statistics(t, p.cols[i].typ)
		t.close()
		t.close()
		t.close()
	}
	t.i64(2, plain)
	t.i64(3, g.rows)
	t.i64(5, g.chunks[0].offset)
	t.i64(6, zip)
	t.close()
}

// statistics writes the fields of Statistics.
func (k *parquetChunk) statistics(t *thrift, typ guest.Type) {
	t.i64(3, 0) // nulls
	if len(k.most) <= longest && len(k.least) <= longest {
		t.bytes(5, plainValue(typ, k.most))
		t.bytes(6, plainValue(typ, k.least))
	}
}

// plainValue returns an encoded value as Parquet has it, without a length.
func plainValue(typ guest.Type, enc []byte) []byte {
	c := parquetColumn{typ: typ}
	switch typ {
	case guest.Int, guest.Uint, guest.Float, guest.Bool:
		c.add(enc)
		return c.page
	}
	return enc
}
