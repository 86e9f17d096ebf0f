package runner

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/millrace/millrace/mapper"
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
	r, err := reducingText(h.Reducer)
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
	if p.ends != nil {
		env = append(env, p.ends.member.env()...)
	}
	w := &lines{native: p.native, out: out}
	report, err := p.run(ctx, mapping(obj.Key), p.args, env, obj.Body, w)
	if err = p.verdict(err); err == nil {
		err = w.end()
	}
	return usageOf(&report), withLog(err, &report)
}

func (p *commandProgram) close() error { return p.guestProgram.close() }
