package builtin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/mapper"
)

// fields prints a line "key TAB value" for each line of an object that is not empty, made of fields of that line. Its parameters are
//
//	separator  what stands between fields, a byte; a tab unless given
//	key        the number of the key's field, counted from 1; 0 for an empty key, the same for all lines; 1 unless given
//	value      the numbers of the value's fields, as in 3,1; all but the key's unless given. Tabs stand between them
//
// Where tabs separate, fields are passed on as they are, escapes included, so that one job's output is the next one's input. A line that lacks a
// field fails its object.
func fields() *Program {
	return &Program{
		Name: "fields", Key: guest.String, Acc: guest.String,
		New: func(params map[string]string) (Mapper, error) { return newFielder(params) },
	}
}

// A fielder takes lines apart.
type fielder struct {
	separator byte
	key       int
	value     []int // nil: all but the key
	most      int   // number of the last field that a line must have
	parts     [][]byte
	out       []byte
}

const (
	maxField    = 10_000
	fieldsFlush = 32 << 10 // bytes of output that are passed on together
)

func newFielder(params map[string]string) (*fielder, error) {
	f := &fielder{separator: '\t', key: 1}
	for name, value := range params {
		var err error
		switch name {
		case "separator":
			if len(value) != 1 || value == "\n" {
				return nil, fmt.Errorf("parameter separator: %q is not one byte", value)
			}
			f.separator = value[0]
		case "key":
			if value != "0" {
				f.key, err = fieldNumber(value)
			} else {
				f.key = 0
			}
		case "value":
			for number := range strings.SplitSeq(value, ",") {
				n, numErr := fieldNumber(number)
				f.value, err = append(f.value, n), errors.Join(err, numErr)
			}
		default:
			err = errors.New("fields has none of that name")
		}
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", name, err)
		}
	}
	f.most = max(f.key, slices.Max(append(f.value, 0)))
	return f, nil
}

func fieldNumber(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxField {
		return 0, fmt.Errorf("%q is not the number of a field, from 1", s)
	}
	return n, nil
}

func (f *fielder) Map(obj *mapper.Object, out Emitter) error {
	lines := bufio.NewScanner(obj)
	lines.Buffer(nil, maxLine)
	f.out = f.out[:0]
	n := 1
	for ; lines.Scan(); n++ {
		line := bytes.TrimSuffix(lines.Bytes(), []byte{'\r'})
		if len(line) == 0 {
			continue
		}
		if err := f.line(line); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if len(f.out) < fieldsFlush {
			continue
		}
		if err := out.Text(f.out); err != nil {
			return err
		}
		f.out = f.out[:0]
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = fmt.Errorf("line %d: longer than %d bytes", n, maxLine)
	}
	if err != nil || len(f.out) == 0 {
		return err
	}
	return out.Text(f.out)
}

// line appends what becomes of one line.
func (f *fielder) line(line []byte) error {
	f.parts = f.parts[:0]
	for part := range bytes.SplitSeq(line, []byte{f.separator}) {
		f.parts = append(f.parts, part)
	}
	if f.most > len(f.parts) {
		return fmt.Errorf("no field %d of %d", f.most, len(f.parts))
	}
	if f.key > 0 {
		f.append(f.parts[f.key-1])
	}
	if f.value == nil {
		for i, part := range f.parts {
			if i != f.key-1 {
				f.out = append(f.out, '\t')
				f.append(part)
			}
		}
	}
	for _, n := range f.value {
		f.out = append(f.out, '\t')
		f.append(f.parts[n-1])
	}
	f.out = append(f.out, '\n')
	return nil
}

func (f *fielder) append(part []byte) {
	if f.separator == '\t' {
		f.out = append(f.out, part...)
		return
	}
	f.out = guest.AppendEscaped(f.out, part)
}
