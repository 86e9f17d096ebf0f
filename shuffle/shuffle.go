// Package shuffle moves records from mappers to reducers: it partitions, combines, sorts, carries and merges them.
//
// A record is a key and a value, both plain bytes. Records are totally ordered by (key bytes, value bytes) everywhere,
// so that the same input gives the same bytes however it was cut into runs.
//
// # Runs
//
// A Sorter writes what it holds as a run: one section for each partition that has records, one after the other in a file that takes all runs of
// a map attempt. A section is a sequence of blocks. All numbers are little-endian; uvarint is that of encoding/binary.
//
//	section = (PLAIN | LZ4)* END
//	block   = "MR" version:u8 kind:u8 length:u32 size:u32 sum:u64 payload[length]
//
//	version  2
//	kind     1 PLAIN, 2 LZ4, 3 END
//	length   of the payload as it lies here
//	size     of the payload before compression; the same as length but for LZ4, an LZ4 block
//	sum      XXH3-64 of the payload, seeded with the XXH3-64 of the 12 bytes before it, which is seeded with the sum of the block before;
//	         with 0 in the first block of a section
//
// So each sum vouches for all of its section up to there, and the last one for the section. The payload of PLAIN and LZ4 blocks is a sequence of
// records in order, by (key bytes, value bytes), also from block to block:
//
//	record = shared:uvarint suffix:uvarint length:uvarint key[suffix] value[length]
//
// where shared says how many bytes of the key before are the first of this one, which are left out; 0 in the first record of a block. A
// block has about 64 KiB, at most 64 KiB more than 1 MiB, or a single record, PLAIN. A block that LZ4 does not make smaller by an eighth is PLAIN.
// The payload of END is
//
//	records:u64 emitted:u64 digest:u64
//
// records in the section, records as added before combining, and the Digest of those. A reader verifies a block before it
// looks at its payload.
//
// Where sections lie says their table, which is ordered by partition and then by place:
//
//	table = (partition:u32 block:u32 offset:u64 length:u64 records:u64 emitted:u64 digest:u64 sum:u64)*
//
//	block    bytes of the largest payload before compression
//	sum      of END
//
// # Netpipes
//
// A netpipe carries frames, with the magic "MP" from the writer to the reader and "MR" back. Each frame crosses a link: a socket, or a
// stream of messages. seq counts the frames that go one way over one link.
//
//	frame = magic version:u8 kind:u8 seq:u32 length:u32 crc:u32 payload[length]
//
//	version  1
//	length   of the payload
//	crc      CRC-32C of the payload and then the 12 bytes before it
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
package shuffle

import (
	"errors"
	"strconv"
)

// Errors, asked for with errors.Is.
var (
	// ErrCorrupt says that bytes are not what was written: a checksum, a count, a length.
	ErrCorrupt = errors.New("corrupt")
	// ErrMemory says that there is no memory for records.
	ErrMemory = errors.New("shuffle memory")
	// ErrSpace says that runs take more of the disk than they may.
	ErrSpace = errors.New("spill limit")
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

// A Section is what one run holds of one partition.
type Section struct {
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"` // in the run's file
	Length    int64  `json:"length"`
	Records   int64  `json:"records"` // in the section, after combining
	Emitted   int64  `json:"emitted"` // by mappers, before combining
	Digest    uint64 `json:"digest"`  // sum of keyed hashes of the emitted records (see Digest)
	Sum       uint64 `json:"sum"`     // checksum of the section
	Block     int64  `json:"block"`   // bytes of its largest block before compression
}

// mebibytes rounds up, so that a limit that was passed by one byte shows as passed.
func mebibytes(n int64) string {
	const mib = 1 << 20
	if n < 10*mib {
		return strconv.FormatInt((n+1023)>>10, 10) + " KiB"
	}
	return strconv.FormatInt((n+mib-1)/mib, 10) + " MiB"
}
