package shuffle

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/pierrec/lz4/v4"
)

// RunOptions say what a reader knows of the section that it reads. The zero value of a field means that it does not, or its default.
type RunOptions struct {
	Name   string   // of the run, for errors: "m-00013.1"
	Expect *Section // its Records, Emitted, Digest and Sum must be those of the section, and no block larger than its Block
	// DigestKey is the secret of Digest. With it, the digest of a section whose records were not combined
	// is computed again.
	DigestKey uint64
	Buffer    int // bytes read at once; 0 means 64 KiB. A larger block is read as a whole.
}

// A RunReader reads the records of one section. Each block is verified before it is decoded, each record is checked for order,
// and the end for its counts: only when Next has returned false and Err is nil was the section read as it was written.
//
// It may read beyond the end of its section. It is not for concurrent use.
type RunReader struct {
	opts     RunOptions
	r        io.Reader
	buf      []byte // read and not yet used are those from lo to hi
	lo, hi   int
	blocks   int64
	sum      uint64
	raw      []byte // of a block that was compressed
	rest     []byte // of the block
	key      []byte
	value    []byte
	last     []byte // copy of the last value of the block before
	fresh    bool   // nothing of the block was decoded
	records  int64
	digest   uint64
	digests  bool
	end      Section
	finished bool
	err      error
}

// NewRunReader returns a reader of the section that r starts with. It reads nothing yet. Nil opts mean defaults.
func NewRunReader(r io.Reader, opts *RunOptions) *RunReader {
	rr := &RunReader{r: r}
	if opts != nil {
		rr.opts = *opts
	}
	x := rr.opts.Expect
	rr.digests = rr.opts.DigestKey != 0 && (x == nil || x.Records == x.Emitted)
	return rr
}

// cost is the memory that a reader of a section needs, with a buffer of some size.
func (s *Section) cost(buffer int) int64 { return int64(buffer) + 2*max(s.Block, blockSize) + 1<<10 }

// Next goes to the next record. It returns false at the end and on an error.
func (r *RunReader) Next() bool {
	if r.finished {
		return false
	}
	if len(r.rest) == 0 {
		if err := r.load(); err != nil {
			r.finish(err)
			return false
		}
	}
	if err := r.decode(); err != nil {
		r.finish(err)
		return false
	}
	return true
}

// Key and Value return the current record; they are valid until Next. They must not be modified.
func (r *RunReader) Key() []byte   { return r.key }
func (r *RunReader) Value() []byte { return r.value }

// All yields the records that Next would go to.
func (r *RunReader) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for r.Next() {
			if !yield(r.key, r.value) {
				return
			}
		}
	}
}

// Err returns why Next returned false; nil means the verified end.
func (r *RunReader) Err() error { return r.err }

// Section returns what the end of the section says of it: its Records, Emitted, Digest and Sum. They are zero before the end.
func (r *RunReader) Section() Section { return r.end }

func (r *RunReader) finish(err error) {
	r.finished = true
	r.buf, r.raw, r.rest, r.key, r.value, r.last = nil, nil, nil, nil, nil, nil
	if err == io.EOF {
		return
	}
	if r.opts.Name != "" {
		err = &RunError{r.opts.Name, err}
	}
	r.err = err
}

// A RunError says which run cannot be read as it was written, by the name that its reader was given.
type RunError struct {
	Run string
	Err error
}

func (e *RunError) Error() string { return "run " + e.Run + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *RunError) Unwrap() error { return e.Err }

// decode takes the next record off the block.
func (r *RunReader) decode() error {
	b := r.rest
	var shared, suffix, value uint64
	if len(b) > 3 && b[0]|b[1]|b[2] < 0x80 {
		shared, suffix, value = uint64(b[0]), uint64(b[1]), uint64(b[2])
		b = b[3:]
	} else {
		for _, n := range []*uint64{&shared, &suffix, &value} {
			v, k := binary.Uvarint(b)
			if k <= 0 {
				return fmt.Errorf("%w: record %d has no lengths", ErrCorrupt, r.records)
			}
			*n, b = v, b[k:]
		}
	}
	before := r.value
	if r.fresh {
		before = r.last
	}
	if shared > uint64(len(r.key)) || r.fresh && shared > 0 || suffix > uint64(len(b)) || value > uint64(len(b))-suffix || shared+suffix+value > MaxRecord {
		return fmt.Errorf("%w: record %d is longer than its block", ErrCorrupt, r.records)
	}
	tail := b[:suffix]
	r.value = b[suffix : suffix+value : suffix+value]
	r.rest = b[suffix+value:]
	if r.records > 0 {
		c := bytes.Compare(r.key[shared:], tail)
		if c > 0 || c == 0 && bytes.Compare(before, r.value) > 0 {
			return fmt.Errorf("%w: record %d is out of order", ErrCorrupt, r.records)
		}
	}
	r.key = append(r.key[:shared], tail...)
	r.fresh = false
	r.records++
	if r.digests {
		r.digest += Digest(r.opts.DigestKey, r.key, r.value)
	}
	return nil
}

// load reads, verifies and unpacks the next block of records. The error is io.EOF after a verified end.
func (r *RunReader) load() error {
	r.last, r.fresh = append(r.last[:0], r.value...), true
	h, err := r.take(blockHeader)
	if err != nil {
		return err
	}
	kind, length, size := h[3], int64(binary.LittleEndian.Uint32(h[4:])), int64(binary.LittleEndian.Uint32(h[8:]))
	var most int64
	switch {
	case string(h[:2]) != "MR":
		return fmt.Errorf("%w: block %d has no magic", ErrCorrupt, r.blocks)
	case h[2] != runVersion:
		return fmt.Errorf("%w: block %d has version %d, known is %d", ErrCorrupt, r.blocks, h[2], runVersion)
	case kind == blockPlain:
		most = maxBlock
	case kind == blockLZ4:
		most = maxPacked
	case kind == blockEnd:
		most = endSize
	default:
		return fmt.Errorf("%w: block %d is of unknown kind %d", ErrCorrupt, r.blocks, kind)
	}
	if length > size || size > most || length == 0 || kind != blockLZ4 && length != size || kind == blockEnd && size != endSize {
		return fmt.Errorf("%w: block %d has a length of %d for %d bytes, more than %d", ErrCorrupt, r.blocks, length, size, most)
	}
	if x := r.opts.Expect; x != nil && kind != blockEnd && size > x.Block {
		return fmt.Errorf("%w: block %d has %d bytes, wanted at most %d", ErrCorrupt, r.blocks, size, x.Block)
	}
	b, err := r.take(blockHeader + int(length))
	if err != nil {
		return err
	}
	sum := blockSum(r.sum, b)
	if sum != binary.LittleEndian.Uint64(b[blockHeader-8:]) {
		return fmt.Errorf("%w: checksum mismatch in block %d", ErrCorrupt, r.blocks)
	}
	r.sum = sum
	r.blocks++
	r.lo += len(b)
	payload := b[blockHeader:]
	switch kind {
	case blockEnd:
		return r.verify(payload)
	case blockLZ4:
		return r.unpack(payload, int(size))
	}
	r.rest = payload
	return nil
}

func (r *RunReader) unpack(payload []byte, size int) error {
	if cap(r.raw) < size {
		r.raw = make([]byte, max(size, blockSize))
	}
	raw := r.raw[:size]
	if n, err := lz4.UncompressBlock(payload, raw); err != nil || n != size {
		return fmt.Errorf("%w: block %d does not unpack to %d bytes", ErrCorrupt, r.blocks-1, size)
	}
	r.rest = raw
	return nil
}

// take returns the next n bytes, without using them up. They are valid until the next call.
func (r *RunReader) take(n int) ([]byte, error) {
	if r.hi-r.lo < n {
		if err := r.fill(n); err != nil {
			return nil, err
		}
	}
	return r.buf[r.lo : r.lo+n], nil
}

// fill reads until there are n bytes.
func (r *RunReader) fill(n int) error {
	b := r.buf
	if len(b) < n {
		b = make([]byte, max(n, cmp.Or(r.opts.Buffer, blockSize)))
	}
	r.hi = copy(b, r.buf[r.lo:r.hi])
	r.buf, r.lo = b, 0
	k, err := io.ReadAtLeast(r.r, r.buf[r.hi:], n-r.hi)
	r.hi += k
	if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
		return fmt.Errorf("%w: the section has no end: %w", ErrCorrupt, io.ErrUnexpectedEOF)
	}
	return err
}

// verify compares what was read with what the end and the caller say. It returns io.EOF if all is well.
func (r *RunReader) verify(e []byte) error {
	s := Section{
		Records: int64(binary.LittleEndian.Uint64(e[0:])),
		Emitted: int64(binary.LittleEndian.Uint64(e[8:])),
		Digest:  binary.LittleEndian.Uint64(e[16:]),
		Sum:     r.sum,
	}
	if s.Records != r.records {
		return fmt.Errorf("%w: %d records, its end says %d", ErrCorrupt, r.records, s.Records)
	}
	if r.digests && s.Records == s.Emitted && s.Digest != r.digest {
		return fmt.Errorf("%w: digest of records is %016x, its end says %016x", ErrCorrupt, r.digest, s.Digest)
	}
	if x := r.opts.Expect; x != nil && (x.Records != s.Records || x.Emitted != s.Emitted || x.Digest != s.Digest || x.Sum != s.Sum) {
		return fmt.Errorf("%w: has %d records of %d with digest %016x and checksum %016x, wanted %d of %d with %016x and %016x", ErrCorrupt,
			s.Records, s.Emitted, s.Digest, s.Sum, x.Records, x.Emitted, x.Digest, x.Sum)
	}
	r.end = s
	return io.EOF
}
