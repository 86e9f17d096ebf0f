package builtin

import (
	"errors"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/internal/pattern"
	"github.com/millrace/millrace/mapper"
)

// grep prints the lines of objects that match patterns, byte for byte as ripgrep prints them:
//
//	KEY:LINE:TEXT    a line that matches; what follows the last line feed is a line, and gets one when printed
//	KEY-LINE-TEXT    a line of context
//	--               between groups of lines with context that do not touch, in one object; with separate, before the first too
//	KEY:COUNT        with count
//	KEY              with files-with-matches
//	{"key":…}        with json
//
// An object that begins with a byte order mark of UTF-16 is searched and printed as UTF-8, without the mark; that of
// UTF-8 is dropped. Bytes that are not valid UTF-8 are searched and printed as they are. A line of more than 64 MiB fails
// its object if the object is streamed.
//
// It counts matching_lines and matching_objects. A line that max-count left over is none, even where it is printed as
// trailing context, in which lines that match are printed as such.
func grep() *Program {
	return &Program{
		Name: "grep", Key: guest.Bytes, Acc: guest.Bytes,
		New: func(params map[string]string) (Mapper, error) {
			p, err := ParseGrepParams(params)
			if err != nil {
				return nil, err
			}
			return newGrepper(p)
		},
	}
}

// Check reports what is wrong with p, patterns included, in one line.
func (p *GrepParams) Check() error {
	_, err := newGrepper(p)
	return err
}

// A grepper searches one object after another.
type grepper struct {
	*GrepParams
	matcher *pattern.Matcher
	search  search
	block   []byte // of a streamed object
	decoded []byte // an object in UTF-16, as UTF-8
}

func newGrepper(p *GrepParams) (*grepper, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	m, err := pattern.Compile(p.Patterns, pattern.Options{Fixed: p.Fixed, Fold: p.IgnoreCase, Word: p.Word})
	if err != nil {
		return nil, err
	}
	return &grepper{GrepParams: p, matcher: m}, nil
}

func (g *grepper) Map(obj *mapper.Object, out Emitter) error {
	name := obj.Key
	if g.URI {
		name = obj.URI
	}
	s := &g.search
	s.reset(g, name, out)
	defer s.release()
	var err error
	if obj.Data != nil {
		text := obj.Data
		if enc := encodingOf(text); enc != utf8Plain {
			text = g.decode(text, enc)
		}
		_, err = s.scan(text, 0, true)
	} else {
		err = g.stream(obj, s)
	}
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return s.finish()
}
