package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/shuffle"
)

// A guestProgram is what all programs that run under an engine have in common.
type guestProgram struct {
	guest  sandbox.Guest
	limits job.Limits
	seed   uint64
	ends   *ends // of a member; nil: it has no channels
}

func (g *guestProgram) close() error { return g.guest.Close() }

// run runs the guest once. What is random in it is decided by the job's seed and what the run is for, so that the same object always meets
// the same chance.
func (g *guestProgram) run(ctx context.Context, purpose string, args, env []string, in io.Reader, out io.Writer) (sandbox.Report, error) {
	r := g.newRun(purpose, args, env)
	r.Stdin, r.Stdout = in, out
	return g.guest.Run(ctx, r)
}

// newRun returns a run without streams.
func (g *guestProgram) newRun(purpose string, args, env []string) *sandbox.Run {
	l := &g.limits
	var channels []sandbox.Channel
	if g.ends != nil {
		channels = g.ends.channels()
	}
	return &sandbox.Run{
		Channels: channels,
		Args:     args, Env: env, Seed: xxh3.HashStringSeed(purpose, g.seed),
		Limits: sandbox.Limits{
			Memory: l.Memory, Wall: l.Wall, CPU: l.CPU, Output: l.Output,
			Reads: l.Reads, ReadBytes: l.ReadBytes, Writes: l.Writes, Log: l.Log, LogLines: l.LogLines,
		},
	}
}

// mapping is the purpose of a run that maps the object of that key.
func mapping(key string) string { return "map " + key }

func usageOf(r *sandbox.Report) usage {
	return usage{
		user: r.User, system: r.System, wall: r.Wall, peak: r.PeakMemory, exit: r.Exit,
		reads: r.Reads, readBytes: r.ReadBytes, writes: r.Writes, writeBytes: r.WriteBytes,
		logLines: r.LogLines, logDropped: r.LogDropped, restored: r.Restored, channels: r.Channels,
	}
}

// An sdkProgram was written with the Go SDK.
type sdkProgram struct {
	guestProgram
	reducing
	params []byte   // frame
	once   []string // environment of a guest that maps one object

	partitions int    // that before has a frame of
	repeats    bool   // before has a frame that gives leave to
	before     []byte // what a guest gets first; nil: it was not made yet
}

// first returns the frames that a guest gets before its first object, which is staged at s.
func (p *sdkProgram) first(s *stage) []byte {
	if p.before == nil || p.partitions != s.partitions || p.repeats != s.repeats {
		p.partitions, p.repeats, p.before = s.partitions, s.repeats, slices.Clone(p.params)
		if p.desc.Partitions {
			p.before = guest.AppendPartitions(p.before, s.partitions)
		}
		if s.repeats {
			p.before = guest.AppendRepeats(p.before)
		}
	}
	return p.before
}

// newSDK makes a program of a guest of the SDK, which is asked what it is unless said is not nil.
func newSDK(ctx context.Context, g guestProgram, h *Hello, said *guest.Description) (_ program, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	if h.Reducer != "" {
		return nil, errOwnReducer
	}
	params, err := guest.EncodeParams(h.Params)
	if err != nil {
		return nil, err
	}
	if said == nil {
		_, d, report, err := g.ask(ctx)
		if err != nil {
			return nil, withLog(err, &report)
		}
		said = &d
	}
	r, err := newReducing(*said)
	if err != nil {
		return nil, err
	}
	once := append(guest.Env(guest.Map), guest.EnvOnce+"=1")
	if h.Engine == job.Native {
		once = append(once, collector(g.limits.Memory)...)
	}
	return &sdkProgram{guestProgram: g, reducing: r, params: params, once: once}, nil
}

// ask asks a guest of the SDK what it is.
func (g *guestProgram) ask(ctx context.Context) (text []byte, d guest.Description, r sandbox.Report, err error) {
	var out bytes.Buffer
	r, err = g.run(ctx, "describe", nil, guest.Env(guest.Describe), bytes.NewReader(nil), &out)
	if err == nil {
		d, err = guest.ParseDescription(out.Bytes())
	}
	return out.Bytes(), d, r, err
}

// prepare has a guest do what it does before it asks for its first object, so that this finds it done. An error of the guest is
// that of each object, too: here it means nothing.
func (p *sdkProgram) prepare(ctx context.Context, isolation job.Isolation) {
	env := p.once
	if isolation == job.IsolateSplit {
		env = guest.Env(guest.Map)
	}
	r := p.newRun("prepare", nil, env)
	r.Wall, r.CPU = prepareTime, prepareTime
	_ = sandbox.Prepare(ctx, p.guest, r)
}

// prepareTime bounds what a guest does ahead of its first object.
const prepareTime = time.Second

func (p *sdkProgram) mapObject(ctx context.Context, obj *mapper.Object, out *stage) (usage, error) {
	h := &answers{stage: out}
	replies := guest.NewReplies(h, 1, guest.Bounds{})
	m := &guest.Meta{Key: obj.Key, URI: obj.URI, ETag: obj.ETag, Size: obj.Size, Modified: obj.Modified}
	report, err := p.run(ctx, mapping(obj.Key), nil, p.once, guest.ObjectStream(p.first(out), m, obj.Body, obj.Data), replies)
	return usageOf(&report), h.verdict(withLog(err, &report), replies)
}

// reduce has the guest reduce. A partition may be large and take long: limits of time hold from one time that the guest gets records to the next, and
// those of a mapper's input and output not at all.
func (p *sdkProgram) reduce(ctx context.Context, m *shuffle.Merger, busy func(bool), emit func(key, result []byte) error) (usage, error) {
	if p.native != nil {
		return p.reducing.reduce(ctx, m, busy, emit)
	}
	h := &answers{emit: emit}
	replies := guest.NewReplies(h, 1, guest.Bounds{})
	in := guest.RecordStream(p.params, each(m))
	r := p.newRun("reduce", nil, guest.Env(guest.Reduce))
	r.Output, r.Reads, r.ReadBytes, r.Writes = math.MaxInt64, 0, 0, 0
	r.Laps, r.Stdout = sandbox.NewLaps(), replies
	r.Stdin = readerFunc(func(b []byte) (int, error) {
		r.Laps.Rest()
		busy(false)
		defer func() {
			busy(true)
			r.Laps.Begin()
		}()
		return in.Read(b)
	})
	busy(true)
	r.Laps.Begin()
	report, err := sandbox.RunLaps(ctx, p.guest, r)
	return usageOf(&report), h.verdict(withLog(err, &report), replies)
}

func (p *sdkProgram) close() error { return p.guestProgram.close() }

// answers takes what a guest answers about one object or one reduce.
type answers struct {
	*stage                                // of an object
	emit   func(key, result []byte) error // of a reduce
	failed string
}

func (a *answers) Records(key, value []byte, n int64) error {
	switch {
	case a.emit == nil:
		return a.stage.Records(key, value, n)
	case n > 1:
		return fmt.Errorf("%w: a reducer repeats a record", guest.ErrProtocol)
	}
	return a.emit(key, value)
}

func (a *answers) Text(p []byte) error {
	if a.stage == nil {
		return fmt.Errorf("%w: text from a reducer", guest.ErrProtocol)
	}
	return a.stage.Text(p)
}

func (a *answers) Count(name string, n int64) {
	if a.stage != nil {
		a.stage.Count(name, n)
	}
}

func (a *answers) Fail(reason string) { a.failed = reason }

func (a *answers) OK() {}

// verdict says what became of the work: what ended the run, else what the guest said.
func (a *answers) verdict(err error, r *guest.Replies) error {
	if err == nil {
		err = r.Close()
	}
	if err == nil && a.failed != "" {
		err = errors.New(a.failed)
	}
	return err
}

// withLog adds the last line that a crashed guest printed to its error, unless that has it already.
func withLog(err error, r *sandbox.Report) error {
	if err == nil || errors.Is(err, sandbox.ErrExit) || r.Log == "" || errors.Is(err, sandbox.ErrLimit) {
		return err
	}
	lines := bytes.Split(bytes.TrimSpace([]byte(r.Log)), []byte{'\n'})
	return fmt.Errorf("%w: %s", err, clip(string(lines[0])))
}

// exits reports whether code means success.
func exits(ok []int, code int) bool {
	if len(ok) == 0 {
		return code == 0
	}
	return slices.Contains(ok, code)
}
