package runner

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Conn is one end of the socket between an agent and a runner. One goroutine may receive while others send.
type Conn struct {
	f   *os.File
	raw syscall.RawConn // of f; waits in the runtime's poller, not in the kernel
	buf []byte
	mu  sync.Mutex // held while sending
	out []byte
}

// Pair returns both ends of a new channel socket. The caller closes them.
func Pair() (agent, runner *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	for _, fd := range fds {
		// Room for a few frames each way; the kernel clamps it for those who may not ask for as much.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 8*MaxFrame)
	}
	return os.NewFile(uintptr(fds[0]), "agent"), os.NewFile(uintptr(fds[1]), "runner"), nil
}

// NewConn makes a Conn of one end of a [Pair], which it takes over.
func NewConn(f *os.File) (*Conn, error) {
	// Only a descriptor that does not block is put into the poller.
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	f = os.NewFile(uintptr(fd), f.Name())
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Conn{f: f, raw: raw, buf: make([]byte, MaxFrame), out: make([]byte, 0, 4096)}, nil
}

// Send sends a frame with the descriptors files, which stay the caller's. It waits for room.
func (c *Conn) Send(k Kind, payload []byte, files ...*os.File) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(payload)+1 > MaxFrame {
		return fmt.Errorf("%w: frame %c of %d bytes", ErrProtocol, k, len(payload))
	}
	c.out = append(append(c.out[:0], byte(k)), payload...)
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		oob = unix.UnixRights(fds...)
	}
	var err error
	wait := c.raw.Write(func(fd uintptr) bool {
		for {
			err = unix.Sendmsg(int(fd), c.out, oob, nil, unix.MSG_NOSIGNAL)
			if !errors.Is(err, unix.EINTR) {
				return !errors.Is(err, unix.EAGAIN)
			}
		}
	})
	if wait != nil {
		return wait
	}
	return err
}

// SendJSON sends v as a frame.
func (c *Conn) SendJSON(k Kind, v any, files ...*os.File) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.Send(k, b, files...)
}

// SendUints sends a frame of little-endian 32-bit numbers.
func (c *Conn) SendUints(k Kind, v ...uint32) error {
	b := make([]byte, 0, 8)
	for _, n := range v {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return c.Send(k, b)
}

// Recv waits for a frame. Its payload is valid until the next call; the descriptor that came with it, if any, is the caller's.
// It returns io.EOF when the other end is gone.
func (c *Conn) Recv() (Kind, []byte, *os.File, error) {
	oob := make([]byte, unix.CmsgSpace(4*4))
	var n, oobn, flags int
	var err error
	wait := c.raw.Read(func(fd uintptr) bool {
		for {
			n, oobn, flags, _, err = unix.Recvmsg(int(fd), c.buf, oob, unix.MSG_CMSG_CLOEXEC)
			if !errors.Is(err, unix.EINTR) {
				return !errors.Is(err, unix.EAGAIN)
			}
		}
	})
	switch {
	case wait != nil:
		return 0, nil, nil, wait
	case errors.Is(err, unix.ECONNRESET):
		return 0, nil, nil, io.EOF
	case err != nil:
		return 0, nil, nil, err
	case n == 0:
		return 0, nil, nil, io.EOF
	}
	file, err := received(oob[:oobn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = fmt.Errorf("%w: frame over %d bytes", ErrProtocol, MaxFrame)
	}
	if err != nil {
		if file != nil {
			err = errors.Join(err, file.Close())
		}
		return 0, nil, nil, err
	}
	return Kind(c.buf[0]), c.buf[1:n], file, nil
}

// Waits reports whether Recv would return at once.
func (c *Conn) Waits() bool {
	n := 0
	err := c.raw.Control(func(fd uintptr) {
		n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) // an error will be that of Recv
	})
	return err != nil || n != 0
}

// received returns the one descriptor of a control message, nil if there is none. It closes any further ones.
func received(oob []byte) (*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var file *os.File
	for _, m := range msgs {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // another kind of message: nobody asked for it
		}
		for _, fd := range fds {
			f := os.NewFile(uintptr(fd), "received")
			if file == nil {
				file = f
				continue
			}
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return file, err
		}
	}
	return file, nil
}

// Hang ends the connection for both directions: who waits in Recv or Send, here or there, is woken. The descriptor
// stays until Close, after which Hang does nothing.
func (c *Conn) Hang() {
	_ = c.raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
}

// Close hangs up and releases the descriptor.
func (c *Conn) Close() error {
	c.Hang()
	if err := c.f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// Uints reads the little-endian 32-bit numbers of a frame that [Conn.SendUints] sent into v, and returns what follows them.
func Uints(payload []byte, v ...*uint32) ([]byte, error) {
	if len(payload) < 4*len(v) {
		return nil, fmt.Errorf("%w: frame of %d bytes", ErrProtocol, len(payload))
	}
	for i, p := range v {
		*p = binary.LittleEndian.Uint32(payload[4*i:])
	}
	return payload[4*len(v):], nil
}
