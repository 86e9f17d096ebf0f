// Package decompress decompresses data that is in memory. A program that runs as WebAssembly has its runner do it, some times faster than it
// could itself; elsewhere the same code is linked in. Results and errors are the same.
package decompress

import "errors"

// A Format is one of compressed data. Data ends where they end: bytes that follow are an error.
type Format uint32

// Formats.
const (
	Gzip    Format = 1 + iota // members one after another are one
	Zlib                      // without a dictionary
	Deflate                   // without a header
	Zstd                      // without a dictionary; frames one after another are one; windows of at most 8 MiB
)

// Errors.
var (
	ErrCorrupt  = errors.New("corrupt compressed data") // or not of that format
	ErrTooLarge = errors.New("decompressed data is larger than allowed")
	ErrFormat   = errors.New("unknown format of compression")
)

// Bytes returns what data holds. Of more than limit bytes it returns ErrTooLarge, and has not taken more memory than that: it is
// where a bomb ends.
func Bytes(f Format, data []byte, limit int) ([]byte, error) {
	const first, growth = 4 << 10, 4
	limit = max(limit, 0)
	size := max(len(data), first)
	for {
		if size = growth * size; size > limit || size < 0 {
			size = limit
		}
		out := make([]byte, size)
		n, err := decode(f, out, data)
		switch {
		case err == nil:
			return out[:n], nil
		case err != errShort:
			return nil, err
		case size == limit:
			return nil, ErrTooLarge
		}
	}
}

// errShort is the answer of decode if there is more than fits.
var errShort = errors.New("too short")
