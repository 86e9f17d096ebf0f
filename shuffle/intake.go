package shuffle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"slices"
	"sync"
)

const (
	sectionMagic  = "MT"
	sectionHeader = 40
	maxTag        = 255
)

// WriteSection writes the section that r holds to w, usually a netpipe, for an Intake to receive: a header with its tag
// and counts, then the section's Length bytes, opaque. A shorter r is io.ErrUnexpectedEOF; w is of no use after an error.
//
// The tag names the map attempt that the section is of; it has 1 to 255 bytes.
func WriteSection(w io.Writer, tag string, r io.Reader, s Section) error {
	if len(tag) == 0 || len(tag) > maxTag {
		return fmt.Errorf("a section's tag has %d bytes, not 1 to %d", len(tag), maxTag)
	}
	if s.Length < 0 {
		return fmt.Errorf("section %s: length %d", tag, s.Length)
	}
	h := append(make([]byte, 0, sectionHeader+maxTag), sectionMagic...)
	h = append(h, formatVersion, byte(len(tag)))
	for _, n := range []uint64{uint64(s.Length), uint64(s.Records), uint64(s.Emitted), s.Digest} {
		h = binary.LittleEndian.AppendUint64(h, n)
	}
	sum := crc32.Update(crc32.Checksum(h, castagnoli), castagnoli, []byte(tag))
	h = append(binary.LittleEndian.AppendUint32(h, sum), tag...)
	if _, err := w.Write(h); err != nil {
		return fmt.Errorf("section %s: %w", tag, err)
	}
	if n, err := io.CopyBuffer(onlyWriter{w}, io.LimitReader(r, s.Length), make([]byte, min(s.Length, pipePayload)+1)); err != nil {
		return fmt.Errorf("section %s: %w", tag, err)
	} else if n != s.Length {
		return fmt.Errorf("section %s: %w after %d of %d bytes", tag, io.ErrUnexpectedEOF, n, s.Length)
	}
	return nil
}

// onlyWriter hides a ReadFrom, which would not use our buffer.
type onlyWriter struct{ io.Writer }

// Expect is what the sections of one tag come to together.
type Expect struct {
	Emitted int64  `json:"emitted"`
	Digest  uint64 `json:"digest"`
}

// An Intake receives the sections of one partition and keeps them in memory until it is told which of them count.
// Its methods may be called concurrently.
type Intake struct {
	budget    int64
	digestKey uint64

	mu       sync.Mutex
	sections map[string][]received
	held     int64
	records  int64
}

type received struct {
	Section
	data []byte
}

// IntakeOptions say how much an Intake may keep. The zero value of a field means its default.
type IntakeOptions struct {
	Budget    int64  // bytes of sections; 0 means 256 MiB
	DigestKey uint64 // the secret of Digest; if given, uncombined runs are verified with it
}

// NewIntake returns an empty Intake. Nil opts mean defaults.
func NewIntake(opts *IntakeOptions) *Intake {
	in := &Intake{budget: defaultBudget, sections: map[string][]received{}}
	if opts != nil {
		in.digestKey = opts.DigestKey
		if opts.Budget > 0 {
			in.budget = opts.Budget
		}
	}
	return in
}

// Receive reads sections from r, usually a netpipe, until it ends. Sections that were complete before an error are kept.
// It may be called again, and concurrently, with other streams; sections of one tag add up.
func (in *Intake) Receive(r io.Reader) error {
	h := make([]byte, sectionHeader+maxTag)
	for {
		if _, err := io.ReadFull(r, h[:sectionHeader]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := in.receive(r, h); err != nil {
			return err
		}
	}
}

// receive reads the rest of a section, of whose header the fixed part is in h.
func (in *Intake) receive(r io.Reader, h []byte) error {
	if string(h[:2]) != sectionMagic {
		return fmt.Errorf("%w: a section header has no magic", ErrCorrupt)
	}
	if h[2] != formatVersion {
		return fmt.Errorf("%w: a section header has version %d, known is %d", ErrCorrupt, h[2], formatVersion)
	}
	t := h[sectionHeader : sectionHeader+int(h[3])]
	if _, err := io.ReadFull(r, t); err != nil {
		return unexpected(err)
	}
	if crc32.Update(crc32.Checksum(h[:sectionHeader-4], castagnoli), castagnoli, t) != binary.LittleEndian.Uint32(h[sectionHeader-4:]) {
		return fmt.Errorf("%w: checksum mismatch in a section header", ErrCorrupt)
	}
	tag := string(t)
	length, records := binary.LittleEndian.Uint64(h[4:]), binary.LittleEndian.Uint64(h[12:])
	if length > math.MaxInt64/2 || records > math.MaxInt64/2 {
		return fmt.Errorf("section %s: %w: length %d, %d records", tag, ErrCorrupt, length, records)
	}
	s := Section{Length: int64(length), Records: int64(records),
		Emitted: int64(binary.LittleEndian.Uint64(h[20:])), Digest: binary.LittleEndian.Uint64(h[28:])}
	if err := in.reserve(s); err != nil {
		return fmt.Errorf("section %s: %w", tag, err)
	}
	data := make([]byte, s.Length)
	if n, err := io.ReadFull(r, data); err != nil {
		in.release(s)
		return fmt.Errorf("section %s: %w after %d of %d bytes", tag, unexpected(err), n, s.Length)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.sections[tag] = append(in.sections[tag], received{s, data})
	return nil
}

// cost is what a section takes of the budget: empty ones are not for nothing.
func (s *Section) cost() int64 { return s.Length + 256 }

func (in *Intake) reserve(s Section) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.held+s.cost() > in.budget {
		return memoryError(in.held+s.cost(), in.budget, in.records+s.Records)
	}
	in.held += s.cost()
	in.records += s.Records
	return nil
}

func (in *Intake) release(s Section) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.held -= s.cost()
	in.records -= s.Records
}

// Select keeps the sections of exactly the tags in want and drops all others. An error names the first tag, in order, of which something
// else or nothing was received; then nothing is dropped. A tag that emitted no records need not have been received.
func (in *Intake) Select(want map[string]Expect) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, tag := range slices.Sorted(maps.Keys(want)) {
		var got Expect
		for _, s := range in.sections[tag] {
			got.Emitted += s.Emitted
			got.Digest += s.Digest
		}
		switch w := want[tag]; {
		case got == w:
		case len(in.sections[tag]) == 0:
			return fmt.Errorf("section %s: not received, wanted %s records", tag, grouped(w.Emitted))
		default:
			return fmt.Errorf("section %s: %w: received %s records with digest %016x, wanted %s with %016x", tag, ErrCorrupt,
				grouped(got.Emitted), got.Digest, grouped(w.Emitted), w.Digest)
		}
	}
	for tag, sections := range in.sections {
		if _, ok := want[tag]; ok {
			continue
		}
		for _, s := range sections {
			in.held -= s.cost()
			in.records -= s.Records
		}
		delete(in.sections, tag)
	}
	return nil
}

// Runs returns a reader for each section that is held, in the order of tags, for Merge. Each reader expects the counts
// of its section's header. Runs may be called again, for readers that start anew.
func (in *Intake) Runs() []*RunReader {
	in.mu.Lock()
	defer in.mu.Unlock()
	var runs []*RunReader
	for _, tag := range slices.Sorted(maps.Keys(in.sections)) {
		for _, s := range in.sections[tag] {
			runs = append(runs, NewRunReader(bytes.NewReader(s.data), &RunOptions{Name: tag, Expect: &s.Section, DigestKey: in.digestKey}))
		}
	}
	return runs
}

// Held returns the bytes that count against the budget.
func (in *Intake) Held() int64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.held
}
