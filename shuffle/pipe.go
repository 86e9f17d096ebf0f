package shuffle

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/zeebo/xxh3"
)

// A PipeWriter is the writing end of a netpipe: a one-way byte stream with the semantics of a named pipe.
//
// Write is for one goroutine; Close and Abort may be called from any, also more than once and during a Write.
type PipeWriter interface {
	// Open waits until the reader has opened its end. ctx holds for as long as the end is open: when it is done, whatever
	// waits returns its cause, and the stream is aborted with it.
	Open(ctx context.Context) error

	// Write waits while the pipe is full. What one Write writes is a batch: where a reader has several writers, nothing of
	// another comes in between. The error is syscall.EPIPE (asked with errors.Is) when the reader has closed its end or is lost,
	// ErrStale when it refuses this attempt, and os.ErrClosed after Close. After an error all further calls fail with it. A Write of
	// no bytes only asks for the error.
	Write(p []byte) (int, error)

	// Close ends the stream: the reader gets io.EOF after all bytes. It waits for a Write in flight and, in a full pipe, for the
	// reader. If anything failed before, the reader must not believe in an end: Close aborts and returns that error.
	// A second Close returns what the first did.
	Close() error

	// Abort makes the reader fail with ErrAborted and the reason, of which 4 KiB are kept; what it has not read by then may
	// be lost. It interrupts a Write or Close in flight. If a reader does not read for a second, it may get io.ErrUnexpectedEOF
	// instead; never io.EOF. After Close it does nothing and returns os.ErrClosed.
	Abort(reason string) error
}

// A PipeReader is the reading end of a netpipe. Read is for one goroutine; Close may be called from any, also during a Read and more than once.
type PipeReader interface {
	// Open lets the writer begin; it does not wait for one. ctx holds for as long as the end is open: when it is done,
	// Read returns its cause and the writer gets EPIPE.
	Open(ctx context.Context) error

	// Read waits for data. The error is io.EOF only when the writer (the last, if there are several) has closed its end and
	// every byte was verified and read; io.ErrUnexpectedEOF when the writer vanished, ErrAborted with the reason when it gave
	// up, ErrCorrupt when bytes changed on their way, os.ErrClosed after Close. An error stays.
	Read(p []byte) (int, error)

	// Close lets go of the stream: if it has not ended, the writer gets EPIPE.
	Close() error
}

// PipeOptions say how an end of a netpipe treats its link. Nil and the zero value of a field mean the default.
type PipeOptions struct {
	// Window bounds the bytes that a reader lets be under way to it; 0 means 1 MiB. It is what each of its writers may have in memory.
	Window int

	// Silence is how long the other end may say nothing before its link counts as broken; an end with nothing to
	// send says so three times as often. Both ends have the same. 0 means for ever: a local peer that is stopped may go on later.
	Silence time.Duration

	// Redial makes another link to the same end, or the first one if an end was made without. It tries for as long as it is worth it:
	// its error ends the netpipe. It returns when ctx is done. Without it, a netpipe ends with its only link.
	Redial func(ctx context.Context) (Link, error)

	// Over, if not nil, is called once when an end with a Redial needs no more links.
	Over func()
}

const defaultPipe = 1 << 20

func (o *PipeOptions) orDefault() PipeOptions {
	var d PipeOptions
	if o != nil {
		d = *o
	}
	if d.Window <= 0 {
		d.Window = defaultPipe
	}
	return d
}

var (
	errNotOpen  = fmt.Errorf("netpipe is not open: %w", os.ErrInvalid)
	errNoReader = fmt.Errorf("netpipe has no reader: %w", syscall.EPIPE)
	errVanished = fmt.Errorf("netpipe writer vanished: %w", io.ErrUnexpectedEOF)
	errClosed   = fmt.Errorf("netpipe: %w", os.ErrClosed)
)

// A total is what END says of a stream.
type total struct {
	bytes, batches uint64
	digest         *xxh3.Hasher
	piece          []byte
}

func newTotal() total { return total{digest: xxh3.New()} }

func (t *total) add(kind Kind, n int, sum uint32) {
	t.bytes += uint64(n)
	t.piece = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(t.piece[:0], sum), uint32(n))
	t.digest.Write(t.piece)
	if kind == Data {
		t.batches++
	}
}

func (t *total) end() []byte {
	b := binary.LittleEndian.AppendUint64(nil, t.bytes)
	b = binary.LittleEndian.AppendUint64(b, t.digest.Sum64())
	return binary.LittleEndian.AppendUint64(b, t.batches)
}

// An abortion is the error of both ends after an Abort.
type abortion struct{ reason string }

// The reason came from outside: it is quoted where it is not plain text.
func (a *abortion) Error() string {
	for _, c := range a.reason {
		if c < ' ' || c == 0x7f || c == 0xfffd {
			return fmt.Sprintf("netpipe aborted: %q", a.reason)
		}
	}
	return "netpipe aborted: " + a.reason
}

func (a *abortion) Is(target error) bool { return target == ErrAborted }

// aborted returns the abortion that err comes to.
func aborted(err error) *abortion {
	if a, ok := errors.AsType[*abortion](err); ok {
		return a
	}
	return abortedFor(err.Error())
}

func abortedFor(reason string) *abortion {
	return &abortion{reason[:min(len(reason), maxReason)]}
}
