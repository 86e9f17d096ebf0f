package shuffle

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/pierrec/lz4/v4"
	"github.com/zeebo/xxh3"
)

// Blocks and tables are drawn in the package comment.
const (
	runVersion  = 2
	blockHeader = 20
	blockSize   = 64 << 10 // a block is full with so much
	largeRecord = 1 << 20  // a record from this size on has a block of its own, which is not compressed
	maxPacked   = blockSize + largeRecord
	maxBlock    = MaxRecord + 64
	endSize     = 24
	tableEntry  = 56

	blockPlain = 1
	blockLZ4   = 2
	blockEnd   = 3

	outBuffer = 128 << 10
	// sectionBuffers is what a sectionWriter keeps: a block before and after compression, the compressor's table, a buffer.
	sectionBuffers = 2*blockSize + 160<<10 + outBuffer
)

// A sectionWriter writes one section after the other to the end of a file. Its buffers serve them all. Errors stay.
type sectionWriter struct {
	w      io.Writer
	offset int64 // in the file, of what is written next
	limit  int64 // of offset; 0: none
	err    error

	out     []byte // not yet written
	block   []byte // a header's room, and records
	last    []byte // the last key in block
	packed  []byte
	lz4     lz4.Compressor
	plain   int // blocks that are not worth a try, because one before could not be made smaller
	start0  int64
	sum     uint64
	records int64
	largest int64
}

// start has sections written to w, which holds offset bytes and may hold limit, 0 meaning any number.
func (w *sectionWriter) start(to io.Writer, offset, limit int64) {
	w.w, w.offset, w.limit, w.err = to, offset, limit, nil
	w.out = w.out[:0]
	if w.block == nil {
		w.out, w.block, w.packed = make([]byte, 0, outBuffer), make([]byte, blockHeader, blockHeader+blockSize), make([]byte, blockSize)
	}
}

// begin begins a section.
func (w *sectionWriter) begin() {
	w.block, w.last = w.block[:blockHeader], w.last[:0]
	w.start0, w.sum, w.records, w.largest, w.plain = w.offset, 0, 0, 0, 0
}

// add appends the next record in order.
func (w *sectionWriter) add(key, value []byte) error {
	n := len(key) + len(value)
	if len(w.block)+n > blockHeader+blockSize {
		w.flushBlock()
		if n >= largeRecord {
			return w.addLarge(key, value)
		}
	}
	shared, most := 0, min(len(w.last), len(key))
	for shared < most && w.last[shared] == key[shared] {
		shared++
	}
	b := binary.AppendUvarint(w.block, uint64(shared))
	b = binary.AppendUvarint(b, uint64(len(key)-shared))
	b = binary.AppendUvarint(b, uint64(len(value)))
	w.last = append(w.last[:shared], key[shared:]...)
	w.block = append(append(b, key[shared:]...), value...)
	w.records++
	return w.err
}

// addLarge writes a record as a block of its own, without copying it.
func (w *sectionWriter) addLarge(key, value []byte) error {
	b := append(w.block[:blockHeader], 0)
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = binary.AppendUvarint(b, uint64(len(value)))
	n := len(b) - blockHeader + len(key) + len(value)
	w.header(b, blockPlain, n, n)
	h := xxh3.NewSeed(xxh3.HashSeed(b[:blockHeader-8], w.sum))
	for _, p := range [][]byte{b[blockHeader:], key, value} {
		_, _ = h.Write(p)
	}
	w.seal(b, h.Sum64())
	w.write(b)
	w.write(key)
	w.write(value)
	w.records++
	w.largest = max(w.largest, int64(n))
	w.last = w.last[:0] // the next block begins anew
	return w.err
}

// flushBlock writes the block that was collected, if it holds anything.
func (w *sectionWriter) flushBlock() {
	n := len(w.block) - blockHeader
	w.last = w.last[:0]
	if n == 0 {
		return
	}
	w.largest = max(w.largest, int64(n))
	if w.plain > 0 {
		w.plain--
	} else if k := w.pack(); k > 0 {
		w.finish(w.packed[:blockHeader+k], blockLZ4, n)
		w.block = w.block[:blockHeader]
		return
	}
	w.finish(w.block, blockPlain, n)
	w.block = w.block[:blockHeader]
}

// pack compresses the block into packed and returns its length, 0 if that is no gain.
func (w *sectionWriter) pack() int {
	b := w.block[blockHeader:]
	most := len(b) - len(b)/8
	if len(w.packed) < blockHeader+most {
		w.packed = make([]byte, blockHeader+most)
	}
	k, err := w.lz4.CompressBlock(b, w.packed[blockHeader:blockHeader+most])
	if err != nil || k == 0 || k >= most {
		w.plain = 7
		return 0
	}
	return k
}

// finish writes a block whose payload, size bytes before compression, lies behind a header's room.
func (w *sectionWriter) finish(b []byte, kind byte, size int) {
	w.header(b, kind, len(b)-blockHeader, size)
	w.seal(b, blockSum(w.sum, b))
	w.write(b)
}

func (w *sectionWriter) header(b []byte, kind byte, length, size int) {
	copy(b, "MR")
	b[2], b[3] = runVersion, kind
	binary.LittleEndian.PutUint32(b[4:], uint32(length))
	binary.LittleEndian.PutUint32(b[8:], uint32(size))
}

func (w *sectionWriter) seal(b []byte, sum uint64) {
	w.sum = sum
	binary.LittleEndian.PutUint64(b[blockHeader-8:], sum)
}

// blockSum returns the checksum of a block that follows one with the checksum before.
func blockSum(before uint64, block []byte) uint64 {
	return xxh3.HashSeed(block[blockHeader:], xxh3.HashSeed(block[:blockHeader-8], before))
}

// end completes the section, with the counts of s as emitted, and fills in the others.
func (w *sectionWriter) end(s *Section) error {
	w.flushBlock()
	b := w.block[:blockHeader]
	b = binary.LittleEndian.AppendUint64(b, uint64(w.records))
	b = binary.LittleEndian.AppendUint64(b, uint64(s.Emitted))
	b = binary.LittleEndian.AppendUint64(b, s.Digest)
	w.finish(b, blockEnd, endSize)
	s.Offset, s.Length = w.start0, w.offset-w.start0
	s.Records, s.Sum, s.Block = w.records, w.sum, w.largest
	return w.err
}

// write appends p to the file, sooner or later.
func (w *sectionWriter) write(p []byte) {
	w.offset += int64(len(p))
	if w.limit > 0 && w.offset > w.limit && w.err == nil {
		w.err = fmt.Errorf("%w: the %s that were left of it are full", ErrSpace, mebibytes(w.limit))
	}
	if len(w.out)+len(p) > outBuffer {
		_ = w.flush()
	}
	if len(p) >= outBuffer {
		w.put(p)
		return
	}
	w.out = append(w.out, p...)
}

// flush has all that was written reach the file.
func (w *sectionWriter) flush() error {
	w.put(w.out)
	w.out = w.out[:0]
	return w.err
}

func (w *sectionWriter) put(p []byte) {
	if w.err != nil || len(p) == 0 {
		return
	}
	n, err := w.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.err = fmt.Errorf("write run: %w", err)
	}
}

// AppendTable appends the table of sections, which are ordered by partition, to dst.
func AppendTable(dst []byte, sections []Section) []byte {
	for i := range sections {
		s := &sections[i]
		dst = binary.LittleEndian.AppendUint32(dst, uint32(s.Partition))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(s.Block))
		for _, n := range []uint64{uint64(s.Offset), uint64(s.Length), uint64(s.Records), uint64(s.Emitted), s.Digest, s.Sum} {
			dst = binary.LittleEndian.AppendUint64(dst, n)
		}
	}
	return dst
}

// ParseTable returns the sections of a table, of a file of size bytes with that many partitions. An error is ErrCorrupt.
func ParseTable(table []byte, partitions int, size int64) ([]Section, error) {
	if len(table)%tableEntry != 0 {
		return nil, fmt.Errorf("%w: a table of sections of %d bytes", ErrCorrupt, len(table))
	}
	sections := make([]Section, len(table)/tableEntry)
	for i := range sections {
		b := table[i*tableEntry:]
		n := func(k int) int64 { return int64(binary.LittleEndian.Uint64(b[8+8*k:])) }
		s := Section{
			Partition: int(binary.LittleEndian.Uint32(b)), Block: int64(binary.LittleEndian.Uint32(b[4:])),
			Offset: n(0), Length: n(1), Records: n(2), Emitted: n(3), Digest: uint64(n(4)), Sum: uint64(n(5)),
		}
		switch {
		case s.Partition >= partitions, i > 0 && s.Partition < sections[i-1].Partition:
			return nil, fmt.Errorf("%w: section %d is of partition %d of %d", ErrCorrupt, i, s.Partition, partitions)
		case s.Offset < 0 || s.Length < 0 || s.Length > size || s.Offset > size-s.Length:
			return nil, fmt.Errorf("%w: section %d lies outside of its file", ErrCorrupt, i)
		case s.Records < 1 || s.Emitted < s.Records || s.Emitted > math.MaxInt64/2 || s.Block > maxBlock:
			return nil, fmt.Errorf("%w: section %d has %d records of %d", ErrCorrupt, i, s.Records, s.Emitted)
		}
		sections[i] = s
	}
	return sections, nil
}
