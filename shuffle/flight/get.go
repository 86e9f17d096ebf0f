package flight

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"syscall"
	"time"

	arrow "github.com/apache/arrow/go/v17/arrow/flight/gen/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
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
	ticket := &arrow.Ticket{Ticket: encodeTicket(l.c.stamp, payload[:8], l.c.token, l.c.question)}
	var err error
	l.stream, err = l.client.DoGet(l.ctx, ticket, grpc.WaitForReady(true))
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

// A kept is what others fetch under one name.
type kept struct {
	open opener
	live bool // it comes as it is made, and once
}

// An opener returns what is kept.
type opener func(ctx context.Context, q *Question) (io.ReadCloser, error)

// encodeTicket returns the ticket for what follows the pieces that a reader has.
func encodeTicket(stamp, pieces []byte, name string, question []byte) []byte {
	b := append(bytes.Clone(stamp), pieces...)
	b = append(append(b, byte(len(name))), name...)
	return append(b, question...)
}

// parseTicket is the inverse of encodeTicket. The error is shuffle.ErrCorrupt.
func parseTicket(b []byte) (stamp []byte, pieces uint64, name string, question []byte, err error) {
	stamp, rest, err := splitStamp(b)
	if err == nil && len(rest) < 8 {
		err = fmt.Errorf("%w: no ticket", shuffle.ErrCorrupt)
	}
	if err != nil {
		return nil, 0, "", nil, err
	}
	name, question, err = cutName(rest[8:])
	return stamp, binary.LittleEndian.Uint64(rest), name, question, err
}

func (s *service) DoGet(t *arrow.Ticket, stream arrow.FlightService_DoGetServer) error {
	encoded, pieces, name, question, err := parseTicket(t.Ticket)
	var stamp Stamp
	if err == nil {
		stamp, err = parse(encoded)
	}
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	s.n.mu.Lock()
	k := s.n.kept[name]
	s.n.mu.Unlock()
	if k == nil {
		return status.Error(codes.NotFound, "nothing is kept under this ticket")
	}
	if err := s.n.current(stamp); err != nil {
		return refusal(err)
	}
	if k.live && pieces > 0 {
		return refusal(syscall.EPIPE) // what was sent and did not arrive is gone
	}
	l := &getServer{n: s.n, stamp: stamp, encoded: encoded, stream: stream, out: shuffle.WriterFrames(), pieces: pieces}
	l.ctx, l.cancel = context.WithCancel(stream.Context())
	defer l.cancel()
	from, err := k.open(l.ctx, &Question{Stamp: stamp, Text: question, Peer: certificate(stream.Context())})
	if errors.Is(err, shuffle.ErrStale) {
		return refusal(err)
	}
	w := shuffle.NewPipeWriter(l, &shuffle.PipeOptions{Silence: s.n.o.Silence})
	if err == nil {
		err = w.Open(l.ctx)
		if err == nil {
			err = k.copy(l.ctx, w, from)
		}
		err = errors.Join(err, from.Close())
	} else if oerr := w.Open(l.ctx); oerr != nil {
		err = oerr
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

// certificate returns that of who calls.
func certificate(ctx context.Context) *x509.Certificate {
	p, _ := peer.FromContext(ctx)
	info, _ := p.AuthInfo.(credentials.TLSInfo)
	return info.State.PeerCertificates[0] // without one it would not have come so far
}

// copy writes all that from has, always in the same pieces, or as it comes.
func (k *kept) copy(ctx context.Context, w io.Writer, from io.ReadCloser) error {
	read := io.ReadFull
	if k.live {
		read = io.Reader.Read
		defer context.AfterFunc(ctx, func() { _ = from.Close() })() // who makes it learns that the reader is gone
	}
	buf := make([]byte, firstPiece) // many may wait for something to copy
	for {
		n, err := read(from, buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return werr
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
		if len(buf) < shuffle.MaxPiece {
			buf = make([]byte, shuffle.MaxPiece)
		}
	}
}

// firstPiece is the size of the first piece of what is fetched, in bytes.
const firstPiece = 4 << 10

// A getServer is the link of a writer of what is kept.
type getServer struct {
	deadline
	n       *Node
	stamp   Stamp
	encoded []byte
	ctx     context.Context
	stream  arrow.FlightService_DoGetServer
	out     *shuffle.Frames
	data    arrow.FlightData
	meta    []byte
	greeted bool
	pieces  uint64 // that the reader has
}

func (l *getServer) Send(kind shuffle.Kind, payload []byte, sum uint32) error {
	if err := l.n.current(l.stamp); err != nil {
		return err
	}
	if l.pieces > 0 && (kind == shuffle.Data || kind == shuffle.Part) {
		l.pieces--
		return nil
	}
	l.meta = append(append(l.meta[:0], l.encoded...), make([]byte, shuffle.FrameHeader)...)
	l.out.Seal(l.meta[len(l.encoded):], kind, payload, sum)
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
