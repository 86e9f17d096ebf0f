package format

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/millrace/millrace/job"
)

// NewCompressor returns what compresses to w. What it writes between its making and its Close is a member of gzip or a frame of zstd; several
// one after the other are what all of their contents would be.
func NewCompressor(w io.Writer, c job.Compression) (io.WriteCloser, error) {
	switch c {
	case job.Gzip:
		return gzip.NewWriter(w), nil
	case job.Zstd:
		return newZstd(w)
	}
	return nil, fmt.Errorf("no compression %q", c)
}

func newZstd(w io.Writer) (*zstd.Encoder, error) {
	return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithZeroFrames(true))
}
