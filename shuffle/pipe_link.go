package shuffle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"syscall"
	"time"
)

// A Link carries the frames of one netpipe between its two ends, both ways, each frame whole and in order. It knows nothing
// of their meaning. A link may break; the ends notice by its errors or by its silence.
//
// Send is called by one goroutine at a time, and so is Receive; the other methods may be called from any.
type Link interface {
	// Send sends one frame, sum being the CRC-32C of its payload. It may wait while the other end does not receive. It does not keep payload.
	// The error is syscall.EPIPE or syscall.ECONNRESET (asked with errors.Is) when the other end is gone.
	Send(kind Kind, payload []byte, sum uint32) error

	// Receive waits for the next frame and verifies it; sum is the CRC-32C of its payload. The payload is valid until the next call. The error is
	// io.ErrUnexpectedEOF or syscall.ECONNRESET when the other end is gone, ErrCorrupt when a frame is not what was sent;
	// ErrCorrupt, ErrStale and syscall.EPIPE say that another link to the same end would be of no use.
	Receive() (kind Kind, payload []byte, sum uint32, err error)

	// SetSendDeadline bounds the time of a Send, also of one under way; the zero time ends that. A frame that it cuts is completed by the next Send.
	SetSendDeadline(t time.Time)

	// Close ends the link for both ends: what was sent may still be received. It interrupts Send and Receive, may be called more
	// than once, and waits for neither.
	Close() error
}

// A Kind says what a frame means; writers and readers have kinds of their own. The package comment draws them.
type Kind byte

// Beat is the kind of frames without meaning, of both ends.
const Beat Kind = 0

// What writers send.
const (
	Data  Kind = frameData
	End   Kind = frameEnd
	Abort Kind = 3
	Part  Kind = 4
)

// What readers send.
const (
	Hello Kind = 1
	Ack   Kind = 2
	Gone  Kind = 3
)

// MaxPiece is the most that one frame carries, in bytes.
const MaxPiece = pipePayload

const (
	pipePayload = 256 << 10
	maxReason   = 4 << 10
	pipeEndSize = 24
	ackSize     = 16
)

var (
	writerFrames = &framing{magic: "MP", limit: [5]int{
		Beat: 1, Data: pipePayload + 1, Part: pipePayload + 1, End: pipeEndSize + 1, Abort: maxReason + 1}}
	readerFrames = &framing{magic: "MR", limit: [5]int{Beat: 1, Hello: ackSize + 1, Ack: ackSize + 1, Gone: 1}}
)

// FrameHeader is the length of a frame's header in bytes.
const FrameHeader = frameHeader

// Frames numbers and seals, or verifies, the frames that go one way over one link that carries messages.
type Frames struct {
	framing *framing
	seq     uint32
}

// WriterFrames are those that a writer sends and a reader receives.
func WriterFrames() *Frames { return &Frames{framing: writerFrames} }

// ReaderFrames are those that a reader sends and a writer receives.
func ReaderFrames() *Frames { return &Frames{framing: readerFrames} }

// Seal fills in the header of the next frame, sum being the CRC-32C of its payload.
func (f *Frames) Seal(header []byte, kind Kind, payload []byte, sum uint32) {
	f.framing.seal(header[:frameHeader], byte(kind), f.seq, len(payload), sum)
	f.seq++
}

// Verify checks the next frame and returns its kind and the CRC-32C of its payload. The error is ErrCorrupt.
func (f *Frames) Verify(header, payload []byte) (kind Kind, sum uint32, err error) {
	if len(header) != frameHeader {
		return 0, 0, fmt.Errorf("%w: frame %d has a header of %d bytes", ErrCorrupt, f.seq, len(header))
	}
	n, err := f.framing.check(header, f.seq)
	if err != nil {
		return 0, 0, err
	}
	if n != len(payload) {
		return 0, 0, fmt.Errorf("%w: frame %d has %d bytes, not %d", ErrCorrupt, f.seq, len(payload), n)
	}
	if sum, err = f.framing.verify(header, payload, f.seq); err != nil {
		return 0, 0, err
	}
	f.seq++
	return Kind(header[3]), sum, nil
}

// say sends a short frame.
func say(link Link, kind Kind, payload []byte) error {
	return link.Send(kind, payload, crc32.Checksum(payload, castagnoli))
}

// A progress is what HELLO and ACK say.
type progress struct {
	frames uint64 // of DATA and PART that have come
	limit  uint64 // of bytes in them that the writer may send, counted from the start of the stream
}

func (p progress) append(b []byte) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, p.frames), p.limit)
}

func parseProgress(b []byte) (progress, error) {
	if len(b) != ackSize {
		return progress{}, fmt.Errorf("%w: a reader's frame of %d bytes", ErrCorrupt, len(b))
	}
	return progress{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}, nil
}

// final reports whether no other link can help after err.
func final(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrStale) || errors.Is(err, syscall.EPIPE)
}

// broken reports whether err says no more than that the other end is not there.
func broken(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, os.ErrClosed)
}
