package runner

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/millrace/millrace/internal/format"
	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
)

// A stage holds what the mapper of one object emits until it is known whether it succeeded. It is the Emitter of that object.
type stage struct {
	limits     job.Limits
	types      guest.Description
	format     job.Format
	textual    bool  // records are output, not shuffled
	partitions int   // of records that are shuffled
	silent     error // of text, if that is not output
	input      int   // which of the job's inputs the object is of

	chunks  [][]byte // records: key length u32, value length u32, key, value
	chunk   int      // the one that is being filled
	held    int64    // bytes in chunks
	records int64
	text    []byte
	lines   int64 // in text
	counts  map[string]int64
}

func (s *stage) reset() {
	for i, c := range s.filled() {
		if s.chunks[i] = c[:0]; cap(c) > 4*stageChunk {
			s.chunks[i] = nil // it was for one large record
		}
	}
	s.chunk, s.held, s.text, s.records, s.lines = 0, 0, s.text[:0], 0, 0
	clear(s.counts)
}

// Record emits a record.
func (s *stage) Record(key, value []byte) error {
	if s.textual {
		s.text = format.AppendLine(s.text, s.format, s.types.Key, s.types.Acc, key, value)
		s.lines++
	} else {
		if s.types.Partitions {
			if _, _, err := guest.CutPartition(value, s.partitions); err != nil {
				return err
			}
		}
		c := s.room(8 + len(key) + len(value))
		b := binary.LittleEndian.AppendUint32(*c, uint32(len(key)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
		*c = append(append(b, key...), value...)
		s.records++
	}
	return s.check()
}

// stageChunk is what records are kept in: what grew in one piece would be copied again and again, and take twice the memory.
const stageChunk = 256 << 10

// room returns the chunk that takes the next n bytes.
func (s *stage) room(n int) *[]byte {
	s.held += int64(n)
	for ; s.chunk < len(s.chunks); s.chunk++ {
		c := &s.chunks[s.chunk]
		if len(*c) == 0 && cap(*c) < n {
			*c = make([]byte, 0, max(n, stageChunk))
		}
		if cap(*c)-len(*c) >= n {
			return c
		}
	}
	s.chunks = append(s.chunks, make([]byte, 0, max(n, stageChunk)))
	return &s.chunks[s.chunk]
}

// Partitions returns how many partitions there are.
func (s *stage) Partitions() int { return s.partitions }

// Text emits bytes of output as they are.
func (s *stage) Text(p []byte) error {
	if s.silent != nil && len(p) > 0 {
		return s.silent
	}
	s.text = append(s.text, p...)
	s.lines += int64(bytes.Count(p, []byte{'\n'}))
	return s.check()
}

// Count adds to a counter.
func (s *stage) Count(name string, n int64) {
	if _, ok := s.counts[name]; ok || len(s.counts) < maxCounters && len(name) <= maxCounterName {
		s.counts[name] += n
	}
}

// Counters beyond these bounds are dropped.
const (
	maxCounters    = 256
	maxCounterName = 128
)

func (s *stage) check() error {
	if n := s.held + int64(len(s.text)); n > s.limits.Output {
		return fmt.Errorf("output %w: %s of %s", sandbox.ErrLimit, bytesText(n), bytesText(s.limits.Output))
	}
	if n := s.records + s.lines; n > s.limits.Records {
		return fmt.Errorf("records %w: %d of %d", sandbox.ErrLimit, n, s.limits.Records)
	}
	return nil
}

// filled returns the chunks that hold records.
func (s *stage) filled() [][]byte { return s.chunks[:min(s.chunk+1, len(s.chunks))] }

// each calls f with every record, in the order they were emitted.
func (s *stage) each(f func(key, value []byte) error) error {
	for _, b := range s.filled() {
		for len(b) > 0 {
			k, v := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
			key, value := b[8:8+k], b[8+k:8+k+v]
			if err := f(key, value); err != nil {
				return err
			}
			b = b[8+k+v:]
		}
	}
	return nil
}

// bytesText writes n bytes for people.
func bytesText(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
