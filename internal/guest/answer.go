package guest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// Answers writes a guest's replies, on the guest's side, and holds them back until Flush or until there are many. Errors of the
// writer are sticky.
type Answers struct {
	w          *bufio.Writer
	records    uint64
	partitions int
	repeats    bool // the runner takes equal records together
	tally      tally
	head       [1 + 2*binary.MaxVarintLen64]byte
}

// NewAnswers returns Answers that write to w.
func NewAnswers(w io.Writer) *Answers { return &Answers{w: bufio.NewWriterSize(w, 64<<10)} }

// Partitions returns how many partitions there are, if the runner has said so, else 0.
func (a *Answers) Partitions() int { return a.partitions }

// Record emits a record. An error says that it is too long, or is one of the writer.
func (a *Answers) Record(key, value []byte) error {
	if len(key) > DefaultBounds.Key {
		return errors.New("key is longer than 1 MiB")
	}
	if len(value) > DefaultBounds.Value {
		return errors.New("value is longer than 64 MiB")
	}
	a.records++
	if a.repeats && a.records > tallyAfter {
		return a.tallied(key, value)
	}
	return a.record(key, value)
}

// record sends a record.
func (a *Answers) record(key, value []byte) error {
	if len(key)+len(value)+len(a.head) <= a.w.Available() {
		b := append(append(recordHead(a.w.AvailableBuffer(), key, value), key...), value...)
		_, err := a.w.Write(b) // it lies there already
		return err
	}
	a.w.Write(recordHead(a.head[:0], key, value))
	a.w.Write(key)
	_, err := a.w.Write(value)
	return err
}

// Text emits whole lines.
func (a *Answers) Text(p []byte) error {
	if len(p) > DefaultBounds.Value {
		return errors.New("text is longer than 64 MiB")
	}
	a.records++
	a.w.Write(binary.AppendUvarint(append(a.head[:0], kindText), uint64(len(p))))
	_, err := a.w.Write(p)
	return err
}

// Count adds n to the counter of that name, which is cut to 256 bytes.
func (a *Answers) Count(name string, n int64) {
	name = name[:min(len(name), maxName)]
	a.w.Write(binary.AppendUvarint(append(a.head[:0], kindCount), uint64(len(name))))
	a.w.WriteString(name)
	a.w.Write(binary.AppendVarint(a.head[:0], n))
}

// OK ends the replies for an object that was mapped.
func (a *Answers) OK() error {
	a.sendTally()
	_, err := a.w.Write(binary.AppendUvarint(append(a.head[:0], kindOK), a.records))
	a.begin()
	return err
}

// Fail ends the replies for a bad object. A long reason is cut.
func (a *Answers) Fail(reason string) error {
	reason = reason[:min(len(reason), maxReason)]
	a.w.Write(binary.AppendUvarint(append(a.head[:0], kindFail), uint64(len(reason))))
	_, err := a.w.WriteString(reason)
	a.begin()
	return err
}

// begin makes ready for the replies for the next object.
func (a *Answers) begin() {
	a.records = 0
	a.tally.reset()
}

// Flush sends what is held back.
func (a *Answers) Flush() error { return a.w.Flush() }
