package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/shuffle"
)

// ends are what a member has of its channels: a netpipe from each of its writers, one to each of its readers.
type ends struct {
	member *Member
	held   bool  // what is written waits until its object has succeeded
	room   int64 // bytes that one object may write
	native bool  // files are served side by side, as the guest writes
	all    []*end

	taken    int64 // held bytes of the object under way
	waiting  int   // bytes that no reader has got yet, if not native
	opened   bool
	openErr  error
	deserted atomic.Bool // a write failed because its reader was gone
}

// An end is what a member has of one channel.
type end struct {
	*ChannelEnd
	ends    *ends
	lines   bool
	sockets []*os.File // by peer; taken over by what follows

	in    shuffle.PipeReader
	read  int64 // bytes that the guest got
	to    []*target
	files []*endFile
	calls int64 // of the guest
}

// A target is the netpipe to one reader.
type target struct {
	w   shuffle.PipeWriter
	mu  sync.Mutex // of what follows; held for a whole write
	buf []byte     // to be written as one batch, or more whole ones
	err error      // why nothing can be written
	sum int64      // bytes written
}

func newEnds(h *Hello) *ends {
	e := &ends{member: h.Member, held: h.Member.Maps, room: h.Limits.Output, native: h.Engine == job.Native}
	for i := range h.Member.Channels {
		c := &h.Member.Channels[i]
		x := &end{ChannelEnd: c, ends: e, lines: h.Member.Lines(c), sockets: make([]*os.File, c.Peers)}
		if !c.Reads {
			x.files = append(x.files, &endFile{end: x, only: -1})
			for n := range c.Peers {
				x.to = append(x.to, &target{})
				x.files = append(x.files, &endFile{end: x, only: n})
			}
		}
		e.all = append(e.all, x)
	}
	return e
}

// take takes a socket over.
func (e *ends) take(l Link, socket *os.File) error {
	if l.Channel < 0 || l.Channel >= len(e.all) || l.Peer < 0 || l.Peer >= len(e.all[l.Channel].sockets) ||
		e.all[l.Channel].sockets[l.Peer] != nil || e.opened {
		return errors.Join(fmt.Errorf("%w: link %+v", ErrProtocol, l), socket.Close())
	}
	e.all[l.Channel].sockets[l.Peer] = socket
	return nil
}

// open opens all netpipes: at once what is read, then, when its readers have done the same, what is written.
func (e *ends) open(ctx context.Context) error {
	if e.opened {
		return e.openErr
	}
	e.opened = true
	e.openErr = e.openAll(ctx)
	return e.openErr
}

func (e *ends) openAll(ctx context.Context) error {
	for _, x := range e.all {
		for _, s := range x.sockets {
			if s == nil {
				return fmt.Errorf("%w: channel %s without a link", ErrProtocol, x.Name)
			}
		}
		if !x.Reads {
			continue
		}
		in, err := shuffle.NewUnixReader(x.sockets...)
		if err == nil {
			x.in = in
			err = in.Open(ctx)
		}
		if err != nil {
			return fmt.Errorf("channel %s: %w", x.Name, err)
		}
	}
	var g errgroup.Group
	for _, x := range e.all {
		for n, t := range x.to {
			w, err := shuffle.NewUnixWriter(x.sockets[n])
			if err != nil {
				return fmt.Errorf("channel %s: %w", x.Name, err)
			}
			t.w = w
			g.Go(func() error {
				if err := w.Open(ctx); err != nil && !errors.Is(err, syscall.EPIPE) {
					return fmt.Errorf("channel %s: %w", x.Name, err)
				}
				return nil
			})
		}
	}
	return g.Wait()
}

// channels returns the channels for a run of the guest.
func (e *ends) channels() []sandbox.Channel {
	var cs []sandbox.Channel
	for _, x := range e.all {
		c := sandbox.Channel{Name: x.Name, Calls: x.Limits.Calls, Bytes: x.Limits.Bytes}
		if x.Reads {
			c.In, c.Stop = x, x.stop
		}
		for _, f := range x.files {
			c.Out = append(c.Out, f)
		}
		if !x.Reads && !e.held {
			c.Stop = x.stop
			if !e.native {
				c.Flush = e.flush
			}
		}
		cs = append(cs, c)
	}
	return cs
}

// Read is the guest's.
func (x *end) Read(p []byte) (int, error) {
	n, err := x.in.Read(p)
	x.read += int64(n)
	return n, err
}

// stop interrupts reads and writes under way.
func (x *end) stop() {
	if x.in != nil {
		x.in.Close()
	}
	for _, t := range x.to {
		if t.w != nil {
			_ = t.w.Abort("the writer was stopped") // why, its agent says
		}
	}
}

// begin forgets what the object before has written.
func (e *ends) begin() {
	e.taken = 0
	for _, x := range e.all {
		for _, f := range x.files {
			f.rest = f.rest[:0]
		}
		for _, t := range x.to {
			t.empty()
		}
	}
}

// letGo lets go what an object has written that succeeded.
func (e *ends) letGo() error {
	if err := e.complete(); err != nil {
		return err
	}
	for _, x := range e.all {
		for _, t := range x.to {
			if err := t.flush(); err != nil && !errors.Is(err, syscall.EPIPE) {
				return fmt.Errorf("channel %s: %w", x.Name, err)
			}
		}
	}
	return nil
}

// complete gives lines that have no end one.
func (e *ends) complete() error {
	for _, x := range e.all {
		for _, f := range x.files {
			if len(f.rest) == 0 {
				continue
			}
			if _, err := f.Write([]byte{'\n'}); err != nil && !errors.Is(err, syscall.EPIPE) {
				return fmt.Errorf("channel %s: %w", x.Name, err)
			}
		}
	}
	return nil
}

// flush lets readers have what a guest has written. What goes wrong, its next write says, or finish.
func (e *ends) flush() {
	if e.waiting == 0 {
		return
	}
	e.waiting = 0
	for _, x := range e.all {
		for _, t := range x.to {
			_ = t.flush()
		}
	}
}

// finish ends the channels after a run that came to err, or the last object, and returns what it came to in the end. After an error no reader
// sees an end.
func (e *ends) finish(err error) error {
	if err == nil {
		err = e.letGo()
	}
	var g errgroup.Group
	for _, x := range e.all {
		if x.in != nil {
			x.in.Close()
		}
		for _, t := range x.to {
			if t.w == nil {
				continue
			}
			g.Go(func() error {
				if err != nil {
					return t.w.Abort(err.Error())
				}
				if err := t.w.Close(); err != nil && !errors.Is(err, syscall.EPIPE) {
					return fmt.Errorf("channel %s: %w", x.Name, err)
				}
				return nil
			})
		}
	}
	if cerr := g.Wait(); err == nil {
		err = cerr
	}
	if err != nil {
		return e.explain(err)
	}
	return nil
}

// An otherError is a failure that another member's has caused.
type otherError struct{ err error }

func (e *otherError) Error() string { return e.err.Error() }
func (e *otherError) Unwrap() error { return e.err }

// explain marks an error that another member is to blame for.
func (e *ends) explain(err error) error {
	if e.deserted.Load() || errors.Is(err, shuffle.ErrAborted) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &otherError{err}
	}
	return err
}

// account adds what a run did.
func (e *ends) account(uses []sandbox.ChannelUse) {
	for i, u := range uses {
		e.all[i].calls += u.Calls
	}
}

// uses returns what went through the channels.
func (e *ends) uses() job.Traffic {
	all := job.Traffic{}
	for _, x := range e.all {
		p := job.Passage{ReadBytes: x.read}
		if x.Reads {
			p.Reads = x.calls
		} else {
			p.Writes = x.calls
		}
		for _, t := range x.to {
			p.WriteBytes += t.sum
		}
		all.Plus(job.Traffic{x.Name: p}, 1)
	}
	return all
}

// maxLine bounds a line of a channel, in bytes: one without an end must be kept.
const maxLine = 16 << 20

// An endFile is a file that the guest writes.
type endFile struct {
	*end
	only  int    // the reader that it leads to; -1: all of them
	rest  []byte // a line whose end has not come
	parts [][]byte
}

// Write takes bytes cut anywhere.
func (f *endFile) Write(p []byte) (int, error) {
	b := p
	if f.lines {
		i := bytes.LastIndexByte(p, '\n')
		if i < 0 {
			if len(f.rest)+len(p) > maxLine {
				return 0, fmt.Errorf("a line longer than %s", bytesText(maxLine))
			}
			f.rest = append(f.rest, p...)
			return len(p), nil
		}
		b = p[:i+1]
		if len(f.rest) > 0 {
			b = append(f.rest, b...)
		}
		defer func() { f.rest = append(f.rest[:0], p[i+1:]...) }()
	}
	if err := f.spread(b); err != nil {
		return 0, err
	}
	return len(p), nil
}

// spread gives readers what is theirs of whole lines, or of bytes that all go to one.
func (f *endFile) spread(b []byte) error {
	if f.only >= 0 || len(f.to) == 1 {
		return f.put(max(f.only, 0), b)
	}
	if f.parts == nil {
		f.parts = make([][]byte, len(f.to))
	}
	for len(b) > 0 {
		line := b[:bytes.IndexByte(b, '\n')+1]
		b = b[len(line):]
		key, _, _ := bytes.Cut(line[:len(line)-1], []byte{'\t'})
		n := shuffle.Partition(key, len(f.to))
		f.parts[n] = append(f.parts[n], line...)
	}
	var err error
	for n, part := range f.parts {
		if len(part) == 0 {
			continue
		}
		if perr := f.put(n, part); err == nil {
			err = perr
		}
		if f.parts[n] = part[:0]; cap(part) > keptBuffer {
			f.parts[n] = nil
		}
	}
	return err
}

// Bytes that wait for more before they are written, and of a buffer that is kept.
const (
	flushChannel = 64 << 10
	keptBuffer   = 1 << 20
)

// put gives one reader bytes, now or later.
func (f *endFile) put(n int, b []byte) error {
	e, t := f.ends, f.to[n]
	if e.held {
		if e.taken += int64(len(b)); e.taken > e.room {
			return fmt.Errorf("output %w: more than %s", sandbox.ErrLimit, bytesText(e.room))
		}
		t.buf = append(t.buf, b...)
		return nil
	}
	if err := t.add(b); err != nil {
		return e.left(err)
	}
	switch {
	case e.native:
		return e.left(t.flush())
	case e.waiting+len(b) < flushChannel:
		e.waiting += len(b)
		return nil
	}
	e.waiting = 1 // whatever it is
	e.flush()
	return e.left(t.state())
}

// left notes that a reader has gone.
func (e *ends) left(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		e.deserted.Store(true)
	}
	return err
}

func (t *target) add(b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.buf = append(t.buf, b...)
	}
	return t.err
}

func (t *target) state() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// flush writes what waits as one batch.
func (t *target) flush() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil && len(t.buf) > 0 {
		if _, t.err = t.w.Write(t.buf); t.err == nil {
			t.sum += int64(len(t.buf))
		}
	}
	t.empty()
	return t.err
}

func (t *target) empty() {
	if t.buf = t.buf[:0]; cap(t.buf) > keptBuffer {
		t.buf = nil
	}
}
