package shuffle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/zeebo/xxh3"
)

// SorterOptions say how records are partitioned and kept. The zero value of a field means its default.
type SorterOptions struct {
	Partitions int     // 0 means 1
	Budget     int64   // bytes of records and their index; 0 means 256 MiB
	Combine    Combine // merges values of one key as they come; nil keeps every record
	DigestKey  uint64  // the secret of Digest
}

const (
	defaultBudget = 256 << 20
	entrySize     = 24 + 16 // an entry, and its place in the order while sealing
)

// A Sorter takes records in any order and seals them as a run, sorted within each partition.
//
// It keeps all of them in memory and says ErrMemory when they pass its budget. The process needs more than the budget for a
// moment when its index grows. A Sorter is not for concurrent use.
type Sorter struct {
	opts    SorterOptions
	arena   arena
	entries []entry
	table   table // over entries, by key; with Combine only
	parts   []Section
	emitted int64
	scratch []byte
	order   []item
}

// An entry is one record: its key and then its value, at one place of the arena.
type entry struct {
	at         ref
	klen, vlen uint32
	vcap       uint32 // room for the value
	part       uint32
}

// An item is an entry on its way through a sort. The prefix decides most comparisons without a look into the arena.
type item struct {
	prefix uint64
	entry  uint32
}

// NewSorter returns an empty Sorter. Nil opts mean defaults.
func NewSorter(opts *SorterOptions) *Sorter {
	s := &Sorter{}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.Partitions <= 0 {
		s.opts.Partitions = 1
	}
	if s.opts.Budget <= 0 {
		s.opts.Budget = defaultBudget
	}
	s.parts = make([]Section, s.opts.Partitions)
	return s
}

// Add takes one record; it copies key and value. After an error the record was not added and the others are still there.
func (s *Sorter) Add(key, value []byte) error {
	if len(key)+len(value) > MaxRecord {
		return fmt.Errorf("%w: %s of %s", ErrTooLarge, mebibytes(int64(len(key)+len(value))), mebibytes(MaxRecord))
	}
	h := xxh3.HashSeed(key, s.opts.DigestKey)
	var part uint32
	if s.opts.Combine == nil {
		part = s.partition(key)
		if err := s.insert(key, value, part); err != nil {
			return err
		}
	} else if e := s.find(h, key); e != nil {
		if err := s.merge(e, value); err != nil {
			return err
		}
		part = e.part
	} else {
		part = s.partition(key)
		if err := s.insert(key, value, part); err != nil {
			return err
		}
		s.table.insert(h, len(s.entries)-1)
	}
	p := &s.parts[part]
	p.Emitted++
	p.Digest += xxh3.HashSeed(value, h)
	s.emitted++
	return nil
}

// Held returns the bytes that count against the budget.
func (s *Sorter) Held() int64 {
	return s.arena.used + int64(len(s.entries))*entrySize + s.table.size()
}

// Emitted returns the number of records added since the last Reset.
func (s *Sorter) Emitted() int64 { return s.emitted }

// Reset forgets all records and keeps the memory for new ones.
func (s *Sorter) Reset() {
	s.arena.reset()
	s.entries = s.entries[:0]
	s.table.reset()
	s.emitted = 0
	clear(s.parts)
}

func (s *Sorter) partition(key []byte) uint32 {
	if len(s.parts) == 1 {
		return 0
	}
	return uint32(Partition(key, len(s.parts)))
}

func (s *Sorter) find(h uint64, key []byte) *entry {
	t := &s.table
	if len(t.slots) == 0 {
		return nil
	}
	for i := t.first(h); ; i = t.after(i) {
		slot := t.slots[i]
		if slot == 0 {
			return nil
		}
		if slot>>32 != h>>32 {
			continue
		}
		e := &s.entries[uint32(slot)-1]
		if string(s.arena.at(e.at, e.klen)) == string(key) {
			return e
		}
	}
}

func (s *Sorter) insert(key, value []byte, part uint32) error {
	n := len(key) + len(value)
	if err := s.room(int64(n) + entrySize + s.table.growth(s.opts.Combine != nil)); err != nil {
		return err
	}
	if len(s.entries) >= math.MaxUint32-1 {
		return memoryError(s.Held(), s.opts.Budget, s.emitted)
	}
	at, room := s.arena.alloc(n)
	copy(room, key)
	copy(room[len(key):], value)
	s.entries = append(s.entries, entry{at, uint32(len(key)), uint32(len(value)), uint32(len(value)), part})
	return nil
}

// merge combines value into e. A result that needs more room gets twice what it needs.
func (s *Sorter) merge(e *entry, value []byte) error {
	kv := s.arena.at(e.at, e.klen+e.vlen)
	s.scratch = s.opts.Combine(s.scratch[:0], kv[e.klen:], value)
	n := len(s.scratch)
	if n <= int(e.vcap) {
		copy(s.arena.at(e.at, e.klen+e.vcap)[e.klen:], s.scratch)
		e.vlen = uint32(n)
		return nil
	}
	if int(e.klen)+n > MaxRecord {
		return fmt.Errorf("%w: combined to %s of %s", ErrTooLarge, mebibytes(int64(e.klen)+int64(n)), mebibytes(MaxRecord))
	}
	vcap := 2 * n
	if err := s.room(int64(e.klen) + int64(vcap)); err != nil {
		return err
	}
	at, room := s.arena.alloc(int(e.klen) + vcap)
	copy(room, kv[:e.klen])
	copy(room[e.klen:], s.scratch)
	e.at, e.vlen, e.vcap = at, uint32(n), uint32(vcap)
	return nil
}

// room says whether n more bytes stay within the budget.
func (s *Sorter) room(n int64) error {
	if held := s.Held() + n; held > s.opts.Budget {
		return memoryError(held, s.opts.Budget, s.emitted)
	}
	return nil
}

// Seal writes the run to w and returns its sections, one for each partition in order; offsets count from the first byte written.
// The records stay until Reset. After an error what was written is not a run.
func (s *Sorter) Seal(w io.Writer) ([]Section, error) {
	sections := slices.Clone(s.parts)
	starts := s.group()
	sw := newSectionWriter(w)
	var offset int64
	for p := range sections {
		sec := &sections[p]
		items := s.order[starts[p]:starts[p+1]]
		slices.SortFunc(items, s.compare)
		sw.reset()
		for _, it := range items {
			e := &s.entries[it.entry]
			kv := s.arena.at(e.at, e.klen+e.vlen)
			if err := sw.add(kv[:e.klen], kv[e.klen:]); err != nil {
				return nil, fmt.Errorf("seal partition %d: %w", p, err)
			}
		}
		sec.Offset, sec.Records = offset, int64(len(items))
		n, err := sw.end(*sec)
		if err != nil {
			return nil, fmt.Errorf("seal partition %d: %w", p, err)
		}
		sec.Length = n
		offset += n
	}
	return sections, nil
}

// group fills order with the entries, those of one partition side by side, and returns where each partition starts.
func (s *Sorter) group() []int {
	starts := make([]int, len(s.parts)+2)
	for i := range s.entries {
		starts[s.entries[i].part+2]++
	}
	for p := 2; p < len(starts); p++ {
		starts[p] += starts[p-1]
	}
	s.order = slices.Grow(s.order[:0], len(s.entries))[:len(s.entries)]
	for i := range s.entries {
		e := &s.entries[i]
		next := &starts[e.part+1]
		s.order[*next] = item{prefix(s.arena.at(e.at, e.klen)), uint32(i)}
		*next++
	}
	return starts
}

func (s *Sorter) compare(a, b item) int {
	if a.prefix != b.prefix {
		if a.prefix < b.prefix {
			return -1
		}
		return 1
	}
	x, y := &s.entries[a.entry], &s.entries[b.entry]
	xs, ys := s.arena.at(x.at, x.klen+x.vlen), s.arena.at(y.at, y.klen+y.vlen)
	if c := bytes.Compare(xs[:x.klen], ys[:y.klen]); c != 0 {
		return c
	}
	return bytes.Compare(xs[x.klen:], ys[y.klen:])
}

// prefix returns the first eight bytes of key as a number that is ordered like them; a shorter key counts as if zeros followed.
func prefix(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var p uint64
	for i, b := range key {
		p |= uint64(b) << (56 - 8*i)
	}
	return p
}
