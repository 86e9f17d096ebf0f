package shuffle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/ipc"
)

// RunOptions say what a reader knows of the section that it reads. The zero value of a field means that it does not.
type RunOptions struct {
	Name   string   // of the run, for errors: "m-00013.1"
	Expect *Section // its Records, Emitted and Digest must be those of the section
	// DigestKey is the secret of Digest. With it, the digest of a section whose records were not combined
	// is computed again.
	DigestKey uint64
}

// A RunReader reads the records of one section. Each frame is verified before it is decoded, each batch is checked for order,
// and the end for its counts: only when Next has returned false and Err is nil was the section read as it was written.
//
// It reads no further than the end of its section. It is not for concurrent use.
type RunReader struct {
	opts     RunOptions
	in       payloadReader
	arrow    *ipc.Reader
	keys     view
	values   view
	row      int // the current record in the batch
	rows     int
	records  int64
	digest   uint64
	end      Section
	last     [2][]byte // copy of the last record of the batch before
	finished bool
	err      error
}

// A view is a column of a batch.
type view struct {
	offsets []int32
	data    []byte
}

func (v *view) at(i int) []byte {
	from, to := v.offsets[i], v.offsets[i+1]
	return v.data[from:to:to]
}

// NewRunReader returns a reader of the section that r starts with. It reads nothing yet. Nil opts mean defaults.
// It reads in pieces of a frame; r need not be buffered if it is memory or a file.
func NewRunReader(r io.Reader, opts *RunOptions) *RunReader {
	rr := &RunReader{row: -1}
	if opts != nil {
		rr.opts = *opts
	}
	rr.in.frames = frameReader{framing: sectionFrames, r: r}
	return rr
}

// Next goes to the next record. It returns false at the end and on an error.
func (r *RunReader) Next() bool {
	r.row++
	if r.row < r.rows {
		return true
	}
	if r.finished {
		return false
	}
	for {
		if err := r.load(); err != nil {
			r.finish(err)
			return false
		}
		if r.rows > 0 {
			return true
		}
	}
}

// Key and Value return the current record; they are valid until Next. They must not be modified.
func (r *RunReader) Key() []byte   { return r.keys.at(r.row) }
func (r *RunReader) Value() []byte { return r.values.at(r.row) }

// All yields the records that Next would go to.
func (r *RunReader) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for r.Next() {
			if !yield(r.Key(), r.Value()) {
				return
			}
		}
	}
}

// Err returns why Next returned false; nil means the verified end.
func (r *RunReader) Err() error { return r.err }

// Section returns what the end of the section says of it, without Offset and Length; it is zero before the end.
func (r *RunReader) Section() Section { return r.end }

func (r *RunReader) finish(err error) {
	r.finished, r.row, r.rows = true, 0, 0
	r.keys, r.values, r.last = view{}, view{}, [2][]byte{}
	if r.arrow != nil {
		r.arrow.Release()
		r.arrow = nil
	}
	if err == io.EOF {
		return
	}
	if r.opts.Name != "" {
		err = fmt.Errorf("run %s: %w", r.opts.Name, err)
	}
	r.err = err
}

// load decodes the next batch. The error is io.EOF after a verified end.
func (r *RunReader) load() error {
	if r.rows > 0 {
		r.last[0] = append(r.last[0][:0], r.keys.at(r.rows-1)...)
		r.last[1] = append(r.last[1][:0], r.values.at(r.rows-1)...)
	}
	r.row, r.rows = 0, 0
	if r.arrow == nil {
		if err := r.in.fill(); err != nil {
			if err == io.EOF {
				return r.verify()
			}
			return err
		}
		a, err := ipc.NewReaderFromMessageReader(newMessageReader(&r.in), ipc.WithAllocator(bounded{}))
		if err != nil {
			return r.cause(err)
		}
		r.arrow = a
	}
	if !r.arrow.Next() {
		if err := r.arrow.Err(); err != nil {
			return r.cause(err)
		}
		if err := r.in.fill(); err != io.EOF {
			if err == nil {
				err = fmt.Errorf("%w: bytes after the last batch", ErrCorrupt)
			}
			return err
		}
		return r.verify()
	}
	return r.take(r.arrow.Record())
}

// cause prefers what is wrong with a frame to what the decoder made of it.
func (r *RunReader) cause(err error) error {
	if r.in.err != nil && r.in.err != io.EOF {
		return r.in.err
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// take makes rec the current batch, if it is one of ours and in order.
func (r *RunReader) take(rec arrow.Record) error {
	n := int(rec.NumRows())
	if n < 0 || n > batchRecords {
		return fmt.Errorf("%w: a batch of %d records", ErrCorrupt, n)
	}
	if n == 0 {
		return nil
	}
	for i, v := range []*view{&r.keys, &r.values} {
		if err := v.take(rec.Column(i), n); err != nil {
			return err
		}
	}
	key, value := r.last[0], r.last[1]
	digest := r.opts.DigestKey != 0
	for i := range n {
		k, v := r.keys.at(i), r.values.at(i)
		if c := bytes.Compare(key, k); c > 0 || c == 0 && bytes.Compare(value, v) > 0 {
			return fmt.Errorf("%w: record %d is out of order", ErrCorrupt, r.records+int64(i))
		}
		if digest {
			r.digest += Digest(r.opts.DigestKey, k, v)
		}
		key, value = k, v
	}
	r.records += int64(n)
	r.rows = n
	return nil
}

func (v *view) take(col arrow.Array, n int) error {
	d := col.Data()
	bufs := d.Buffers()
	if d.Offset() != 0 || d.Len() != n || d.NullN() != 0 || len(bufs) != 3 || bufs[1] == nil {
		return fmt.Errorf("%w: a batch is not of the layout that runs have", ErrCorrupt)
	}
	v.offsets, v.data = arrow.Int32Traits.CastFromBytes(bufs[1].Bytes()), nil
	if bufs[2] != nil {
		v.data = bufs[2].Bytes()
	}
	if len(v.offsets) < n+1 {
		return fmt.Errorf("%w: a batch of %d records has %d offsets", ErrCorrupt, n, len(v.offsets))
	}
	last := int32(0)
	for _, o := range v.offsets[:n+1] {
		if o < last {
			return fmt.Errorf("%w: offsets go back", ErrCorrupt)
		}
		last = o
	}
	if int(last) > len(v.data) {
		return fmt.Errorf("%w: offset %d of %d bytes", ErrCorrupt, last, len(v.data))
	}
	return nil
}

// verify compares what was read with what END and the caller say. It returns io.EOF if all is well.
func (r *RunReader) verify() error {
	e := r.in.end
	s := Section{
		Records: int64(binary.LittleEndian.Uint64(e[0:])),
		Emitted: int64(binary.LittleEndian.Uint64(e[8:])),
		Digest:  binary.LittleEndian.Uint64(e[16:]),
	}
	if s.Records != r.records {
		return fmt.Errorf("%w: %d records, its end says %d", ErrCorrupt, r.records, s.Records)
	}
	if n := int64(binary.LittleEndian.Uint64(e[24:])); n != r.in.bytes {
		return fmt.Errorf("%w: %d bytes, its end says %d", ErrCorrupt, r.in.bytes, n)
	}
	if r.opts.DigestKey != 0 && s.Records == s.Emitted && s.Digest != r.digest {
		return fmt.Errorf("%w: digest of records is %016x, its end says %016x", ErrCorrupt, r.digest, s.Digest)
	}
	if x := r.opts.Expect; x != nil && (x.Records != s.Records || x.Emitted != s.Emitted || x.Digest != s.Digest) {
		return fmt.Errorf("%w: has %d records of %d with digest %016x, wanted %d of %d with %016x", ErrCorrupt,
			s.Records, s.Emitted, s.Digest, x.Records, x.Emitted, x.Digest)
	}
	r.end = s
	return io.EOF
}

// A payloadReader is the stream that the DATA frames of a section make. Its end is io.EOF only after an END frame.
type payloadReader struct {
	frames frameReader
	rest   []byte
	bytes  int64
	end    [endSize]byte
	err    error
}

func (p *payloadReader) Read(b []byte) (int, error) {
	if err := p.fill(); err != nil {
		return 0, err
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// fill returns nil if there are more bytes.
func (p *payloadReader) fill() error {
	for len(p.rest) == 0 {
		if p.err != nil {
			return p.err
		}
		kind, payload, err := p.frames.next()
		switch {
		case err != nil:
			p.err = truncated(err)
		case kind == frameData:
			p.rest = payload
			p.bytes += int64(len(payload))
		case len(payload) != endSize:
			p.err = fmt.Errorf("%w: an end of %d bytes", ErrCorrupt, len(payload))
		default:
			copy(p.end[:], payload)
			p.err = io.EOF
		}
	}
	return nil
}

// truncated makes a section that stops short corrupt, whatever the stream that it came by.
func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the section has no end: %w", ErrCorrupt, err)
	}
	return err
}
