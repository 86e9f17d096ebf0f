// Package shuffle moves records from mappers to reducers: it partitions, combines, sorts, carries and merges them.
//
// A record is a key and a value, both plain bytes. Records are totally ordered by (key bytes, value bytes) everywhere,
// so that the same input gives the same bytes however it was cut into runs.
//
// # Sections
//
// A Sorter seals what it holds as a run: one section per partition, one after the other. A section is a sequence of
// frames, which whoever carries a run forwards without looking inside. All numbers are little-endian.
//
//	frame   = "MS" version:u8 kind:u8 seq:u32 length:u32 crc:u32 payload[length]
//	section = DATA* END
//
//	version  1
//	kind     1 DATA, 2 END
//	seq      0, 1, 2, … within the section
//	length   of the payload, at most 1 MiB
//	crc      CRC-32C of the payload and then the 12 bytes before it
//
// The payloads of the DATA frames, put together, are an Arrow IPC stream of record batches with the schema
// (key: binary, value: binary), without nulls, sorted; a batch has at most 64 Ki records and, unless it holds a single record,
// at most 1 MiB of them. A section without records has no DATA frame. The payload of END is
//
//	records:u64 emitted:u64 digest:u64 bytes:u64
//
// records in the section, records as added before combining, the Digest of those, and the bytes of all DATA payloads.
// A reader verifies a frame before it hands any byte of it to the Arrow decoder, which is not safe on mutated streams.
//
// # Netpipes
//
// A netpipe carries frames of the same shape, with the magic "MP" from the writer to the reader and "MR" back. Each frame
// crosses a link: a socket, or a stream of messages. seq counts the frames that go one way over one link.
//
//	writer to reader: (PART* DATA)* (END | ABORT)
//	reader to writer: HELLO ACK* GONE?
//	both ways:        BEAT, anywhere but before HELLO
//
//	magic  kind     payload
//	MP     0 BEAT   none
//	MP     1 DATA   1 byte to 256 KiB, the last piece of a batch
//	MP     2 END    bytes:u64 digest:u64 batches:u64, of the whole stream
//	MP     3 ABORT  the reason, at most 4 KiB of text
//	MP     4 PART   1 byte to 256 KiB, another piece of a batch
//	MR     0 BEAT   none
//	MR     1 HELLO  pieces:u64 limit:u64
//	MR     2 ACK    pieces:u64 limit:u64
//	MR     3 GONE   none
//
// digest is the XXH3-64 of crc:u32 length:u32 of all pieces in their order, crc being the CRC-32C of the payload alone.
//
// The reader says HELLO when it opens its end; until then the writer waits. pieces is how many DATA and PART it has, limit how many
// bytes of them the writer may send, counted from the start of the stream: what was read and a window. An ACK moves both on.
// An end that has nothing to say sends BEAT; one that hears nothing for long enough takes the link for broken.
//
// A stream that stops without END or ABORT is an unexpected end, never an end. But where an end can make another link, it does: the
// writer keeps what the reader has not acknowledged, the reader says on the new link how many pieces it has, and the writer sends the rest. GONE says that
// the reader will not come again: it has the end, or wants no more.
//
// # Sections in a netpipe
//
// What one reduce attempt receives is a sequence of sections, each behind a header that names the map attempt it is of:
//
//	"MT" version:u8 taglen:u8 length:u64 records:u64 emitted:u64 digest:u64 crc:u32 tag[taglen] section[length]
//
// where crc is the CRC-32C of the 36 bytes before it and of the tag.
package shuffle

import (
	"errors"
	"fmt"
	"strconv"
)

// Errors, asked for with errors.Is.
var (
	// ErrCorrupt says that bytes are not what was written: a checksum, a count, a length.
	ErrCorrupt = errors.New("corrupt")
	// ErrMemory says that records do not fit into the memory given to them.
	ErrMemory = errors.New("shuffle memory limit")
	// ErrAborted says that the writing end of a netpipe gave up; the text has its reason.
	ErrAborted = errors.New("aborted")
	// ErrStale says that one end of a netpipe is of another attempt, incarnation or epoch than the other end wants.
	ErrStale = errors.New("stale")
	// ErrTooLarge says that one record is larger than MaxRecord.
	ErrTooLarge = errors.New("record too large")
)

// MaxRecord bounds the key and value of one record together, in bytes.
const MaxRecord = 64 << 20

// A Combine merges two accumulators of one key and appends the result to dst, which does not overlap them.
// It is commutative and associative.
type Combine func(dst, a, b []byte) []byte

// A Section is what a sealed run holds of one partition.
type Section struct {
	Offset  int64  `json:"offset"` // in the run's file
	Length  int64  `json:"length"`
	Records int64  `json:"records"` // in the section, after combining
	Emitted int64  `json:"emitted"` // by mappers, before combining
	Digest  uint64 `json:"digest"`  // sum of keyed hashes of the emitted records (see Digest)
}

func memoryError(held, budget, records int64) error {
	return fmt.Errorf("%w: %s of %s held by %s records", ErrMemory, mebibytes(held), mebibytes(budget), grouped(records))
}

// mebibytes rounds up, so that a limit that was passed by one byte shows as passed.
func mebibytes(n int64) string {
	const mib = 1 << 20
	if n < 10*mib {
		return strconv.FormatInt((n+1023)>>10, 10) + " KiB"
	}
	return strconv.FormatInt((n+mib-1)/mib, 10) + " MiB"
}

// grouped writes n with a comma between thousands.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
