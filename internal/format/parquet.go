package format

import (
	"io"
	"sync"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"
	"github.com/klauspost/compress/zstd"

	"github.com/millrace/millrace/internal/guest"
)

// A parquetWriter writes a Parquet file: two required columns in plain encoding, in pages compressed by zstd, with the least and the most
// of each column in a row group. A row group is held in memory, compressed, until it is full.
type parquetWriter struct {
	sink  parquetSink
	file  *file.Writer
	group file.BufferedRowGroupWriter // nil between groups
	cols  [2]parquetColumn
	rows  int   // collected, and not yet in the group
	bytes int   // of those
	held  int64 // bytes in the group before compression, and in those
	err   error
}

// Bounds of a row group, and of what is given to the library at once, in bytes before compression and in rows.
const (
	groupBytes   = 16 << 20
	parquetBytes = 256 << 10
	parquetRows  = 1024
)

// longest is the length up to which a value is told as the least or the most of a column, in bytes.
const longest = 64

// Dictionaries are not used: with them the library writes lists in the order of a map.
var parquetProperties = parquet.NewWriterProperties(
	parquet.WithCompression(compress.Codecs.Zstd), parquet.WithDictionaryDefault(false), parquet.WithMaxStatsSize(longest),
	parquet.WithBatchSize(parquetRows), parquet.WithCreatedBy("millrace version 1"),
)

// A parquetZstd compresses pages with one encoder. The library's own makes one for each page, with 30 MB of tables and buffers.
type parquetZstd struct {
	compress.Codec
	zip *zstd.Encoder
}

// EncodeLevel compresses src, at the level that all compression has here.
func (z parquetZstd) EncodeLevel(dst, src []byte, _ int) []byte { return z.zip.EncodeAll(src, dst[:0]) }

// setParquetZstd has the library compress by a parquetZstd.
var setParquetZstd = sync.OnceValue(func() error {
	codec, err := compress.GetCodec(compress.Codecs.Zstd)
	if err != nil {
		return err
	}
	zip, err := newZstd(nil)
	compress.RegisterCodec(compress.Codecs.Zstd, parquetZstd{codec, zip})
	return err
})

func newParquet(w io.Writer, key, value guest.Type) (*parquetWriter, error) {
	if err := setParquetZstd(); err != nil {
		return nil, err
	}
	p := &parquetWriter{sink: parquetSink{w: w}}
	fields := make(schema.FieldList, len(p.cols))
	for i, t := range []guest.Type{key, value} {
		var err error
		if fields[i], err = parquetField(columnNames[i], t); err != nil {
			return nil, err
		}
		p.cols[i] = newParquetColumn(t)
	}
	root, err := schema.NewGroupNode("schema", parquet.Repetitions.Required, fields, -1)
	if err != nil {
		return nil, err
	}
	p.file = file.NewParquetWriter(&p.sink, root, file.WithWriterProps(parquetProperties))
	return p, p.sink.err
}

func parquetField(name string, t guest.Type) (schema.Node, error) {
	physical, logical := parquet.Types.ByteArray, schema.LogicalType(schema.StringLogicalType{})
	switch t {
	case guest.Bytes, guest.Binary:
		logical = schema.NoLogicalType{}
	case guest.Int, guest.Uint:
		physical, logical = parquet.Types.Int64, schema.NewIntLogicalType(64, t == guest.Int)
	case guest.Float:
		physical, logical = parquet.Types.Double, schema.NoLogicalType{}
	case guest.Bool:
		physical, logical = parquet.Types.Boolean, schema.NoLogicalType{}
	case guest.JSON:
		logical = schema.JSONLogicalType{}
	}
	return schema.NewPrimitiveNodeLogical(name, parquet.Repetitions.Required, logical, physical, 0, -1)
}

// A parquetColumn collects values.
type parquetColumn struct {
	typ   guest.Type
	add   func(enc []byte)
	write func(w file.ColumnChunkWriter) error // writes what was collected
}

func newParquetColumn(t guest.Type) parquetColumn {
	c := parquetColumn{typ: t}
	switch t {
	case guest.Int:
		c.add, c.write = collect[*file.Int64ColumnChunkWriter](func(enc []byte) int64 { n, _ := guest.DecodeInt(enc); return n })
	case guest.Uint:
		c.add, c.write = collect[*file.Int64ColumnChunkWriter](func(enc []byte) int64 { n, _ := guest.DecodeUint(enc); return int64(n) })
	case guest.Float:
		c.add, c.write = collect[*file.Float64ColumnChunkWriter](func(enc []byte) float64 { f, _ := guest.DecodeFloat(enc); return f })
	case guest.Bool:
		c.add, c.write = collect[*file.BooleanColumnChunkWriter](func(enc []byte) bool { return enc[0] == 1 })
	default:
		copied := appendUTF8
		if t == guest.Bytes || t == guest.Binary {
			copied = func(dst, enc []byte) []byte { return append(dst, enc...) }
		}
		var text []byte // of the values; the library keeps some of them for its statistics, so that it serves once
		add, write := collect[*file.ByteArrayColumnChunkWriter](func(enc []byte) parquet.ByteArray {
			at := len(text)
			text = copied(text, enc)
			return parquet.ByteArray(text[at:])
		})
		c.add, c.write = add, func(w file.ColumnChunkWriter) error {
			text = make([]byte, 0, min(len(text), parquetBytes))
			return write(w)
		}
	}
	return c
}

// collect returns what collects the values that decode returns and what writes them by a W.
func collect[W interface {
	WriteBatch(values []T, def, rep []int16) (int64, error)
}, T any](decode func(enc []byte) T) (add func(enc []byte), write func(w file.ColumnChunkWriter) error) {
	values := make([]T, 0, parquetRows)
	add = func(enc []byte) { values = append(values, decode(enc)) }
	write = func(w file.ColumnChunkWriter) error {
		_, err := w.(W).WriteBatch(values, nil, nil)
		clear(values)
		values = values[:0]
		return err
	}
	return add, write
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
	n := len(key) + len(value) + 8
	p.bytes += n
	p.held += int64(n)
	if p.rows == parquetRows || p.bytes >= parquetBytes {
		p.err = p.flush()
	}
	if p.err == nil && p.held >= groupBytes {
		p.err = p.endGroup()
	}
	return p.err
}

// flush adds what was collected to the row group.
func (p *parquetWriter) flush() error {
	if p.rows == 0 {
		return nil
	}
	if p.group == nil {
		p.group = p.file.AppendBufferedRowGroup()
	}
	for i := range p.cols {
		w, err := p.group.Column(i)
		if err == nil {
			err = p.cols[i].write(w)
		}
		if err != nil {
			return err
		}
	}
	p.rows, p.bytes = 0, 0
	return nil
}

// endGroup writes the row group that was collected, if there is one.
func (p *parquetWriter) endGroup() error {
	if err := p.flush(); err != nil || p.group == nil {
		return err
	}
	err := p.group.Close()
	p.group, p.held = nil, 0
	if p.sink.err != nil {
		return p.sink.err
	}
	return err
}

func (p *parquetWriter) Close() error {
	if p.err == nil {
		p.err = p.endGroup()
	}
	if p.err == nil {
		p.err = p.file.Close()
	}
	if p.err == nil {
		p.err = p.sink.err
	}
	return p.err
}

// A parquetSink keeps the error of its writer. The library loses some and panics of others.
type parquetSink struct {
	w   io.Writer
	err error
}

func (s *parquetSink) Write(b []byte) (int, error) {
	if s.err == nil {
		_, s.err = s.w.Write(b)
	}
	return len(b), nil
}
