//go:build !wasip1

package search

import "github.com/millrace/millrace/internal/pattern"

type offset = int

// A platform is how a pattern is searched with here: in this process.
type platform struct{ matcher *pattern.Matcher }

func (p *platform) compile(text string, o *Options) (err error) {
	p.matcher, err = pattern.Compile([]string{text}, pattern.Options{Fixed: o.Fixed, Fold: o.Fold, Word: o.Word, Small: true})
	return err
}

func (p *platform) find(text []byte, lines bool, c *cursor, out *[batch]found) int {
	at := pattern.Cursor{Line: c.line, At: c.at, Last: c.last}
	n := p.matcher.Find(text, &at, lines, batch, func(i int, f pattern.Found) {
		out[i] = found{f.From, f.To, f.Start, f.End}
	})
	*c = cursor{at.Line, at.At, at.Last}
	return n
}
