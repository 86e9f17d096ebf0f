package guest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"time"
)

// Meta is what a guest is told about an object before its bytes.
type Meta struct {
	Key      string
	URI      string
	ETag     string
	Size     int64     // -1 if unknown
	Modified time.Time // zero if unknown
}

// EncodeParams returns the frame that gives a guest its parameters. It goes in front of the first object or record; a
// runner encodes it once per job.
func EncodeParams(params map[string]string) ([]byte, error) {
	p := []byte{kindParams, 0, 0, 0, 0}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		p = appendString(appendString(p, name), params[name])
		if len(p) > maxParams {
			return nil, errors.New("parameters are larger than 1 MiB")
		}
	}
	binary.BigEndian.PutUint32(p[1:], uint32(len(p)-headerLen))
	return p, nil
}

// headerLen is the length of the header of a frame of stdin: its kind and a u32.
const headerLen = 5

// ObjectStream returns the part of a guest's stdin that carries one object: params (from EncodeParams, or nil) and meta, then
// data if it is not nil, else body to its end. Data is not copied but into the reader's caller. An error of body, or meta that
// is out of bounds, is the error of the stream; the guest cannot mistake it for the object's end.
// Streams may be concatenated with io.MultiReader.
func ObjectStream(params []byte, m *Meta, body io.Reader, data []byte) io.Reader {
	head, err := appendMeta(append(make([]byte, 0, len(params)+256), params...), m)
	if err != nil {
		return &objectStream{err: err}
	}
	s := &objectStream{pending: [2][]byte{head}, body: body}
	if data != nil || body == nil {
		s.body = nil
		if len(data) > math.MaxUint32 {
			s.pending[0], s.err = nil, errors.New("object in memory is larger than 4 GiB")
			return s
		}
		if len(data) > 0 {
			s.pending[0] = appendHeader(s.pending[0], kindData, len(data))
			s.pending[1] = data
		}
	}
	return s
}

// AppendObject appends what [ObjectStream] would carry of an object that is in memory. Meta that is out of bounds is an error.
func AppendObject(dst []byte, m *Meta, data []byte) ([]byte, error) {
	dst, err := appendMeta(dst, m)
	if err != nil {
		return dst, err
	}
	if len(data) > 0 {
		dst = append(appendHeader(dst, kindData, len(data)), data...)
	}
	return appendHeader(dst, kindEnd, 0), nil
}

// AppendMemory is AppendObject for data that lies at off in the memory shared with the guest.
func AppendMemory(dst []byte, m *Meta, off, n int) ([]byte, error) {
	dst, err := appendMeta(dst, m)
	if err != nil {
		return dst, err
	}
	dst = appendHeader(dst, kindMemory, placeLen)
	dst = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(dst, uint32(off)), uint32(n))
	return appendHeader(dst, kindEnd, 0), nil
}

// placeLen is the length of a place in memory: two u32.
const placeLen = 8

// ObjectSize returns a bound of what AppendObject appends, in bytes.
func ObjectSize(m *Meta, data []byte) int {
	return 3*headerLen + 5*binary.MaxVarintLen64 + len(m.Key) + len(m.URI) + len(m.ETag) + len(data)
}

func appendMeta(dst []byte, m *Meta) ([]byte, error) {
	start := len(dst)
	dst = append(dst, kindObject, 0, 0, 0, 0)
	dst = appendString(dst, m.Key)
	dst = appendString(dst, m.URI)
	dst = appendString(dst, m.ETag)
	dst = binary.AppendVarint(dst, m.Size)
	dst = binary.AppendVarint(dst, nanos(m.Modified))
	n := len(dst) - start - headerLen
	if n > maxObject {
		return dst[:start], errors.New("object's name and metadata are larger than 64 KiB")
	}
	binary.BigEndian.PutUint32(dst[start+1:], uint32(n))
	return dst, nil
}

// unknownTime stands for a zero time.
const unknownTime = math.MinInt64

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return unknownTime
	}
	return t.UnixNano()
}

type objectStream struct {
	pending [2][]byte // to be read first, in order
	body    io.Reader // then this, in frames; nil if it has ended
	end     bool      // the end frame was made
	err     error
	small   [headerLen + 512]byte
}

// Read gives as much as p holds of what needs no waiting, so that a small object that is in memory is read at once.
func (s *objectStream) Read(p []byte) (int, error) {
	total := 0
	for total < len(p) {
		if n := s.take(p[total:]); n > 0 {
			total += n
			continue
		}
		switch {
		case s.err != nil, s.body == nil && s.end:
			if total == 0 && s.err == nil {
				return 0, io.EOF
			}
			if total == 0 {
				return 0, s.err
			}
			return total, nil
		case s.body == nil:
			s.pending[0] = appendHeader(s.small[:0], kindEnd, 0)
			s.end = true
		case total > 0:
			return total, nil
		case len(p) >= len(s.small):
			// The body is read to where the guest wants it, its header put in front.
			if n := s.frame(p); n > 0 {
				return n, nil
			}
		default:
			s.pending[0] = s.small[:s.frame(s.small[:])]
		}
	}
	return total, nil
}

// take copies what is pending.
func (s *objectStream) take(p []byte) int {
	for i := range s.pending {
		if len(s.pending[i]) > 0 {
			n := copy(p, s.pending[i])
			s.pending[i] = s.pending[i][n:]
			return n
		}
	}
	return 0
}

// frame reads some of the body into p behind a header and returns the length of both, 0 if there is no more.
func (s *objectStream) frame(p []byte) int {
	n, err := s.body.Read(p[headerLen:min(len(p), 1<<20)])
	if err == io.EOF {
		s.body = nil
	} else if err != nil {
		s.err = err
	}
	if n <= 0 {
		return 0
	}
	appendHeader(p[:0], kindData, n)
	return headerLen + n
}

// Objects reads objects from a guest's stdin, on the guest's side.
type Objects struct {
	r       *bufio.Reader
	out     *Answers
	params  map[string]string
	memory  []byte // shared with the runner
	inBody  bool
	left    int    // bytes left of the current data frame
	lying   []byte // what is left of the current memory frame
	current Meta
	data    []byte // of inline objects that are larger than the reader's buffer
}

// inputBuffer is the buffer of a guest's stdin, in bytes.
const inputBuffer = 64 << 10

// NewObjects returns an Objects that reads r. What was answered on out is sent before r is asked for more.
func NewObjects(r io.Reader, out *Answers) *Objects {
	return &Objects{out: out, r: bufio.NewReaderSize(readerFunc(func(p []byte) (int, error) {
		if err := out.Flush(); err != nil {
			return 0, err
		}
		return r.Read(p)
	}), inputBuffer)}
}

// Share says where the memory lies that the runner shares. It is not written to.
func (o *Objects) Share(memory []byte) { o.memory = memory }

// Params returns the parameters that hold for the current object. They are not to be changed.
func (o *Objects) Params() map[string]string { return o.params }

// Next skips what is left of the current object and returns the next one, valid until Next is called again.
// It returns io.EOF at the end of the work.
func (o *Objects) Next() (*Meta, error) {
	o.lying = nil
	if err := o.skip(); err != nil {
		return nil, err
	}
	kind, n, err := readHeader(o.r)
	if err != nil {
		return nil, err
	}
	if kind == kindParams {
		if o.params, err = readParams(o.r, n); err != nil {
			return nil, err
		}
		if kind, n, err = readHeader(o.r); err != nil {
			return nil, noEOF(err)
		}
	}
	if kind == kindParts {
		if o.out.partitions, err = readPartitions(o.r, n); err != nil {
			return nil, err
		}
		if kind, n, err = readHeader(o.r); err != nil {
			return nil, noEOF(err)
		}
	}
	if kind == kindRepeat {
		if n != 0 {
			return nil, protocolError("malformed leave to repeat")
		}
		o.out.repeats = true
		if kind, n, err = readHeader(o.r); err != nil {
			return nil, noEOF(err)
		}
	}
	if kind != kindObject || n > maxObject {
		return nil, protocolError("no object where one must begin")
	}
	p, err := o.piece(n)
	if err != nil {
		return nil, err
	}
	f := fields{s: string(p)}
	o.current = Meta{Key: f.string(), URI: f.string(), ETag: f.string(), Size: f.varint()}
	if ns := f.varint(); ns != unknownTime {
		o.current.Modified = time.Unix(0, ns).UTC()
	}
	if !f.done() {
		return nil, protocolError("malformed object metadata")
	}
	o.inBody, o.left, o.lying = true, 0, nil
	return &o.current, nil
}

// piece returns the next n bytes, valid until more is read.
func (o *Objects) piece(n int) ([]byte, error) {
	if n <= inputBuffer {
		p, err := o.r.Peek(n)
		if err == nil {
			_, err = o.r.Discard(n)
		}
		return p, noEOF(err)
	}
	if cap(o.data) < n {
		o.data = make([]byte, n)
	}
	_, err := io.ReadFull(o.r, o.data[:n])
	return o.data[:n], noEOF(err)
}

// skip skips what is left of the current object.
func (o *Objects) skip() error {
	for o.inBody {
		if err := o.frame(); err != nil {
			return err
		}
		n, err := o.r.Discard(o.left)
		if o.left -= n; err != nil {
			return noEOF(err)
		}
		o.lying = nil
	}
	return nil
}

// frame sees to it that there are bytes left of a data frame or in memory, or none of the object.
func (o *Objects) frame() error {
	for o.inBody && o.left == 0 && len(o.lying) == 0 {
		kind, n, err := readHeader(o.r)
		switch {
		case err != nil:
			return noEOF(err)
		case kind == kindData:
			o.left = n
		case kind == kindMemory:
			if o.lying, err = o.place(n); err != nil {
				return err
			}
		case kind == kindEnd && n == 0:
			o.inBody = false
		default:
			return protocolError("no data where an object's bytes must be")
		}
	}
	return nil
}

// Inline returns all bytes of the current object if they are at most limit and came in one piece, else nil. They are valid until Next is
// called, and not to be changed. It is called before the first Read, if at all, and nothing is left to be read if it returns bytes,
// which may lie in memory that cannot be written.
func (o *Objects) Inline(limit int) ([]byte, error) {
	if o.current.Size <= 0 || o.current.Size > int64(limit) {
		return nil, nil
	}
	head, err := o.r.Peek(headerLen)
	if err != nil {
		return nil, noEOF(err)
	}
	if head[0] == kindMemory {
		return o.inlineMemory()
	}
	if n := binary.BigEndian.Uint32(head[1:]); head[0] != kindData || int64(n) != o.current.Size {
		return nil, nil
	}
	if _, err := o.r.Discard(headerLen); err != nil {
		return nil, noEOF(err)
	}
	p, err := o.piece(int(o.current.Size))
	return p[:len(p):len(p)], err
}

// inlineMemory is Inline where a memory frame follows.
func (o *Objects) inlineMemory() ([]byte, error) {
	_, n, err := readHeader(o.r)
	if err != nil {
		return nil, noEOF(err)
	}
	p, err := o.place(n)
	if err == nil && int64(len(p)) != o.current.Size {
		o.lying, p = p, nil
	}
	return p, err
}

// place reads the n bytes of a memory frame and returns what lies there.
func (o *Objects) place(n int) ([]byte, error) {
	if n != placeLen {
		return nil, protocolError("malformed place in memory")
	}
	p, err := o.piece(n)
	if err != nil {
		return nil, err
	}
	off, size := uint64(binary.BigEndian.Uint32(p)), uint64(binary.BigEndian.Uint32(p[4:]))
	if off+size > uint64(len(o.memory)) {
		return nil, protocolError("place outside of the shared memory")
	}
	return o.memory[off : off+size : off+size], nil
}

// Read reads the current object's bytes.
func (o *Objects) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := o.frame(); err != nil {
		return 0, err
	}
	if len(o.lying) > 0 {
		n := copy(p, o.lying)
		o.lying = o.lying[n:]
		return n, nil
	}
	if !o.inBody {
		return 0, io.EOF
	}
	n, err := o.r.Read(p[:min(len(p), o.left)])
	o.left -= n
	return n, noEOF(err)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
