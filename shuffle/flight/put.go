package flight

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	arrow "github.com/apache/arrow/go/v17/arrow/flight/gen/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace/millrace/shuffle"
)

// put makes a link for a writer.
func (c *caller) put(ctx context.Context) (shuffle.Link, error) {
	for {
		if err := c.pause(ctx); err != nil {
			return nil, err
		}
		client, err := c.client()
		if err != nil {
			return nil, err
		}
		l := &putLink{c: c, in: shuffle.ReaderFrames(), out: shuffle.WriterFrames()}
		l.ctx, l.cancel = context.WithCancel(c.n.ctx)
		// A call waits for the connection, but not for ever.
		late := time.AfterFunc(c.n.o.Patience, l.cancel)
		l.stream, err = client.DoPut(l.ctx, grpc.WaitForReady(true))
		if err == nil {
			err = l.stream.Send(&arrow.FlightData{AppMetadata: c.stamp,
				FlightDescriptor: &arrow.FlightDescriptor{Type: arrow.FlightDescriptor_CMD, Cmd: []byte(c.token)}})
		}
		if !late.Stop() && err == nil {
			err = context.DeadlineExceeded
		}
		if err == nil {
			c.linked()
			return l, nil
		}
		l.cancel()
		c.heard(err)
	}
}

// A putLink is a writer's.
type putLink struct {
	deadline
	c       *caller
	ctx     context.Context
	stream  arrow.FlightService_DoPutClient
	in, out *shuffle.Frames
	data    arrow.FlightData
	meta    []byte
}

func (l *putLink) Send(kind shuffle.Kind, payload []byte, sum uint32) error {
	l.meta = append(append(l.meta[:0], l.c.stamp...), make([]byte, shuffle.FrameHeader)...)
	l.out.Seal(l.meta[len(l.c.stamp):], kind, payload, sum)
	l.data.AppMetadata, l.data.DataBody = l.meta, payload
	l.begin()
	defer l.end()
	return l.stream.Send(&l.data)
}

func (l *putLink) Receive() (shuffle.Kind, []byte, uint32, error) {
	m, err := l.stream.Recv()
	if err != nil {
		err = meaning(err)
		l.c.heard(err)
		return 0, nil, 0, err
	}
	l.c.heard(nil)
	n := min(len(m.AppMetadata), shuffle.FrameHeader)
	kind, sum, err := l.in.Verify(m.AppMetadata[:n], m.AppMetadata[n:])
	return kind, m.AppMetadata[n:], sum, err
}

// A sink is where a writer's links come to.
type sink struct {
	n       *Node
	stamp   Stamp
	encoded []byte
	token   string
	inbox   chan *putServer // the link that came last, if it is not in use

	mu   sync.Mutex
	life life
	came bool
	now  *putServer // in use
	err  error      // why no more links are wanted
}

// next waits for a writer: at first for as long as it takes.
func (k *sink) next(ctx context.Context) (shuffle.Link, error) {
	k.mu.Lock()
	err := k.err
	if err == nil {
		err = k.life.begin(k.n)
	}
	var late <-chan time.Time
	if k.came {
		late = time.After(k.n.o.Patience)
	}
	k.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case l := <-k.inbox:
		k.mu.Lock()
		defer k.mu.Unlock()
		k.came, k.now = true, l
		return l, k.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-k.n.ctx.Done():
		return nil, errNodeClosed
	case <-late:
		return nil, fmt.Errorf("no connection from the writer for %v", k.n.o.Patience)
	}
}

// attach has the reader use a link. One that it had before is broken, whether it knows or not.
func (k *sink) attach(l *putServer) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return k.err
	}
	if k.now != nil {
		k.now.Close()
	}
	select {
	case old := <-k.inbox:
		old.Close()
	default:
	}
	k.inbox <- l
	return nil
}

// outdate has the reader fail with err, and all writers.
func (k *sink) outdate(err error) {
	k.mu.Lock()
	if k.err == nil {
		k.err = err
	}
	now := k.now
	k.mu.Unlock()
	if now != nil {
		now.Close()
	}
	select {
	case l := <-k.inbox:
		l.Close()
	default:
	}
}

func (k *sink) outdated() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

func (k *sink) over() {
	k.n.mu.Lock()
	delete(k.n.sinks, k.token)
	k.n.mu.Unlock()
	k.outdate(fmt.Errorf("the reader has gone: %w", syscall.EPIPE))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.life.end(k.n)
}

// A putServer is a reader's link.
type putServer struct {
	deadline
	k       *sink
	stream  arrow.FlightService_DoPutServer
	in, out *shuffle.Frames
	done    context.Context // until Close
	res     arrow.PutResult

	sending sync.Mutex // also held to end the call
	stale   error
}

func (s *service) DoPut(stream arrow.FlightService_DoPutServer) error {
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	stamp, _, err := splitStamp(m.AppMetadata)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	s.n.mu.Lock()
	k := s.n.sinks[string(m.FlightDescriptor.GetCmd())]
	s.n.mu.Unlock()
	if k == nil {
		return refusal(syscall.EPIPE)
	}
	if err := errors.Join(stale(stamp, k.encoded), s.n.current(k.stamp)); err != nil {
		return refusal(err)
	}
	l := &putServer{k: k, stream: stream, in: shuffle.WriterFrames(), out: shuffle.ReaderFrames()}
	l.done, l.cancel = context.WithCancel(stream.Context())
	defer l.Close()
	if err := k.attach(l); err != nil {
		return refusal(err)
	}
	<-l.done.Done()
	l.sending.Lock() // nothing is sent any more
	defer l.sending.Unlock()
	if l.stale != nil {
		return refusal(l.stale)
	}
	if err := k.outdated(); err != nil {
		return refusal(err)
	}
	return nil
}

func (l *putServer) Send(kind shuffle.Kind, payload []byte, sum uint32) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	if l.done.Err() != nil {
		return os.ErrClosed
	}
	l.res.AppMetadata = append(append(l.res.AppMetadata[:0], make([]byte, shuffle.FrameHeader)...), payload...)
	l.out.Seal(l.res.AppMetadata, kind, payload, sum)
	l.begin()
	defer l.end()
	return l.stream.Send(&l.res)
}

func (l *putServer) Receive() (shuffle.Kind, []byte, uint32, error) {
	m, err := l.stream.Recv()
	if stale := l.k.outdated(); stale != nil {
		return 0, nil, 0, stale
	}
	if err != nil {
		return 0, nil, 0, unexpected(err)
	}
	header, err := l.header(m.AppMetadata)
	if err != nil {
		return 0, nil, 0, err
	}
	kind, sum, err := l.in.Verify(header, m.DataBody)
	return kind, m.DataBody, sum, err
}

// header returns what follows the stamp. A stream whose stamp changes is refused; the reader waits for the attempt that it wants.
func (l *putServer) header(meta []byte) ([]byte, error) {
	if header, ok := bytes.CutPrefix(meta, l.k.encoded); ok {
		return header, nil
	}
	stamp, _, err := splitStamp(meta)
	if err != nil {
		return nil, err
	}
	l.sending.Lock()
	l.stale = stale(stamp, l.k.encoded)
	l.sending.Unlock()
	return nil, io.ErrUnexpectedEOF
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
