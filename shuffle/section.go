package shuffle

import (
	"encoding/binary"
	"io"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

const (
	maxPayload   = 1 << 20
	endSize      = 32
	maxSchema    = 64 << 10  // bytes of the schema message, which has some hundred
	batchRecords = 64 << 10  // most records in a batch
	batchBytes   = 256 << 10 // a batch is full with so many; readers allow 1 MiB
)

var (
	sectionFrames = &framing{magic: "MS", limit: [5]int{frameData: maxPayload + 1, frameEnd: endSize + 1}}

	schema = arrow.NewSchema([]arrow.Field{
		{Name: "key", Type: arrow.BinaryTypes.Binary},
		{Name: "value", Type: arrow.BinaryTypes.Binary},
	}, nil)
)

// A sectionWriter writes one section after the other. Its buffers serve them all.
type sectionWriter struct {
	w          io.Writer
	key, value column
	records    int64
	arrow      *ipc.Writer // nil before the first batch of a section
	frame      []byte      // a header's room, then the payload so far
	seq        uint32
	written    int64 // bytes of the section
	payload    int64 // bytes of its DATA payloads
}

// A column collects byte strings as Arrow's binary layout has them.
type column struct {
	offsets []int32
	data    []byte
}

func (c *column) reset() { c.offsets, c.data = append(c.offsets[:0], 0), c.data[:0] }

func (c *column) add(b []byte) {
	c.data = append(c.data, b...)
	c.offsets = append(c.offsets, int32(len(c.data)))
}

func (c *column) len() int { return len(c.offsets) - 1 }

func (c *column) array() arrow.Array {
	offsets := memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(c.offsets))
	d := array.NewData(arrow.BinaryTypes.Binary, c.len(), []*memory.Buffer{nil, offsets, memory.NewBufferBytes(c.data)}, nil, 0, 0)
	defer d.Release()
	return array.NewBinaryData(d)
}

func newSectionWriter(w io.Writer) *sectionWriter {
	return &sectionWriter{w: w, frame: make([]byte, frameHeader, frameHeader+batchBytes)}
}

func (w *sectionWriter) reset() {
	w.key.reset()
	w.value.reset()
	w.arrow = nil
	w.records, w.seq, w.written, w.payload = 0, 0, 0, 0
	w.frame = w.frame[:frameHeader]
}

// add appends the next record in order.
func (w *sectionWriter) add(key, value []byte) error {
	if n := w.key.len(); n > 0 && (n == batchRecords || len(w.key.data)+len(w.value.data)+len(key)+len(value) > batchBytes) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.key.add(key)
	w.value.add(value)
	return nil
}

// flush writes the batch that was collected.
func (w *sectionWriter) flush() error {
	if w.arrow == nil {
		w.arrow = ipc.NewWriter((*payloadWriter)(w), ipc.WithSchema(schema))
	}
	k, v := w.key.array(), w.value.array()
	rec := array.NewRecord(schema, []arrow.Array{k, v}, int64(w.key.len()))
	err := w.arrow.Write(rec)
	rec.Release()
	k.Release()
	v.Release()
	w.records += int64(w.key.len())
	w.key.reset()
	w.value.reset()
	return err
}

// end completes the section, with the counts of sec, and returns its length in bytes.
func (w *sectionWriter) end(sec Section) (int64, error) {
	if w.key.len() > 0 {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	if w.arrow != nil {
		if err := w.arrow.Close(); err != nil {
			return 0, err
		}
		if err := w.send(frameData); err != nil {
			return 0, err
		}
	}
	w.frame = binary.LittleEndian.AppendUint64(w.frame, uint64(w.records))
	w.frame = binary.LittleEndian.AppendUint64(w.frame, uint64(sec.Emitted))
	w.frame = binary.LittleEndian.AppendUint64(w.frame, sec.Digest)
	w.frame = binary.LittleEndian.AppendUint64(w.frame, uint64(w.payload))
	if err := w.send(frameEnd); err != nil {
		return 0, err
	}
	return w.written, nil
}

// send writes the frame whose payload was collected.
func (w *sectionWriter) send(kind byte) error {
	sectionFrames.sealFrame(w.frame, kind, w.seq)
	n, err := w.w.Write(w.frame)
	w.seq++
	w.written += int64(n)
	if kind == frameData {
		w.payload += int64(len(w.frame) - frameHeader)
	}
	w.frame = w.frame[:frameHeader]
	return err
}

// A payloadWriter is the side of a sectionWriter that the Arrow encoder writes to.
type payloadWriter sectionWriter

func (p *payloadWriter) Write(b []byte) (int, error) {
	w, n := (*sectionWriter)(p), len(b)
	for len(b) > 0 {
		room := min(len(b), frameHeader+maxPayload-len(w.frame))
		w.frame = append(w.frame, b[:room]...)
		b = b[room:]
		if len(w.frame) >= frameHeader+batchBytes {
			if err := w.send(frameData); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}
