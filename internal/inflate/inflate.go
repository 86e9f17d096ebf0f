// Package inflate decompresses data that is in memory, into memory of the caller's. It is what the host does for guests, and what their SDK
// does where there is no host.
package inflate

import (
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// A Format is one of compressed data. The numbers are part of what guests rely on.
type Format uint32

// Formats. Data ends where they end: bytes that follow are an error.
const (
	Gzip    Format = 1 + iota // RFC 1952; members one after another are one
	Zlib                      // RFC 1950, without a dictionary
	Deflate                   // RFC 1951
	Zstd                      // RFC 8878, without a dictionary; frames one after another are one; windows of at most 8 MiB
)

// Errors.
var (
	ErrFormat  = errors.New("unknown format")
	ErrCorrupt = errors.New("corrupt compressed data")
	ErrShort   = errors.New("no room for the decompressed data")
)

const (
	maxWindow = 8 << 20
	chunk     = 64 << 10
)

// A Decoder decompresses. It keeps memory from one use to the next, 17 MiB at most, and is not safe for concurrent use.
type Decoder struct {
	// Poll, if not nil, is called after each few kilobytes of input or output. It may end the work by a panic; the
	// Decoder is of no use then.
	Poll func()

	in   source
	gzip *gzip.Reader
	zlib io.ReadCloser
	raw  io.ReadCloser
	zstd *zstd.Decoder
}

// Decode decompresses src to dst, which do not overlap, and returns the number of bytes. Its errors are those of this package; after one, dst holds
// anything.
func (d *Decoder) Decode(f Format, dst, src []byte) (int, error) {
	d.in = source{b: src, poll: d.Poll}
	r, err := d.open(f)
	if err == ErrFormat {
		return 0, err
	}
	n := 0
	for err == nil && n < len(dst) {
		var k int
		k, err = r.Read(dst[n:min(n+chunk, len(dst))])
		n += k
		d.in.pause(chunk)
	}
	for err == nil {
		var more [1]byte
		var k int
		if k, err = r.Read(more[:]); k > 0 {
			return 0, ErrShort
		}
	}
	if err != io.EOF || d.in.at != len(src) || len(src) == 0 {
		return 0, ErrCorrupt
	}
	return n, nil
}

// open returns a reader of what is in d.in.
func (d *Decoder) open(f Format) (r io.Reader, err error) {
	switch f {
	case Gzip:
		if d.gzip == nil {
			d.gzip = new(gzip.Reader)
		}
		return d.gzip, noEOF(d.gzip.Reset(&d.in))
	case Zlib:
		if d.zlib == nil {
			d.zlib, err = zlib.NewReader(&d.in)
		} else {
			err = d.zlib.(zlib.Resetter).Reset(&d.in, nil)
		}
		return d.zlib, noEOF(err)
	case Deflate:
		if d.raw == nil {
			d.raw = flate.NewReader(&d.in)
			return d.raw, nil
		}
		return d.raw, d.raw.(flate.Resetter).Reset(&d.in, nil)
	case Zstd:
		if d.zstd != nil {
			return d.zstd, d.zstd.Reset(&d.in)
		}
		d.zstd, err = zstd.NewReader(&d.in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		return d.zstd, err
	}
	return nil, ErrFormat
}

// noEOF makes the end of a header an error.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A source is what is decompressed. Decoders take no more of it than they need, since it reads single bytes.
type source struct {
	b    []byte
	at   int
	poll func()
	owed int // work since the last poll, bytes
}

var _ flate.Reader = (*source)(nil)

func (s *source) Read(p []byte) (int, error) {
	if s.at == len(s.b) {
		return 0, io.EOF
	}
	n := copy(p, s.b[s.at:])
	s.at += n
	s.pause(n)
	return n, nil
}

func (s *source) ReadByte() (byte, error) {
	if s.at == len(s.b) {
		return 0, io.EOF
	}
	s.at++
	s.pause(1)
	return s.b[s.at-1], nil
}

// pause polls now and then.
func (s *source) pause(n int) {
	if s.owed += n; s.owed >= 4<<10 {
		s.owed = 0
		if s.poll != nil {
			s.poll()
		}
	}
}
