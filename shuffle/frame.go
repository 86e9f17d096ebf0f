package shuffle

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// Frames are drawn in the package comment.
const (
	formatVersion = 1
	frameHeader   = 16

	frameData  = 1
	frameEnd   = 2
	frameAbort = 3
	frameHello = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A framing is one use of frames: its magic, and the longest payload for each kind; a kind that is not named is refused.
type framing struct {
	magic string
	limit [5]int // by kind, plus one; 0 means that there is none of this kind
}

// sealFrame completes the header of a frame whose payload lies behind it.
func (f *framing) sealFrame(frame []byte, kind byte, seq uint32) {
	copy(frame, f.magic)
	frame[2], frame[3] = formatVersion, kind
	binary.LittleEndian.PutUint32(frame[4:], seq)
	binary.LittleEndian.PutUint32(frame[8:], uint32(len(frame)-frameHeader))
	binary.LittleEndian.PutUint32(frame[12:], frameSum(frame))
}

func frameSum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:12], castagnoli), castagnoli, frame[frameHeader:])
}

// A frameReader reads frames and verifies each before it shows any of it.
type frameReader struct {
	framing *framing
	r       io.Reader
	seq     uint32
	buf     []byte
}

// next returns the next frame's kind and payload, which is valid until the next call. At the end of r, also within
// a frame, the error is io.ErrUnexpectedEOF: streams of frames end with a frame that says so.
func (fr *frameReader) next() (kind byte, payload []byte, err error) {
	if cap(fr.buf) < frameHeader {
		fr.buf = make([]byte, frameHeader, 4<<10)
	}
	h := fr.buf[:frameHeader]
	if _, err := io.ReadFull(fr.r, h); err != nil {
		return 0, nil, unexpected(err)
	}
	n, err := fr.check(h)
	if err != nil {
		return 0, nil, err
	}
	if cap(fr.buf) < frameHeader+n {
		fr.buf = append(make([]byte, 0, frameHeader+n), h...)
	}
	frame := fr.buf[:frameHeader+n]
	if _, err := io.ReadFull(fr.r, frame[frameHeader:]); err != nil {
		return 0, nil, unexpected(err)
	}
	if got, want := frameSum(frame), binary.LittleEndian.Uint32(frame[12:]); got != want {
		return 0, nil, fmt.Errorf("%w: checksum mismatch in frame %d", ErrCorrupt, fr.seq)
	}
	fr.seq++
	return frame[3], frame[frameHeader:], nil
}

// check verifies what can be of a header alone and returns the length of the payload.
func (fr *frameReader) check(h []byte) (int, error) {
	kind, n := h[3], binary.LittleEndian.Uint32(h[8:])
	switch {
	case string(h[:2]) != fr.framing.magic:
		return 0, fmt.Errorf("%w: frame %d has no magic", ErrCorrupt, fr.seq)
	case h[2] != formatVersion:
		return 0, fmt.Errorf("%w: frame %d has version %d, known is %d", ErrCorrupt, fr.seq, h[2], formatVersion)
	case int(kind) >= len(fr.framing.limit) || fr.framing.limit[kind] == 0:
		return 0, fmt.Errorf("%w: frame %d is of unknown kind %d", ErrCorrupt, fr.seq, kind)
	case int64(n) >= int64(fr.framing.limit[kind]):
		return 0, fmt.Errorf("%w: frame %d has a length of %d, more than %d", ErrCorrupt, fr.seq, n, fr.framing.limit[kind]-1)
	case binary.LittleEndian.Uint32(h[4:]) != fr.seq:
		return 0, fmt.Errorf("%w: frame %d came where %d is due", ErrCorrupt, binary.LittleEndian.Uint32(h[4:]), fr.seq)
	}
	return int(n), nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
