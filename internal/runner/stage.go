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
	repeats    bool  // equal records may come together
	input      int   // which of the job's inputs the object is of

	chunks  [][]byte // records: key length u32, value length u32, [times u64,] key, value
	chunk   int      // the one that is being filled
	held    int64    // bytes of records as they were emitted, one by one
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
func (s *stage) Record(key, value []byte) error { return s.Records(key, value, 1) }

// repeated, in the length of a key, says that the record came several times.
const repeated = 1 << 31

// Records emits n equal records. Limits hold as if they came one by one.
func (s *stage) Records(key, value []byte, n int64) error {
	if n > 1 && !s.repeats {
		return fmt.Errorf("%w: equal records together, without leave", guest.ErrProtocol)
	}
	if s.textual {
		s.text = format.AppendLine(s.text, s.format, s.types.Key, s.types.Acc, key, value)
		s.lines++
	} else {
		if s.types.Partitions {
			if _, _, err := guest.CutPartition(value, s.partitions); err != nil {
				return err
			}
		}
		size := 8 + len(key) + len(value)
		n = 1 + max(0, min(n-1, (s.limits.Output-s.held-int64(len(s.text)))/int64(size), s.limits.Records-s.records-s.lines)) // one too many is enough
		head := uint32(len(key))
		if n > 1 {
			head |= repeated
			size += 8
		}
		c := s.room(size)
		b := binary.LittleEndian.AppendUint32(*c, head)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
		if n > 1 {
			b = binary.LittleEndian.AppendUint64(b, uint64(n))
		}
		*c = append(append(b, key...), value...)
		s.records += n
		s.held += n * int64(8+len(key)+len(value))
	}
	return s.check()
}

// stageChunk is what records are kept in: what grew in one piece would be copied again and again, and take twice the memory.
const stageChunk = 256 << 10

// room returns the chunk that takes the next n bytes.
func (s *stage) room(n int) *[]byte {
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

// each calls f with all records, in the order in which they came, and with how many there are of each.
func (s *stage) each(f func(key, value []byte, n int64) error) error {
	for _, b := range s.filled() {
		for len(b) > 0 {
			k, v, n := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), int64(1)
			if b = b[8:]; k&repeated != 0 {
				k, n, b = k&^repeated, int64(binary.LittleEndian.Uint64(b)), b[8:]
			}
			if err := f(b[:k:k], b[k:k+v:k+v], n); err != nil {
				return err
			}
			b = b[k+v:]
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
