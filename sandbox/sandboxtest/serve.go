package sandboxtest

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// A request opens a program (Engine is set) or runs it.
type request struct {
	Engine Engine
	Code   []byte

	Args    []string
	Env     []string
	Seed    uint64
	Limits  sandbox.Limits
	Stdin   []byte
	Endless bool // stdin is zeros without end
	Broken  bool // stdin is an error

	Streams []Stream
}

// An answer is the outcome of a request.
type answer struct {
	Report sandbox.Report
	Output []byte
	Heard  []heard
	Error  string // empty: none
	Kinds  []int  // indices into kinds
	Exit   *sandbox.ExitError
}

// kinds are the errors that travel by name.
var kinds = []error{sandbox.ErrLimit, sandbox.ErrTrap, sandbox.ErrExit, sandbox.ErrModule, sandbox.ErrLayer, ErrStream}

// ErrStream is what [Broken] returns.
var ErrStream = errors.New("stream broke")

// A source of input that is made on the other side.
type source int

func (source) Read([]byte) (int, error) { return 0, ErrStream }

// Sources of input for runs in a [Jail].
const (
	Endless source = iota // zeros without end
	Broken                // fails with ErrStream
)

func (q *request) take(r io.Reader) error {
	switch s := r.(type) {
	case nil:
	case source:
		q.Endless, q.Broken = s == Endless, s == Broken
	default:
		b, err := io.ReadAll(r)
		q.Stdin = b
		return err
	}
	return nil
}

func (q *request) reader() io.Reader {
	switch {
	case q.Endless:
		return zeros{}
	case q.Broken:
		return Broken
	}
	return bytes.NewReader(q.Stdin)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func newAnswer(err error) *answer {
	a := &answer{}
	if err == nil {
		return a
	}
	a.Error = err.Error()
	for i, k := range kinds {
		if errors.Is(err, k) {
			a.Kinds = append(a.Kinds, i)
		}
	}
	if exit, ok := err.(*sandbox.ExitError); ok { // itself, not one within something that says more
		a.Exit = exit
	}
	return a
}

func (a *answer) err() error {
	if a.Error == "" {
		return nil
	}
	if a.Exit != nil {
		return a.Exit
	}
	e := &remoteError{text: a.Error}
	for _, i := range a.Kinds {
		e.kinds = append(e.kinds, kinds[i])
	}
	return e
}

// serve opens and runs what it is asked to until the channel ends.
func serve(channel *os.File) error {
	in, out := gob.NewDecoder(channel), gob.NewEncoder(channel)
	var guest sandbox.Guest
	for {
		q := &request{}
		if err := in.Decode(q); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("channel: %w", err)
		}
		var a *answer
		if q.Engine != "" && guest != nil {
			guest.Close()
			guest = nil
		}
		switch q.Engine {
		case Wasm:
			var err error
			guest, err = sandbox.OpenWasm(context.Background(), q.Code)
			a = newAnswer(err)
		case Compiled:
			var err error
			guest, err = openCompiled(q.Code)
			a = newAnswer(err)
		case Native:
			var err error
			guest, err = sandbox.OpenNative(q.Code, nil)
			a = newAnswer(err)
		default:
			var output bytes.Buffer
			run := &sandbox.Run{
				Args: q.Args, Env: q.Env, Seed: q.Seed, Limits: q.Limits,
				Streams: sandbox.Streams{Stdin: q.reader(), Stdout: &output},
			}
			var streams []*stream
			for _, s := range q.Streams {
				st := &stream{Stream: s, stop: make(chan struct{})}
				streams = append(streams, st)
				run.Channels = append(run.Channels, st.channel())
			}
			report, err := guest.Run(context.Background(), run)
			a = newAnswer(err)
			a.Report, a.Output = report, output.Bytes()
			for _, s := range streams {
				a.Heard = append(a.Heard, s.heard())
			}
		}
		if err := out.Encode(a); err != nil {
			return fmt.Errorf("channel: %w", err)
		}
	}
}

// openCompiled opens a compiled module.
func openCompiled(code []byte) (sandbox.Guest, error) {
	fd, err := unix.MemfdCreate("compiled", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "compiled")
	defer f.Close()
	if _, err := f.Write(code); err != nil {
		return nil, err
	}
	return sandbox.OpenCompiled(context.Background(), f, 0)
}
