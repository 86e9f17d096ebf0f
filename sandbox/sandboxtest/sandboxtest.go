// Package sandboxtest is the conformance suite of guests, and a way to run guests in real jails from tests.
//
// A test binary that uses it starts with
//
//	func TestMain(m *testing.M) { sandboxtest.Main(m) }
//
// because the jail is this very binary, run again.
package sandboxtest

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox"
)

// An Engine opens programs: sandbox.OpenWasm, sandbox.OpenCompiled or sandbox.OpenNative.
type Engine string

// Engines.
const (
	Wasm     Engine = "wasm"
	Compiled Engine = "compiled" // what sandbox.CompileWasm returns
	Native   Engine = "native"
)

// Main runs the tests, or serves guests if this process is a jailed child. It does not return.
func Main(m *testing.M) {
	if !sandbox.IsChild() {
		os.Exit(m.Run())
	}
	if err := sandbox.Enter(); err != nil {
		os.Exit(1)
	}
	if err := serve(os.NewFile(3, "channel")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Patience is how late something may happen that is to happen at once. It is much more than it takes: other work on the machine fails no test,
// and what would never happen does.
const Patience = 10 * time.Second

// checkEnd checks that a run did not end too late after its limit of time, and says how late that was.
func checkEnd(t testing.TB, took time.Duration, l sandbox.Limits) {
	t.Helper()
	limit := l.Wall
	if limit == 0 || l.CPU > 0 && l.CPU < limit {
		limit = max(l.CPU, limit)
	}
	if limit == 0 || took < limit {
		return
	}
	t.Logf("ended %v after its limit of %v", took-limit, limit)
	if took > limit+Patience {
		t.Errorf("ended after %v; limit %v", took, limit)
	}
}

// A Jail is a jailed process that serves one guest. It implements sandbox.Guest: each run goes over a channel, with its
// input and output held in memory. After a run that had to be killed, the jail is gone.
type Jail struct {
	Process *sandbox.Process
	Grace   time.Duration // after its limit, in which a run is to end by itself; then the jail is killed

	channel *os.File
	out     *gob.Encoder
	in      *gob.Decoder
}

// Open starts a jail by cfg (nil means defaults; Args, Files and Native are set here) and opens code in it. The jail ends
// with the test.
func Open(t testing.TB, e Engine, code []byte, cfg *sandbox.Config) (*Jail, error) {
	t.Helper()
	if cfg == nil {
		cfg = &sandbox.Config{}
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "channel"), os.NewFile(uintptr(fds[1]), "channel")
	defer theirs.Close()
	c := *cfg
	c.Files, c.Native = []*os.File{theirs}, e == Native
	p, err := sandbox.Start(&c)
	if err != nil {
		ours.Close()
		return nil, err
	}
	j := &Jail{Process: p, Grace: Patience, channel: ours, out: gob.NewEncoder(ours), in: gob.NewDecoder(ours)}
	t.Cleanup(func() { j.Close() })
	if err := j.open(e, code); err != nil {
		return nil, err
	}
	return j, nil
}

// Run implements sandbox.Guest. Its context counts only before the run.
func (j *Jail) Run(ctx context.Context, r *sandbox.Run) (sandbox.Report, error) {
	report, _, err := j.RunStreams(ctx, r, nil)
	return report, err
}

// RunStreams is Run with channels, and says what came of each.
func (j *Jail) RunStreams(ctx context.Context, r *sandbox.Run, streams []Stream) (sandbox.Report, []heard, error) {
	if err := ctx.Err(); err != nil {
		return sandbox.Report{}, nil, err
	}
	q := &request{Args: r.Args, Env: r.Env, Seed: r.Seed, Limits: r.Limits, Streams: streams}
	if err := q.take(r.Stdin); err != nil {
		return sandbox.Report{}, nil, err
	}
	limit := r.Wall
	if limit <= 0 {
		limit = 60 * time.Second
	}
	if err := j.channel.SetReadDeadline(time.Now().Add(limit + j.Grace)); err != nil {
		return sandbox.Report{}, nil, err
	}
	a, err := j.call(q)
	if clearErr := j.channel.SetReadDeadline(time.Time{}); err == nil {
		err = clearErr
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = &remoteError{text: fmt.Sprintf("guest wall clock limit: %v: killed", limit), kinds: []error{sandbox.ErrLimit}}
	}
	if err != nil {
		return a.Report, a.Heard, err
	}
	if r.Stdout != nil {
		if _, err := r.Stdout.Write(a.Output); err != nil {
			return a.Report, a.Heard, err
		}
	}
	return a.Report, a.Heard, nil
}

// Close ends the jail.
func (j *Jail) Close() error {
	err := j.channel.Close()
	j.Process.Kill()
	j.Process.Wait()
	return err
}

func (j *Jail) open(e Engine, code []byte) error {
	_, err := j.call(&request{Engine: e, Code: code})
	return err
}

func (j *Jail) call(q *request) (*answer, error) {
	a := &answer{}
	err := j.out.Encode(q)
	if err == nil {
		err = j.in.Decode(a)
	}
	if err != nil {
		j.Process.Kill()
		exit := j.Process.Wait()
		return a, fmt.Errorf("jail %v: %w: %s", exit, err, exit.Stderr)
	}
	return a, a.err()
}

// A remoteError is an error as it was on the other side of the channel.
type remoteError struct {
	text  string
	kinds []error
}

func (e *remoteError) Error() string { return e.text }

func (e *remoteError) Is(target error) bool {
	for _, k := range e.kinds {
		if errors.Is(k, target) {
			return true
		}
	}
	return false
}
