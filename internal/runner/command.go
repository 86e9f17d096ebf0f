package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
	"github.com/millrace/millrace/sandbox"
)

// A commandProgram is a program in any language: the object on stdin, "key TAB value" lines on stdout, parameters as arguments,
// what is known of the object in the environment. Without a reducer its lines are the output.
type commandProgram struct {
	guestProgram
	reducing
	args []string
	ok   []int
}

func newCommand(g guestProgram, h *Hello) (program, error) {
	d := guest.Description{ABI: guest.ABI, Key: guest.String, Acc: guest.String, Result: guest.String}
	if h.Reducer == "" {
		d.MapOnly = true
	} else {
		n, ok := reducer.LookupText(h.Reducer)
		if !ok {
			return nil, errors.Join(fmt.Errorf("no stock reducer %q", h.Reducer), g.close())
		}
		d.Stock, d.Acc, d.Result = n.Name, n.Acc, n.Result
	}
	r, err := newReducing(d)
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	args := slices.Clone(h.Args)
	for _, k := range slices.Sorted(maps.Keys(h.Params)) {
		args = append(args, k+"="+h.Params[k])
	}
	return &commandProgram{g, r, args, h.OKExit}, nil
}

func (p *commandProgram) mapObject(ctx context.Context, obj *mapper.Object, out *stage) (usage, error) {
	env := []string{
		"MILLRACE_KEY=" + obj.Key,
		"MILLRACE_URI=" + obj.URI,
		"MILLRACE_SIZE=" + strconv.FormatInt(obj.Size, 10),
		"MILLRACE_ETAG=" + obj.ETag,
		"MILLRACE_MODIFIED=" + obj.Modified.Format(time.RFC3339Nano),
	}
	w := &lines{p: p, out: out}
	report, err := p.run(ctx, mapping(obj.Key), p.args, env, obj.Body, w)
	var e *sandbox.ExitError
	switch {
	case errors.As(err, &e) && exits(p.ok, e.Code), err == nil && exits(p.ok, 0):
		err = w.end()
	case err == nil:
		err = errors.New("guest exited 0, which is not among the exit codes that mean success")
	}
	return usageOf(&report), withLog(err, &report)
}

func (p *commandProgram) close() error { return p.guestProgram.close() }

// lines takes the stdout of a command.
type lines struct {
	p    *commandProgram
	out  *stage
	rest []byte // a line whose end has not come
	key  []byte
	val  []byte
	n    int64 // lines taken
}

// Write takes bytes cut anywhere. An error names the line.
func (l *lines) Write(b []byte) (int, error) {
	n := len(b)
	if l.p.native == nil {
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
	acc, err := l.p.native.Lift(l.val[:0], v)
	if err != nil {
		return fmt.Errorf("line %d of output: %w", l.n, err)
	}
	l.val = acc
	return l.out.Record(l.key, acc)
}

// end takes a last line that has no newline.
func (l *lines) end() error {
	if l.p.native == nil {
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
