package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/mapper/builtin"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/shuffle"
)

// A program is the code of a job, ready to run in this process or under it.
type program interface {
	// describe says what it emits. Stock and types are those in force, also for a command with a stock reducer.
	describe() guest.Description
	// combine merges accumulators without entering the guest; nil if only the guest can.
	combine() shuffle.Combine
	// mapObject maps one object. An error fails that object.
	mapObject(ctx context.Context, obj *mapper.Object, out *stage) (usage, error)
	// reduce reduces groups, sorted, and emits results. It says by busy when a guest has got records to work on, and when it waits for more. An error
	// fails the attempt.
	reduce(ctx context.Context, m *shuffle.Merger, busy func(bool), emit func(key, result []byte) error) (usage, error)
	close() error
}

// maxCode bounds the code of a program.
const maxCode = 256 << 20

// load makes the program of h ready. Code is its file, if it has one.
func load(ctx context.Context, h *Hello, code *os.File, inProcess *job.Job) (program, error) {
	if inProcess != nil {
		return newProcess(inProcess)
	}
	if h.Engine == job.Builtin {
		if h.Isolation == job.IsolateSplit {
			return nil, errors.New("--isolation split: builtin programs have no instances to share")
		}
		return newBuiltin(h)
	}
	if code == nil {
		return nil, fmt.Errorf("%w: program without code", ErrProtocol)
	}
	g, p, err := open(ctx, h, code)
	if err != nil {
		return nil, err
	}
	e := guestProgram{guest: g, limits: h.Limits, seed: h.Seed}
	if p.SDK {
		if d, ok := p.description(h.Limits.Memory); ok {
			return newSDK(ctx, e, h, &d)
		}
		return newSDK(ctx, e, h, nil)
	}
	if h.Isolation == job.IsolateSplit {
		return nil, errors.Join(errors.New("--isolation split: only a program of the Go SDK knows where an object ends; "+
			"commands get a fresh instance for each object"), e.close())
	}
	return newCommand(e, h)
}

// open opens the guest behind code, and says what is known of it.
func open(ctx context.Context, h *Hello, code *os.File) (sandbox.Guest, *preface, error) {
	if h.Engine == job.Wasm && !h.Interpret {
		if err := checkSealed(code); err != nil {
			return nil, nil, err
		}
		p, err := readPreface(code)
		if err != nil {
			return nil, nil, err
		}
		g, err := sandbox.OpenCompiled(ctx, code, int64(prefaceSize))
		return g, p, err
	}
	b, err := readCode(code)
	if err != nil {
		return nil, nil, err
	}
	p := &preface{SDK: isSDK(b)}
	var g sandbox.Guest
	switch h.Engine {
	case job.Wasm:
		g, err = sandbox.OpenInterpreted(ctx, b)
	case job.Native:
		g, err = sandbox.OpenNative(b, nil)
	default:
		err = fmt.Errorf("%w: engine %q", ErrProtocol, h.Engine)
	}
	return g, p, err
}

// isSDK reports whether a program was written with the Go SDK.
func isSDK(code []byte) bool { return bytes.Contains(code, []byte(guest.ABI)) }

func readCode(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxCode {
		return nil, fmt.Errorf("program of %d bytes is over the limit of %d", info.Size(), maxCode)
	}
	b := make([]byte, info.Size())
	_, err = io.ReadFull(io.NewSectionReader(f, 0, info.Size()), b)
	return b, err
}

// A builtinProgram is compiled into millrace.
type builtinProgram struct {
	reducing
	mapper builtin.Mapper
	prints bool // what is reduced are the lines that it prints
}

func newBuiltin(h *Hello) (program, error) {
	p, ok := builtin.Lookup(h.Name)
	if !ok {
		return nil, fmt.Errorf("no builtin program %q", h.Name)
	}
	m, err := p.New(h.Params)
	if err != nil {
		return nil, err
	}
	if p.Stock == "" {
		r, err := reducingText(h.Reducer)
		return &builtinProgram{r, m, true}, err
	}
	if h.Reducer != "" {
		return nil, errOwnReducer
	}
	r, err := newReducing(guest.Description{ABI: guest.ABI, Key: p.Key, Acc: p.Acc, Stock: p.Stock})
	if err != nil {
		return nil, err
	}
	r.desc.Result = r.native.Result
	return &builtinProgram{r, m, false}, nil
}

// errOwnReducer refuses a stock reducer that a user has named.
var errOwnReducer = errors.New("the program has a reducer of its own: name none")

func (p *builtinProgram) mapObject(_ context.Context, obj *mapper.Object, out *stage) (u usage, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", sandbox.ErrTrap, r)
		}
	}()
	if p.native == nil || !p.prints {
		return u, p.mapper.Map(obj, out)
	}
	l := &lines{native: p.native, out: out}
	if err := p.mapper.Map(obj, l); err != nil {
		return u, err
	}
	return u, l.end()
}

func (p *builtinProgram) close() error { return nil }

// A processProgram is a job that runs in this very process, for tests and debuggers.
type processProgram struct {
	reducing
	job *job.Job
}

func newProcess(j *job.Job) (program, error) {
	d, err := j.Describe()
	if err != nil {
		return nil, err
	}
	r, err := newReducing(d)
	if err != nil {
		return nil, err
	}
	return &processProgram{r, j}, nil
}

func (p *processProgram) mapObject(_ context.Context, obj *mapper.Object, out *stage) (usage, error) {
	return usage{}, p.job.Map(obj, out)
}

func (p *processProgram) reduce(ctx context.Context, m *shuffle.Merger, busy func(bool), emit func(key, result []byte) error) (usage, error) {
	if p.native != nil {
		return p.reducing.reduce(ctx, m, busy, emit)
	}
	next := each(m)
	busy(true)
	return usage{}, p.job.Reduce(func() (key, value []byte, ok bool, err error) {
		busy(false)
		defer busy(true)
		return next()
	}, emit)
}

func (p *processProgram) close() error { return nil }

// each returns the records that m merges, one at a call.
func each(m *shuffle.Merger) func() (key, value []byte, ok bool, err error) {
	return func() (key, value []byte, ok bool, err error) {
		if key, value, ok = m.Next(); !ok {
			err = m.Err()
		}
		return key, value, ok, err
	}
}
