package shuffle

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// Frames are drawn in the package comment.
const (
	formatVersion = 1
	frameHeader   = 16

	frameData = 1
	frameEnd  = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A framing is one use of frames: its magic, and the longest payload for each kind; a kind that is not named is refused.
type framing struct {
	magic string
	limit [5]int // by kind, plus one; 0 means that there is none of this kind
}

// most returns the length of the longest frame, header included.
func (f *framing) most() int { return frameHeader + slices.Max(f.limit[:]) - 1 }

// sealFrame completes the header of a frame whose payload lies behind it.
func (f *framing) sealFrame(frame []byte, kind byte, seq uint32) {
	payload := frame[frameHeader:]
	f.seal(frame[:frameHeader], kind, seq, len(payload), crc32.Checksum(payload, castagnoli))
}

// seal fills in the header of a frame with a payload of n bytes and the checksum sum.
func (f *framing) seal(header []byte, kind byte, seq uint32, n int, sum uint32) {
	copy(header, f.magic)
	header[2], header[3] = formatVersion, kind
	binary.LittleEndian.PutUint32(header[4:], seq)
	binary.LittleEndian.PutUint32(header[8:], uint32(n))
	binary.LittleEndian.PutUint32(header[12:], crc32.Update(sum, castagnoli, header[:12]))
}

// check verifies what can be of a header alone and returns the length of the payload.
func (f *framing) check(h []byte, seq uint32) (int, error) {
	kind, n := h[3], binary.LittleEndian.Uint32(h[8:])
	switch {
	case string(h[:2]) != f.magic:
		return 0, fmt.Errorf("%w: frame %d has no magic", ErrCorrupt, seq)
	case h[2] != formatVersion:
		return 0, fmt.Errorf("%w: frame %d has version %d, known is %d", ErrCorrupt, seq, h[2], formatVersion)
	case int(kind) >= len(f.limit) || f.limit[kind] == 0:
		return 0, fmt.Errorf("%w: frame %d is of unknown kind %d", ErrCorrupt, seq, kind)
	case int64(n) >= int64(f.limit[kind]):
		return 0, fmt.Errorf("%w: frame %d has a length of %d, more than %d", ErrCorrupt, seq, n, f.limit[kind]-1)
	case binary.LittleEndian.Uint32(h[4:]) != seq:
		return 0, fmt.Errorf("%w: frame %d came where %d is due", ErrCorrupt, binary.LittleEndian.Uint32(h[4:]), seq)
	}
	return int(n), nil
}

// verify checks the sum of a frame whose header was checked, and returns that of the payload.
func (f *framing) verify(header, payload []byte, seq uint32) (sum uint32, err error) {
	sum = crc32.Checksum(payload, castagnoli)
	if crc32.Update(sum, castagnoli, header[:12]) != binary.LittleEndian.Uint32(header[12:]) {
		return 0, fmt.Errorf("%w: checksum mismatch in frame %d", ErrCorrupt, seq)
	}
	return sum, nil
}

// A frameReader reads frames and verifies each before it shows any of it.
type frameReader struct {
	framing *framing
	r       io.Reader
	seq     uint32
	sum     uint32 // of the last payload
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
	n, err := fr.framing.check(h, fr.seq)
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
	if fr.sum, err = fr.framing.verify(h, frame[frameHeader:], fr.seq); err != nil {
		return 0, nil, err
	}
	fr.seq++
	return frame[3], frame[frameHeader:], nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
