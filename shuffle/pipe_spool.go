package shuffle

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"sync"
	"time"

	"github.com/millrace/millrace/store"
)

// SpoolScheme keeps netpipes as objects of a bucket: what follows the colon is the key. A spool has one writer, which waits for
// nobody; it appears when the writer has ended or given up, and may then be read many times. A reader that comes before gets fs.ErrNotExist.
func SpoolScheme(b store.Bucket) Scheme {
	return Scheme{
		Writer: func(d Descriptor) (PipeWriter, error) {
			ctx, cancel := context.WithCancel(context.Background())
			to, err := b.Create(ctx, store.Key(d.Rest()), nil)
			if err != nil {
				cancel()
				return nil, err
			}
			l := &spoolWriter{b: b, ctx: ctx, cancel: cancel, to: to, frames: WriterFrames(), closed: make(chan struct{})}
			l.buf = bufio.NewWriterSize(to, frameHeader+pipePayload)
			return NewPipeWriter(l, nil), nil
		},
		Reader: func(d Descriptor) (PipeReader, error) {
			return NewPipeReader(newSource(func(ctx context.Context) (receiver, io.Closer, error) {
				body, err := b.Open(ctx, store.Key(d.Rest()), "", 0, -1)
				if err != nil {
					return nil, nil, err
				}
				in := &frameReader{framing: writerFrames, r: bufio.NewReaderSize(body, 64<<10)}
				return func() (Kind, []byte, uint32, error) {
					kind, payload, err := in.next()
					return Kind(kind), payload, in.sum, err
				}, body, nil
			}), nil), nil
		},
	}
}

// A spoolWriter is a link to readers that come later.
type spoolWriter struct {
	b      store.Bucket
	ctx    context.Context
	cancel context.CancelFunc
	to     store.Writer
	buf    *bufio.Writer
	frames *Frames
	header [frameHeader]byte

	greeted bool
	once    sync.Once
	closed  chan struct{}
}

func (l *spoolWriter) Send(kind Kind, payload []byte, sum uint32) error {
	l.frames.Seal(l.header[:], kind, payload, sum)
	l.buf.Write(l.header[:])
	if _, err := l.buf.Write(payload); err != nil {
		return err
	}
	if kind != End && kind != Abort {
		return nil
	}
	if err := l.buf.Flush(); err != nil {
		return err
	}
	p, err := l.to.Seal(l.ctx)
	if err != nil {
		return err
	}
	if _, err := l.b.Publish(l.ctx, p); err != nil {
		return errors.Join(err, l.b.Discard(l.ctx, p.Handle))
	}
	return nil
}

// Receive says hello for a reader that wants everything.
func (l *spoolWriter) Receive() (Kind, []byte, uint32, error) {
	if !l.greeted {
		l.greeted = true
		return Hello, progress{0, math.MaxUint64}.append(nil), 0, nil
	}
	<-l.closed
	return 0, nil, 0, os.ErrClosed
}

func (l *spoolWriter) SetSendDeadline(time.Time) {} // a Send takes the time that the store takes

func (l *spoolWriter) Close() error {
	l.once.Do(func() {
		_ = l.to.Abort(l.ctx) // nothing, where it was sealed
		l.cancel()
		close(l.closed)
	})
	return nil
}

// A receiver returns the next frame of a writer.
type receiver func() (Kind, []byte, uint32, error)

// A source is a link from a writer that is not there any more: nobody hears what the reader says.
type source struct {
	open   func(ctx context.Context) (receiver, io.Closer, error) // at hello
	ctx    context.Context
	cancel context.CancelFunc

	mu   sync.Mutex
	body io.Closer
	next receiver
}

func newSource(open func(ctx context.Context) (receiver, io.Closer, error)) *source {
	s := &source{open: open}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *source) Send(kind Kind, _ []byte, _ uint32) error {
	if kind != Hello {
		return nil
	}
	next, body, err := s.open(s.ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next, s.body = next, body
	return nil
}

func (s *source) Receive() (Kind, []byte, uint32, error) {
	kind, payload, sum, err := s.next()
	if err != nil && s.ctx.Err() != nil {
		err = os.ErrClosed
	}
	return kind, payload, sum, err
}

func (s *source) SetSendDeadline(time.Time) {}

func (s *source) Close() error {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.body != nil {
		s.body.Close()
	}
	return nil
}
