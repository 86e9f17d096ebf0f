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
// A netpipe between processes carries frames:
//
//	frame = "MP" version:u8 kind:u8 seq:u32 length:u32 crc:u32 payload[length]
//
//	writer to reader: DATA* (END | ABORT)
//	reader to writer: HELLO
//
//	version  1
//	kind     1 DATA, 2 END, 3 ABORT, 4 HELLO
//	seq      0, 1, 2, … in one direction
//	length   of the payload: at most 256 KiB for DATA, 24 for END, 4 KiB for ABORT, 0 for HELLO
//	crc      CRC-32C of the 12 bytes before it and the payload
//	END      bytes:u64 digest:u64 frames:u64, of all DATA payloads; digest is XXH3-64
//	ABORT    the reason, as text
//
// The reader says HELLO when it opens its end; until then the writer waits. A stream that stops without END or ABORT
// is an unexpected end, never an end.
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
