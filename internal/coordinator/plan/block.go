package plan

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"sync"
	"time"
	"unsafe"

	"github.com/klauspost/compress/s2"

	"github.com/millrace/millrace/store"
)

const (
	magic     = "MRPL"
	version   = 1
	codecS2   = 1
	headerLen = 20

	maxName   = 8 << 10  // bytes of one key or ETag
	maxRaw    = 80 << 20 // bytes of a payload before compression: MaxObjects names of the greatest length
	maxPacked = maxRaw + maxRaw/4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An encoder gathers the objects of one block at a time. Its memory is used again for the next.
type encoder struct {
	count  int
	runs   []run
	fields []byte // what is said about each object
	keys   []byte
	etags  []byte
	last   int64 // seconds of the last object's modification
}

// size returns how many bytes the encoder takes.
func (e *encoder) size() int64 {
	return int64(cap(e.fields) + cap(e.keys) + cap(e.etags) + cap(e.runs)*int(unsafe.Sizeof(run{})))
}

// A run is a number of consecutive objects of one input.
type run struct{ input, objects int }

// encodable says what of an object no block can hold.
func encodable(o *store.Object) error {
	if len(o.Key) > maxName || len(o.ETag) > maxName {
		return fmt.Errorf("key of %d bytes with an ETag of %d: more than %d", len(o.Key), len(o.ETag), maxName)
	}
	if o.Size < 0 {
		return fmt.Errorf("size of %d bytes", o.Size)
	}
	return nil
}

// add appends an object, which is encodable, to the block.
func (e *encoder) add(input int, o *store.Object) {
	if n := len(e.runs); n == 0 || e.runs[n-1].input != input {
		e.runs = append(e.runs, run{input: input})
	}
	e.runs[len(e.runs)-1].objects++
	e.count++

	e.fields = binary.AppendUvarint(e.fields, uint64(len(o.Key)))
	e.fields = binary.AppendUvarint(e.fields, uint64(len(o.ETag)))
	e.fields = binary.AppendUvarint(e.fields, uint64(o.Size))
	sec := o.Modified.Unix()
	e.fields = binary.AppendVarint(e.fields, sec-e.last)
	e.fields = binary.AppendUvarint(e.fields, uint64(o.Modified.Nanosecond()))
	e.last = sec
	e.keys = append(e.keys, o.Key...)
	e.etags = append(e.etags, o.ETag...)
}

// seal returns the block and its payload before compression, which it makes in scratch if there is room, and makes the encoder ready for the next block.
func (e *encoder) seal(scratch []byte) (block, payload []byte) {
	raw := binary.AppendUvarint(scratch[:0], uint64(e.count))
	raw = binary.AppendUvarint(raw, uint64(len(e.runs)))
	for _, r := range e.runs {
		raw = binary.AppendUvarint(raw, uint64(r.input))
		raw = binary.AppendUvarint(raw, uint64(r.objects))
	}
	raw = append(raw, e.fields...)
	raw = append(raw, e.keys...)
	raw = append(raw, e.etags...)

	block = make([]byte, headerLen+s2.MaxEncodedLen(len(raw)))
	packed := s2.Encode(block[headerLen:], raw)
	block = block[:headerLen+len(packed)]
	copy(block, magic)
	block[4], block[5] = version, codecS2
	binary.LittleEndian.PutUint32(block[8:], uint32(len(raw)))
	binary.LittleEndian.PutUint32(block[12:], uint32(len(packed)))
	binary.LittleEndian.PutUint32(block[16:], checksum(block))

	e.count, e.last = 0, 0
	e.runs, e.fields, e.keys, e.etags = e.runs[:0], e.fields[:0], e.keys[:0], e.etags[:0]
	return block, raw
}

func checksum(block []byte) uint32 {
	return crc32.Update(crc32.Checksum(block[:16], castagnoli), castagnoli, block[headerLen:])
}

// scratch holds payloads while they are decoded.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// decode returns the objects of a block. Their keys and ETags share one string.
func decode(block []byte) ([]Object, error) {
	switch {
	case len(block) < headerLen || string(block[:4]) != magic:
		return nil, fmt.Errorf("%w: not a block", ErrCorrupt)
	case block[4] != version || block[5] != codecS2 || block[6] != 0 || block[7] != 0:
		return nil, fmt.Errorf("%w: block of version %d, compression %d is unknown", ErrCorrupt, block[4], block[5])
	}
	rawLen := binary.LittleEndian.Uint32(block[8:])
	if packed := binary.LittleEndian.Uint32(block[12:]); uint64(packed) != uint64(len(block)-headerLen) {
		return nil, fmt.Errorf("%w: block of %d bytes announces %d", ErrCorrupt, len(block)-headerLen, packed)
	}
	if binary.LittleEndian.Uint32(block[16:]) != checksum(block) {
		return nil, fmt.Errorf("%w: checksum mismatch", ErrCorrupt)
	}
	if n, err := s2.DecodedLen(block[headerLen:]); err != nil || n > maxRaw || uint32(n) != rawLen {
		return nil, fmt.Errorf("%w: payload does not have its announced length", ErrCorrupt)
	}
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	raw, err := s2.Decode((*buf)[:cap(*buf)], block[headerLen:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	*buf = raw
	return parse(raw)
}

// parse reads a payload.
func parse(raw []byte) ([]Object, error) {
	f := fields{b: raw}
	count := f.uvarint(MaxObjects)
	runs := make([]run, f.uvarint(uint64(count)))
	total := 0
	for i := range runs {
		runs[i] = run{input: f.uvarint(math.MaxInt32), objects: f.uvarint(uint64(count))}
		total += runs[i].objects
	}
	// The least that is said about an object is five bytes: no count makes us allocate more than it sent.
	if f.bad || total != count || len(f.b) < 5*count {
		return nil, fmt.Errorf("%w: counts do not match", ErrCorrupt)
	}
	type lengths struct{ key, etag int32 }
	lens := make([]lengths, count)
	objects := make([]Object, count)
	var keys, etags int
	var sec int64
	for i := range objects {
		k, t := f.uvarint(maxName), f.uvarint(maxName)
		lens[i] = lengths{int32(k), int32(t)}
		keys, etags = keys+k, etags+t
		objects[i].Size = int64(f.uvarint(math.MaxInt64))
		sec += f.varint()
		objects[i].Modified = time.Unix(sec, int64(f.uvarint(999_999_999))).UTC()
	}
	if f.bad || keys+etags != len(f.b) {
		return nil, fmt.Errorf("%w: lengths do not match", ErrCorrupt)
	}
	text := string(f.b)
	k, t := 0, keys
	n := 0
	for _, r := range runs {
		for range r.objects {
			o, l := &objects[n], lens[n]
			o.Input = r.input
			o.Key = store.Key(text[k : k+int(l.key)])
			o.ETag = text[t : t+int(l.etag)]
			k, t = k+int(l.key), t+int(l.etag)
			n++
		}
	}
	return objects, nil
}

// fields reads varints off the front of b. After the first that is malformed or too large it gives zeros.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) uvarint(limit uint64) int {
	v, n := binary.Uvarint(f.b)
	if n <= 0 || v > limit {
		f.bad, f.b = true, nil
		return 0
	}
	f.b = f.b[n:]
	return int(v)
}

func (f *fields) varint() int64 {
	v, n := binary.Varint(f.b)
	if n <= 0 {
		f.bad, f.b = true, nil
		return 0
	}
	f.b = f.b[n:]
	return v
}

// text takes n bytes.
func (f *fields) text(n int) string {
	if n > len(f.b) {
		f.bad, f.b = true, nil
		return ""
	}
	t := string(f.b[:n])
	f.b = f.b[n:]
	return t
}
