package builtin

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/mapper"
)

// sorted emits the lines of an object as they are in text output, "key TAB value", to be written in order: that of keys, and
// then of values, as bytes. A line without a tab is a key with an empty value. Escapes are resolved, so that the order is that of what
// they stand for.
func sorted() *Program {
	return &Program{
		Name: "sort", Key: guest.String, Acc: guest.String, Stock: "identity:string",
		New: func(params map[string]string) (Mapper, error) {
			for name := range params {
				return nil, fmt.Errorf("parameter %q: sort has none", name)
			}
			return &lineSorter{in: bufio.NewReaderSize(nil, 256<<10)}, nil
		},
	}
}

// A lineSorter takes lines apart.
type lineSorter struct {
	in         *bufio.Reader
	long       []byte // a line that is longer than the buffer
	key, value []byte // with escapes resolved
}

func (l *lineSorter) Map(obj *mapper.Object, out Emitter) error {
	l.in.Reset(obj)
	for n := 1; ; n++ {
		line, err := l.in.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			line, err = l.rest(line)
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if len(line) > 0 {
			if err := l.emit(bytes.TrimSuffix(line, []byte{'\n'}), out); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// rest reads a long line to its end.
func (l *lineSorter) rest(line []byte) ([]byte, error) {
	l.long = l.long[:0]
	err := bufio.ErrBufferFull
	for {
		if l.long = append(l.long, line...); len(l.long) > maxLine {
			return nil, fmt.Errorf("longer than %d bytes", maxLine)
		}
		if err != bufio.ErrBufferFull {
			return l.long, err
		}
		line, err = l.in.ReadSlice('\n')
	}
}

func (l *lineSorter) emit(line []byte, out Emitter) error {
	key, value, _ := bytes.Cut(line, []byte{'\t'})
	if bytes.IndexByte(line, '\\') >= 0 {
		l.key = guest.AppendUnescaped(l.key[:0], key)
		l.value = guest.AppendUnescaped(l.value[:0], value)
		key, value = l.key, l.value
	}
	return out.Record(key, value)
}
