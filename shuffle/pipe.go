package shuffle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// A PipeWriter is the writing end of a netpipe: a one-way byte stream with the semantics of a named pipe.
//
// Write is for one goroutine; Close and Abort may be called from any, also more than once and during a Write.
type PipeWriter interface {
	// Open waits until the reader has opened its end. ctx holds for as long as the end is open: when it is done, whatever
	// waits returns its cause, and the stream is aborted with it.
	Open(ctx context.Context) error

	// Write waits while the pipe is full. The error is syscall.EPIPE (asked with errors.Is) when the reader has closed its end,
	// and os.ErrClosed after Close. After an error all further calls fail with it. A Write of no bytes only asks for the error.
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

	// Read waits for data. The error is io.EOF only when the writer has closed its end and every byte was verified and read;
	// io.ErrUnexpectedEOF when the writer vanished, ErrAborted with the reason when it gave up, ErrCorrupt when bytes
	// changed on their way, os.ErrClosed after Close. An error stays.
	Read(p []byte) (int, error)

	// Close lets go of the stream: if it has not ended, the writer gets EPIPE.
	Close() error
}

const (
	pipePayload = 256 << 10
	maxReason   = 4 << 10
	pipeEndSize = 24
)

var pipeFrames = &framing{magic: "MP", limit: [5]int{
	frameData: pipePayload + 1, frameEnd: pipeEndSize + 1, frameAbort: maxReason + 1, frameHello: 1}}

var (
	errNotOpen  = fmt.Errorf("netpipe is not open: %w", os.ErrInvalid)
	errNoReader = fmt.Errorf("netpipe has no reader: %w", syscall.EPIPE)
	errVanished = fmt.Errorf("netpipe writer vanished: %w", io.ErrUnexpectedEOF)
	errClosed   = fmt.Errorf("netpipe: %w", os.ErrClosed)
)

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
