// Package format writes output records as jobs may ask for them: lines of text, lines of JSON, an Arrow file, a Parquet file; and
// compresses what are lines. The same records give the same bytes: nothing of time or place is written.
//
// Arrow and Parquet files have two columns, key and value, without nulls, whose types are those of the program:
//
//	string    string, in which bytes that are no UTF-8 are U+FFFD
//	bytes     binary
//	int       signed integer of 64 bits
//	uint      unsigned integer of 64 bits
//	float     double
//	bool      boolean
//	binary    binary
//	json      string; in Parquet a JSON string
package format

import (
	"errors"
	"io"
	"unicode/utf8"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
)

// A Writer writes the records of one part. After an error nothing more can be written.
type Writer interface {
	// Record writes a record in the encodings of its types. Slices are copied before it returns.
	Record(key, value []byte) error
	// Close completes the part. What it was made of stays open.
	Close() error
}

// NewWriter returns a Writer of format f to w, for keys and values of these types.
func NewWriter(w io.Writer, f job.Format, key, value guest.Type) (Writer, error) {
	switch f {
	case job.Arrow:
		return newArrow(w, key, value)
	case job.Parquet:
		return newParquet(w, key, value)
	}
	return &lineWriter{w: w, format: f, key: key, value: value}, nil
}

// A lineWriter writes records as lines.
type lineWriter struct {
	w          io.Writer
	format     job.Format
	key, value guest.Type
	line       []byte
}

func (l *lineWriter) Record(key, value []byte) error {
	l.line = AppendLine(l.line[:0], l.format, l.key, l.value, key, value)
	_, err := l.w.Write(l.line)
	return err
}

func (l *lineWriter) Close() error { return nil }

// AppendLine appends a record as a line of text or JSON.
func AppendLine(dst []byte, f job.Format, kt, vt guest.Type, key, value []byte) []byte {
	if f == job.JSONL {
		dst = append(dst, `{"key":`...)
		dst = guest.AppendJSON(dst, kt, key)
		dst = append(dst, `,"value":`...)
		dst = guest.AppendJSON(dst, vt, value)
		return append(dst, "}\n"...)
	}
	dst = guest.Text(dst, kt, key)
	dst = append(dst, '\t')
	dst = guest.Text(dst, vt, value)
	return append(dst, '\n')
}

// columnNames are the names of the columns of a table.
var columnNames = [2]string{"key", "value"}

// errEncoding says that a record is not of its type.
var errEncoding = errors.New("a record is not of the type that its program declared")

// check returns an error if enc is not the encoding of a value of type t.
func check(t guest.Type, enc []byte) (err error) {
	switch t {
	case guest.Int, guest.Uint:
		_, err = guest.DecodeUint(enc)
	case guest.Float:
		_, err = guest.DecodeFloat(enc)
	case guest.Bool:
		if len(enc) != 1 || enc[0] > 1 {
			err = errEncoding
		}
	}
	if err != nil {
		err = errEncoding
	}
	return err
}

// appendUTF8 appends p, what is not UTF-8 being U+FFFD.
func appendUTF8(dst, p []byte) []byte {
	if utf8.Valid(p) {
		return append(dst, p...)
	}
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		dst = utf8.AppendRune(dst, r)
		p = p[n:]
	}
	return dst
}
