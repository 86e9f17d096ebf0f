package flight

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"syscall"
	"time"

	arrow "github.com/apache/arrow/go/v17/arrow/flight/gen/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace/millrace/shuffle"
)

// get makes a link for a reader.
func (c *caller) get(ctx context.Context) (shuffle.Link, error) {
	if err := c.pause(ctx); err != nil {
		return nil, err
	}
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	l := &getLink{c: c, client: client, in: shuffle.WriterFrames()}
	l.ctx, l.cancel = context.WithCancel(c.n.ctx)
	return l, nil
}

// A getLink is a reader's. What the reader says does not travel, but for its hello.
type getLink struct {
	deadline
	c      *caller
	client arrow.FlightServiceClient
	ctx    context.Context
	stream arrow.FlightService_DoGetClient
	in     *shuffle.Frames
}

func (l *getLink) Send(kind shuffle.Kind, payload []byte, _ uint32) error {
	if kind != shuffle.Hello {
		return nil
	}
	late := time.AfterFunc(l.c.n.o.Patience, l.cancel)
	defer late.Stop()
	ticket := append(bytes.Clone(l.c.stamp), payload[:8]...) // pieces
	var err error
	l.stream, err = l.client.DoGet(l.ctx, &arrow.Ticket{Ticket: append(ticket, l.c.token...)}, grpc.WaitForReady(true))
	if err != nil {
		l.c.heard(err)
		return err
	}
	l.c.linked()
	return nil
}

func (l *getLink) Receive() (shuffle.Kind, []byte, uint32, error) {
	m, err := l.stream.Recv()
	if err != nil {
		err = meaning(err)
		l.c.heard(err)
		return 0, nil, 0, err
	}
	l.c.heard(nil)
	stamp, header, err := splitStamp(m.AppMetadata)
	if err == nil {
		err = stale(stamp, l.c.stamp)
	}
	if err != nil {
		return 0, nil, 0, err
	}
	kind, sum, err := l.in.Verify(header, m.DataBody)
	return kind, m.DataBody, sum, err
}

// A kept is what others may fetch.
type kept struct {
	stamp   Stamp
	encoded []byte
	open    func() (io.ReadCloser, error)
	live    bool // it comes as it is made, and once
}

func (s *service) DoGet(t *arrow.Ticket, stream arrow.FlightService_DoGetServer) error {
	stamp, rest, err := splitStamp(t.Ticket)
	if err != nil || len(rest) < 8 {
		return status.Error(codes.InvalidArgument, "not a ticket")
	}
	s.n.mu.Lock()
	k := s.n.kept[string(rest[8:])]
	s.n.mu.Unlock()
	if k == nil {
		return status.Error(codes.NotFound, "nothing is kept under this ticket")
	}
	if err := errors.Join(stale(stamp, k.encoded), s.n.current(k.stamp)); err != nil {
		return refusal(err)
	}
	if k.live && binary.LittleEndian.Uint64(rest) > 0 {
		return refusal(syscall.EPIPE) // what was sent and did not arrive is gone
	}
	l := &getServer{n: s.n, k: k, stream: stream, out: shuffle.WriterFrames(), pieces: binary.LittleEndian.Uint64(rest)}
	l.ctx, l.cancel = context.WithCancel(stream.Context())
	w := shuffle.NewPipeWriter(l, &shuffle.PipeOptions{Silence: s.n.o.Silence})
	err = w.Open(l.ctx)
	if err == nil {
		err = k.copy(l.ctx, w)
	}
	if err != nil {
		_ = w.Abort(err.Error())
	} else {
		err = w.Close()
	}
	if errors.Is(err, shuffle.ErrStale) {
		return refusal(err)
	}
	return nil // END or ABORT says it
}

// copy writes what is kept, always in the same pieces, or what is offered, as it comes.
func (k *kept) copy(ctx context.Context, w io.Writer) error {
	from, err := k.open()
	if err != nil {
		return err
	}
	read := io.ReadFull
	if k.live {
		read = io.Reader.Read
		defer context.AfterFunc(ctx, func() { _ = from.Close() })() // who makes it learns that the reader is gone
	}
	buf := make([]byte, shuffle.MaxPiece)
	for {
		n, err := read(from, buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return errors.Join(werr, from.Close())
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return from.Close()
		}
		if err != nil {
			return errors.Join(err, from.Close())
		}
	}
}

// A getServer is the link of a writer of what is kept.
type getServer struct {
	deadline
	n       *Node
	k       *kept
	ctx     context.Context
	stream  arrow.FlightService_DoGetServer
	out     *shuffle.Frames
	data    arrow.FlightData
	meta    []byte
	greeted bool
	pieces  uint64 // that the reader has
}

func (l *getServer) Send(kind shuffle.Kind, payload []byte, sum uint32) error {
	if err := l.n.current(l.k.stamp); err != nil {
		return err
	}
	if l.pieces > 0 && (kind == shuffle.Data || kind == shuffle.Part) {
		l.pieces--
		return nil
	}
	l.meta = append(append(l.meta[:0], l.k.encoded...), make([]byte, shuffle.FrameHeader)...)
	l.out.Seal(l.meta[len(l.k.encoded):], kind, payload, sum)
	l.data.AppMetadata, l.data.DataBody = l.meta, payload
	l.begin()
	defer l.end()
	return l.stream.Send(&l.data)
}

// Receive says hello for the reader, and that it is there for as long as the call is.
func (l *getServer) Receive() (shuffle.Kind, []byte, uint32, error) {
	if !l.greeted {
		l.greeted = true
		hello := binary.LittleEndian.AppendUint64(nil, l.pieces)
		return shuffle.Hello, binary.LittleEndian.AppendUint64(hello, math.MaxUint64), 0, nil
	}
	select {
	case <-time.After(l.n.o.Silence / 3):
		return shuffle.Beat, nil, 0, nil
	case <-l.ctx.Done():
		return 0, nil, 0, os.ErrClosed
	}
}
