package shuffle

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SocketPair returns the two ends of a Unix socket pair, for NewUnixWriter and NewUnixReader here or in another process.
// A process that hands an end away must close its own copy of it, or nobody sees the other one vanish.
func SocketPair() (w, r *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "netpipe writer"), os.NewFile(uintptr(fds[1]), "netpipe reader"), nil
}

// NewUnixWriter returns the writing end of a netpipe over a connected Unix stream socket. It takes over f.
func NewUnixWriter(f *os.File) (PipeWriter, error) {
	l, err := UnixLink(f, ReaderFrames(), WriterFrames())
	if err != nil {
		return nil, fmt.Errorf("netpipe writer: %w", err)
	}
	return NewPipeWriter(l, nil), nil
}

// NewUnixReader returns the reading end of a netpipe over connected Unix stream sockets, one for each writer. It takes over them.
func NewUnixReader(sockets ...*os.File) (PipeReader, error) {
	var from []PipeReader
	var errs []error
	for _, f := range sockets {
		l, err := UnixLink(f, WriterFrames(), ReaderFrames())
		if err != nil {
			errs = append(errs, fmt.Errorf("netpipe reader: %w", err))
			continue
		}
		from = append(from, NewPipeReader(l, nil))
	}
	if errs != nil {
		for _, r := range from {
			r.Close()
		}
		return nil, errors.Join(errs...)
	}
	return Join(from...), nil
}

type unixLink struct {
	f   *os.File
	raw syscall.RawConn

	out    *Frames
	header [frameHeader]byte
	rest   []byte // of a frame that a deadline cut

	in       *Frames
	buf      []byte // holds a frame of any length and the next header
	from, to int    // what was read of it and not yet returned
}

// UnixLink returns a link over a connected Unix stream socket, which it takes over: a reader's if in are a writer's frames.
func UnixLink(f *os.File, in, out *Frames) (Link, error) {
	f, err := pollable(f)
	if err != nil {
		return nil, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &unixLink{f: f, raw: raw, in: in, out: out, buf: make([]byte, in.framing.most()+frameHeader)}, nil
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
		if fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3); err != nil {
			err = os.NewSyscallError("fcntl", err)
			return
		}
		err = os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
	}); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func (l *unixLink) Send(kind Kind, payload []byte, sum uint32) error {
	if len(l.rest) > 0 {
		n, err := l.f.Write(l.rest)
		l.rest = l.rest[n:]
		if err != nil {
			return err
		}
	}
	l.out.Seal(l.header[:], kind, payload, sum)
	n, err := l.writev(payload)
	if err != nil {
		l.rest = append(append([]byte(nil), l.header[min(n, frameHeader):]...), payload[max(0, n-frameHeader):]...)
	}
	return err
}

// writev writes the header and the payload, and returns how much of them it wrote.
func (l *unixLink) writev(payload []byte) (done int, err error) {
	var werr error
	err = l.raw.Write(func(fd uintptr) bool {
		for {
			parts := [][]byte{l.header[min(done, frameHeader):], payload[max(0, done-frameHeader):]}
			var n int
			if n, werr = unix.Writev(int(fd), parts); n > 0 {
				done += n
			}
			switch {
			case werr == unix.EAGAIN:
				return false
			case werr == unix.EINTR:
			case werr != nil || done == frameHeader+len(payload):
				return true
			}
		}
	})
	switch {
	case err == nil && werr != nil:
		err = os.NewSyscallError("writev", werr)
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		err = os.ErrClosed // a RawConn says so in its own way
	}
	return done, err
}

func (l *unixLink) Receive() (Kind, []byte, uint32, error) {
	need := frameHeader
	for {
		have := l.buf[l.from:l.to]
		if len(have) >= frameHeader {
			n, err := l.in.framing.check(have[:frameHeader], l.in.seq)
			if err != nil {
				return 0, nil, 0, err
			}
			need = frameHeader + n
		}
		if len(have) >= need {
			kind, sum, err := l.in.Verify(have[:frameHeader], have[frameHeader:need])
			l.from += need
			return kind, have[frameHeader:need], sum, err
		}
		// Not more than this frame and the next header: what is in the cache stays there, and nothing long has to be moved.
		l.from, l.to = 0, copy(l.buf, have)
		n, err := l.f.Read(l.buf[l.to : need+frameHeader])
		l.to += n
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && n == 0 {
			return 0, nil, 0, err
		}
	}
}

func (l *unixLink) SetSendDeadline(t time.Time) { l.f.SetWriteDeadline(t) }

func (l *unixLink) Close() error { return l.f.Close() }
