package format

import (
	"errors"
	"io"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/millrace/millrace/internal/guest"
)

// Bounds of a batch.
const (
	batchRows  = 64 << 10
	batchBytes = 8 << 20
)

// An arrowWriter writes an Arrow IPC file whose buffers are compressed by zstd.
type arrowWriter struct {
	schema *arrow.Schema
	file   *ipc.FileWriter
	cols   [2]arrowColumn
	rows   int
	bytes  int
}

func newArrow(w io.Writer, key, value guest.Type) (*arrowWriter, error) {
	a := new(arrowWriter)
	fields := make([]arrow.Field, len(a.cols))
	for i, t := range []guest.Type{key, value} {
		fields[i] = arrow.Field{Name: columnNames[i], Type: arrowType(t)}
		a.cols[i] = newArrowColumn(t)
	}
	a.schema = arrow.NewSchema(fields, nil)
	var err error
	a.file, err = ipc.NewFileWriter(&position{w: w}, ipc.WithSchema(a.schema), ipc.WithZstd(), ipc.WithCompressConcurrency(1))
	return a, err
}

func arrowType(t guest.Type) arrow.DataType {
	switch t {
	case guest.Bytes, guest.Binary:
		return arrow.BinaryTypes.Binary
	case guest.Int:
		return arrow.PrimitiveTypes.Int64
	case guest.Uint:
		return arrow.PrimitiveTypes.Uint64
	case guest.Float:
		return arrow.PrimitiveTypes.Float64
	case guest.Bool:
		return arrow.FixedWidthTypes.Boolean
	}
	return arrow.BinaryTypes.String
}

// An arrowColumn collects the values of a batch.
type arrowColumn struct {
	builder array.Builder
	add     func(enc []byte)
	typ     guest.Type
}

func newArrowColumn(t guest.Type) arrowColumn {
	c := arrowColumn{typ: t}
	switch mem := memory.DefaultAllocator; t {
	case guest.Bytes, guest.Binary:
		b := array.NewBinaryBuilder(mem, arrow.BinaryTypes.Binary)
		c.builder, c.add = b, b.Append
	case guest.Int:
		b := array.NewInt64Builder(mem)
		c.builder, c.add = b, func(enc []byte) { n, _ := guest.DecodeInt(enc); b.Append(n) }
	case guest.Uint:
		b := array.NewUint64Builder(mem)
		c.builder, c.add = b, func(enc []byte) { n, _ := guest.DecodeUint(enc); b.Append(n) }
	case guest.Float:
		b := array.NewFloat64Builder(mem)
		c.builder, c.add = b, func(enc []byte) { f, _ := guest.DecodeFloat(enc); b.Append(f) }
	case guest.Bool:
		b := array.NewBooleanBuilder(mem)
		c.builder, c.add = b, func(enc []byte) { b.Append(enc[0] == 1) }
	default:
		b := array.NewStringBuilder(mem)
		var text []byte
		c.builder, c.add = b, func(enc []byte) {
			text = appendUTF8(text[:0], enc)
			b.BinaryBuilder.Append(text)
		}
	}
	return c
}

func (a *arrowWriter) Record(key, value []byte) error {
	if n := len(key) + len(value); a.rows == batchRows || a.rows > 0 && a.bytes+n > batchBytes {
		if err := a.flush(); err != nil {
			return err
		}
	}
	for i, enc := range [][]byte{key, value} {
		if err := check(a.cols[i].typ, enc); err != nil {
			return err
		}
		a.cols[i].add(enc)
	}
	a.rows++
	a.bytes += len(key) + len(value)
	return nil
}

// flush writes the batch that was collected.
func (a *arrowWriter) flush() error {
	k, v := a.cols[0].builder.NewArray(), a.cols[1].builder.NewArray()
	defer k.Release()
	defer v.Release()
	rec := array.NewRecord(a.schema, []arrow.Array{k, v}, int64(a.rows))
	defer rec.Release()
	a.rows, a.bytes = 0, 0
	return a.file.Write(rec)
}

func (a *arrowWriter) Close() error {
	if a.rows > 0 {
		if err := a.flush(); err != nil {
			return err
		}
	}
	return a.file.Close()
}

// A position tells the Arrow library, which asks by seeking, how much was written.
type position struct {
	w io.Writer
	n int64
}

func (p *position) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.n += int64(n)
	return n, err
}

func (p *position) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekCurrent {
		return p.n, errors.New("output is not rewritten")
	}
	return p.n, nil
}
