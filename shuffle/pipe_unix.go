package shuffle

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/zeebo/xxh3"
)

// abortGrace is how long Abort tries to get the reason to a reader that does not read.
const abortGrace = time.Second

// SocketPair returns the two ends of a Unix socket pair, for NewUnixWriter and NewUnixReader here or in another process.
// A process that hands an end away must close its own copy of it, or nobody sees the other one vanish.
func SocketPair() (w, r *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "netpipe writer"), os.NewFile(uintptr(fds[1]), "netpipe reader"), nil
}

// pollable returns f's descriptor as a file whose reads and writes can be interrupted, and closes f.
func pollable(f *os.File) (*os.File, error) {
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if cerr := raw.Control(func(old uintptr) {
		var n uintptr
		var errno syscall.Errno
		if n, _, errno = syscall.Syscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 3); errno != 0 {
			err = os.NewSyscallError("fcntl", errno)
			return
		}
		fd = int(n)
		err = os.NewSyscallError("fcntl", syscall.SetNonblock(fd, true))
	}); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		if fd >= 0 {
			syscall.Close(fd)
		}
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

type unixWriter struct {
	f *os.File

	mu     sync.Mutex // of what follows
	opened bool
	err    error // why nothing can be written; the first one stays
	ending bool  // Close is under way
	ended  bool  // END was written
	stop   func() bool

	writing sync.Mutex // held by whoever writes to f
	frame   []byte
	rest    []byte // what is unwritten of a frame that was cut
	inEnd   bool   // and that frame is END
	done    bool   // f is closed
	seq     uint32
	bytes   uint64
	digest  *xxh3.Hasher
}

// NewUnixWriter returns the writing end of a netpipe over a connected Unix stream socket. It takes over f.
func NewUnixWriter(f *os.File) (PipeWriter, error) {
	f, err := pollable(f)
	if err != nil {
		return nil, fmt.Errorf("netpipe writer: %w", err)
	}
	return &unixWriter{f: f, digest: xxh3.New()}, nil
}

func (w *unixWriter) Open(ctx context.Context) error {
	w.mu.Lock()
	if w.opened || w.err != nil {
		defer w.mu.Unlock()
		return w.err
	}
	w.stop = context.AfterFunc(ctx, func() { _ = w.abort(context.Cause(ctx)) })
	w.mu.Unlock()

	fr := frameReader{framing: pipeFrames, r: w.f}
	kind, _, err := fr.next()
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		err = errNoReader
	case err == nil && kind != frameHello:
		err = fmt.Errorf("netpipe: %w: the reader did not say hello", ErrCorrupt)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err, w.opened = err, err == nil
	}
	return w.err
}

// state returns why nothing can be written.
func (w *unixWriter) state() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return w.err
	case w.ending:
		return errClosed
	case !w.opened:
		return errNotOpen
	}
	return nil
}

// set makes err the error of the writer, if it had none, and returns the one that it has.
func (w *unixWriter) set(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	return w.err
}

func (w *unixWriter) Write(p []byte) (int, error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	done := 0
	for {
		if err := w.state(); err != nil {
			return done, err
		}
		if len(p) == 0 {
			return done, nil
		}
		part := p[:min(len(p), pipePayload)]
		if err := w.send(frameData, part); err != nil {
			return done, err
		}
		w.bytes += uint64(len(part))
		w.digest.Write(part)
		done += len(part)
		p = p[len(part):]
	}
}

// send writes one frame. The caller holds w.writing.
func (w *unixWriter) send(kind byte, payload []byte) error {
	w.frame = append(append(w.frame[:0], make([]byte, frameHeader)...), payload...)
	pipeFrames.sealFrame(w.frame, kind, w.seq)
	w.seq++
	n, err := w.f.Write(w.frame)
	if err == nil {
		return nil
	}
	w.rest, w.inEnd = w.frame[n:], kind == frameEnd
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		err = errNoReader
	}
	return w.set(err)
}

func (w *unixWriter) Close() error {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return nil
	}
	if w.err == nil && !w.opened {
		w.err = errNotOpen
	}
	err := w.err
	w.ending = true
	w.mu.Unlock()

	if err == nil {
		end := binary.LittleEndian.AppendUint64(nil, w.bytes)
		end = binary.LittleEndian.AppendUint64(end, w.digest.Sum64())
		end = binary.LittleEndian.AppendUint64(end, uint64(w.seq))
		err = w.send(frameEnd, end)
	}
	w.mu.Lock()
	if err == nil {
		w.ended = true
	}
	stop := w.stop
	w.mu.Unlock()
	if stop != nil {
		stop()
	}
	w.finish(err)
	return err
}

func (w *unixWriter) Abort(reason string) error {
	return w.abort(abortedFor(reason))
}

// abort makes err the error of the writer and sends its text, unless the stream has ended.
func (w *unixWriter) abort(err error) error {
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return errClosed
	}
	if w.err == nil {
		w.err = err
	}
	w.mu.Unlock()

	w.f.SetDeadline(time.Unix(1, 0)) // wakes an Open, Write or Close
	w.writing.Lock()
	defer w.writing.Unlock()
	w.mu.Lock()
	ended, first, stop := w.ended, w.err, w.stop
	w.mu.Unlock()
	if ended {
		return errClosed
	}
	if stop != nil {
		stop()
	}
	w.finish(first)
	return nil
}

// finish closes the socket, after an ABORT frame if err is not nil. The caller holds w.writing.
func (w *unixWriter) finish(err error) {
	if w.done {
		return
	}
	w.done = true
	defer w.f.Close()
	if err == nil || w.inEnd || errors.Is(err, syscall.EPIPE) {
		return // a frame that was cut in END is better not completed
	}
	w.f.SetWriteDeadline(time.Now().Add(abortGrace))
	if _, err := w.f.Write(w.rest); err != nil {
		return
	}
	_ = w.send(frameAbort, []byte(aborted(err).reason))
}

type unixReader struct {
	f  *os.File
	in *bufio.Reader

	mu     sync.Mutex // of what follows
	opened bool
	err    error
	stop   func() bool

	frames frameReader
	rest   []byte
	bytes  uint64
	digest *xxh3.Hasher
}

// NewUnixReader returns the reading end of a netpipe over a connected Unix stream socket. It takes over f.
func NewUnixReader(f *os.File) (PipeReader, error) {
	f, err := pollable(f)
	if err != nil {
		return nil, fmt.Errorf("netpipe reader: %w", err)
	}
	r := &unixReader{f: f, in: bufio.NewReaderSize(f, 64<<10), digest: xxh3.New()}
	r.frames = frameReader{framing: pipeFrames, r: r.in}
	return r, nil
}

func (r *unixReader) Open(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opened || r.err != nil {
		return r.err
	}
	hello := make([]byte, frameHeader)
	pipeFrames.sealFrame(hello, frameHello, 0)
	// A writer that has vanished already is seen by Read, after what it may have written.
	if _, err := r.f.Write(hello); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		r.err = fmt.Errorf("netpipe reader: %w", err)
		return r.err
	}
	r.opened = true
	r.stop = context.AfterFunc(ctx, func() { _ = r.fail(context.Cause(ctx)) })
	return nil
}

// fail lets go of the stream with err for the reader, and returns the error that the reader has.
func (r *unixReader) fail(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
	r.f.Close()
	return r.err
}

func (r *unixReader) state() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && !r.opened {
		return errNotOpen
	}
	return r.err
}

func (r *unixReader) Read(p []byte) (int, error) {
	for {
		if err := r.state(); err != nil {
			return 0, err
		}
		if len(p) == 0 {
			return 0, nil
		}
		if len(r.rest) > 0 {
			n := copy(p, r.rest)
			r.rest = r.rest[n:]
			return n, nil
		}
		if err := r.fill(); err != nil {
			return 0, r.fail(err)
		}
	}
}

// fill reads the next frame. The error is io.EOF after a verified END.
func (r *unixReader) fill() error {
	kind, payload, err := r.frames.next()
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return errVanished
	case err != nil:
		return fmt.Errorf("netpipe: %w", err)
	}
	switch kind {
	case frameData:
		r.rest = payload
		r.bytes += uint64(len(payload))
		r.digest.Write(payload)
		return nil
	case frameAbort:
		return abortedFor(string(payload))
	case frameEnd:
		if len(payload) != pipeEndSize ||
			binary.LittleEndian.Uint64(payload) != r.bytes ||
			binary.LittleEndian.Uint64(payload[8:]) != r.digest.Sum64() ||
			binary.LittleEndian.Uint64(payload[16:]) != uint64(r.frames.seq-1) {
			return fmt.Errorf("netpipe: %w: its end does not agree with its %d bytes", ErrCorrupt, r.bytes)
		}
		return io.EOF
	}
	return fmt.Errorf("netpipe: %w: a writer's frame of kind %d", ErrCorrupt, kind)
}

func (r *unixReader) Close() error {
	r.mu.Lock()
	stop := r.stop
	r.mu.Unlock()
	if stop != nil {
		stop()
	}
	_ = r.fail(errClosed)
	return nil
}
