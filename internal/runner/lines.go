package runner

import (
	"bytes"
	"fmt"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/reducer"
)

// reducingText returns how what a program prints is reduced by the stock reducer that a user has named; "" means that it is the output.
func reducingText(name string) (reducing, error) {
	d := guest.Description{ABI: guest.ABI, Key: guest.String, Acc: guest.String, Result: guest.String}
	if name == "" {
		d.MapOnly = true
		return newReducing(d)
	}
	n, err := reducer.LookupText(name)
	if err != nil {
		return reducing{}, err
	}
	d.Stock, d.Acc, d.Result = n.Name, n.Acc, n.Result
	return newReducing(d)
}

// lines takes what a program prints about one object: "key TAB value" lines for the stock reducer, or, if that is nil, output.
type lines struct {
	native *reducer.Native
	out    *stage
	rest   []byte // a line whose end has not come
	key    []byte
	val    []byte
	n      int64 // lines taken
}

// Write takes bytes cut anywhere. An error names the line.
func (l *lines) Write(b []byte) (int, error) {
	n := len(b)
	if l.native == nil {
		return n, l.out.Text(b)
	}
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			if len(l.rest)+len(b) > guest.DefaultBounds.Value {
				return 0, fmt.Errorf("line %d of output is longer than %s", l.n+1, bytesText(int64(guest.DefaultBounds.Value)))
			}
			l.rest = append(l.rest, b...)
			return n, nil
		}
		line := b[:i]
		if len(l.rest) > 0 {
			l.rest = append(l.rest, line...)
			line = l.rest
		}
		if err := l.line(line); err != nil {
			return 0, err
		}
		l.rest, b = l.rest[:0], b[i+1:]
	}
}

func (l *lines) line(b []byte) error {
	l.n++
	if len(b) == 0 {
		return nil
	}
	k, v, _ := bytes.Cut(b, []byte{'\t'})
	l.key = guest.AppendUnescaped(l.key[:0], k)
	if len(l.key) > guest.DefaultBounds.Key {
		return fmt.Errorf("line %d of output: key of %s", l.n, bytesText(int64(len(l.key))))
	}
	acc, err := l.native.Lift(l.val[:0], v, l.out.input)
	if err != nil {
		return fmt.Errorf("line %d of output: %w", l.n, err)
	}
	l.val = acc
	return l.out.Record(l.key, acc)
}

// end takes a last line that has no newline.
func (l *lines) end() error {
	if l.native == nil {
		if n := len(l.out.text); n > 0 && l.out.text[n-1] != '\n' {
			return l.out.Text([]byte{'\n'})
		}
		return nil
	}
	if len(l.rest) == 0 {
		return nil
	}
	return l.line(l.rest)
}

// Text, Record and Count take what a builtin program emits whose text is reduced.

func (l *lines) Text(p []byte) error {
	_, err := l.Write(p)
	return err
}

func (l *lines) Record(key, value []byte) error { return l.out.Record(key, value) }
func (l *lines) Count(name string, n int64)     { l.out.Count(name, n) }
