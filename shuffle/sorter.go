package shuffle

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"github.com/zeebo/xxh3"
)

// SorterOptions say how records are partitioned and kept. The zero value of a field means its default.
type SorterOptions struct {
	Partitions int     // 0 means 1
	Budget     int64   // bytes of records, of what is needed to find and sort them, and of buffers; 0 means 256 MiB
	Combine    Combine // merges values of one key as they come; nil keeps every record
	DigestKey  uint64  // the secret of Digest
	// Partition, if not nil, decides the partition of a key, in [0, Partitions), in place of the function Partition.
	Partition func(key []byte) int
	// Placed says that records come by AddTo.
	Placed bool
}

const (
	defaultBudget = 256 << 20
	leastMemory   = 32 << 10 // for records, whatever the budget
	recordHeader  = 12       // key, value and room for the value, in bytes
	placeBits     = 44
)

// A Sorter takes records in any order and writes them in runs, sorted within each partition: one whenever its memory is full,
// and the last when it is sealed. A record that is larger than its memory becomes a run of its own.
//
// Its memory lies outside of the heap, is taken with the first record, and given back by Close. A Sorter is not for concurrent use.
type Sorter struct {
	opts    SorterOptions
	out     *sectionWriter
	err     error // what was written is not a run
	emitted int64
	written []Section

	// Records lie in memory from the start on, their items from the end down, unless they are combined: then table finds them,
	// and there is room for their items.
	memory  region
	used    int
	records int
	table   table
	parts   []Section // of the records in memory
	scratch []byte
	doubled [2][]byte
}

// NewSorter returns an empty Sorter, which must be started. Nil opts mean defaults.
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

// Start forgets all records and has the runs of those that come written to w, of which offsets are counted from its first byte,
// and which may take limit bytes, 0 meaning any number.
func (s *Sorter) Start(w io.Writer, limit int64) {
	if s.out == nil {
		s.out = new(sectionWriter)
	}
	s.out.start(w, 0, limit)
	s.err, s.emitted, s.written = nil, 0, nil
	s.clear()
}

// Close gives back the memory. The Sorter may be started again.
func (s *Sorter) Close() {
	s.clear()
	s.memory.free()
	s.table.free()
	s.out, s.written = nil, nil
}

// clear forgets the records in memory.
func (s *Sorter) clear() {
	s.used, s.records = 8, 0 // no record lies at 0
	s.table.reset()
	clear(s.parts)
}

// Add takes one record; it copies key and value. After an error of the writer all further calls fail with it; after ErrTooLarge
// the record was not added and the others are still there.
func (s *Sorter) Add(key, value []byte) error { return s.AddTimes(key, value, 1) }

// AddTimes takes n equal records, which cost little more than one if records are combined.
func (s *Sorter) AddTimes(key, value []byte, n int64) error {
	return s.AddTo(s.partition(key), key, value, n)
}

// AddTo is AddTimes for records of a partition that the caller decides, which is the same for each key. Where records are combined, it is an error if a key
// goes to another partition than before.
func (s *Sorter) AddTo(part int, key, value []byte, n int64) error {
	if s.err != nil {
		return s.err
	}
	if len(key)+len(value) > MaxRecord {
		return fmt.Errorf("%w: %s of %s", ErrTooLarge, mebibytes(int64(len(key)+len(value))), mebibytes(MaxRecord))
	}
	if part < 0 || part >= len(s.parts) {
		return fmt.Errorf("partition %d of %d", part, len(s.parts))
	}
	h := xxh3.HashSeed(key, s.opts.DigestKey)
	sum := xxh3.HashSeed(value, h)
	if s.opts.Combine == nil {
		for ; n > 0 && s.err == nil; n-- {
			s.insert(h, key, value, part, sum, 1)
		}
		return s.err
	}
	if n > 1 {
		var err error
		if value, err = s.times(key, value, n); err != nil {
			return err
		}
	}
	if place := s.find(h, key); place != 0 {
		if s.opts.Placed && s.place(key, place) != part {
			return fmt.Errorf("a key is of partition %d, and of %d", s.place(key, place), part)
		}
		if done, err := s.combine(h, place, key, value, part); err != nil {
			return err
		} else if done {
			s.count(part, sum, n)
			return nil
		}
		s.spill() // there is no room for what they combine to
	}
	s.insert(h, key, value, part, sum, n)
	return s.err
}

// times returns what n equal values combine to; it is valid until the next call.
func (s *Sorter) times(key, value []byte, n int64) ([]byte, error) {
	all := value
	for bit := bits.Len64(uint64(n)) - 2; bit >= 0; bit-- {
		all = s.double(all, all)
		if n>>bit&1 != 0 {
			all = s.double(all, value)
		}
		if len(key)+len(all) > MaxRecord {
			return nil, combinedTooLarge(len(key) + len(all))
		}
	}
	return all, nil
}

// double combines two values, of which the first may be what it returned before.
func (s *Sorter) double(a, b []byte) []byte {
	s.doubled[0], s.doubled[1] = s.doubled[1], s.opts.Combine(s.doubled[0][:0], a, b)
	return s.doubled[1]
}

// count counts n equal records that were added to those in memory.
func (s *Sorter) count(part int, sum uint64, n int64) {
	p := &s.parts[part]
	p.Emitted += n
	p.Digest += sum * uint64(n)
	s.emitted += n
}

// combine combines value into the record at place. It reports false if there is no room for the result.
func (s *Sorter) combine(h, place uint64, key, value []byte, part int) (bool, error) {
	s.scratch = s.opts.Combine(s.scratch[:0], s.value(place), value)
	n := len(s.scratch)
	switch {
	case len(key)+n > MaxRecord:
		return false, combinedTooLarge(len(key) + n)
	case s.replace(place, s.scratch):
	case s.room(len(key)+2*n, 0):
		s.move(h, place, key, s.scratch, part)
	default:
		return false, nil
	}
	return true, nil
}

func combinedTooLarge(n int) error {
	return fmt.Errorf("%w: combined to %s of %s", ErrTooLarge, mebibytes(int64(n)), mebibytes(MaxRecord))
}

// Emitted returns the number of records added since Start.
func (s *Sorter) Emitted() int64 { return s.emitted }

// Held returns the bytes that count against the budget.
func (s *Sorter) Held() int64 {
	return int64(s.used) + int64(s.records)*itemSize + s.table.size() + sectionBuffers
}

// Spilled returns the bytes written since Start.
func (s *Sorter) Spilled() int64 { return s.out.offset }

// Seal writes what is in memory as the last run and returns the sections of all of them, by partition and then by run; those without records
// are left out.
func (s *Sorter) Seal() ([]Section, error) {
	if s.spill(); s.err == nil {
		s.err = s.out.flush()
	}
	if s.err != nil {
		return nil, s.err
	}
	slices.SortStableFunc(s.written, func(a, b Section) int { return a.Partition - b.Partition })
	return s.written, nil
}

func (s *Sorter) partition(key []byte) int {
	switch {
	case s.opts.Partition != nil:
		return s.opts.Partition(key)
	case len(s.parts) == 1:
		return 0
	}
	return Partition(key, len(s.parts))
}

// room says whether a record of n bytes fits, with its item and what the table needs beside its size.
func (s *Sorter) room(n int, growth int64) bool {
	return s.Held()+int64(n)+recordHeader+s.behind()+7+itemSize+growth <= s.budget()
}

// budget is what may be held. Its memory is a whole number of items: what were beyond the last would be of both ends.
func (s *Sorter) budget() int64 {
	return sectionBuffers + max(s.opts.Budget-sectionBuffers, leastMemory)&^(itemSize-1)
}

// insert adds a record, which stands for n, after a spill if there is no room for it.
func (s *Sorter) insert(h uint64, key, value []byte, part int, sum uint64, n int64) {
	if s.memory == nil && s.err == nil {
		s.memory, s.err = newRegion(s.budget() - sectionBuffers)
	}
	size := len(key) + len(value)
	if !s.room(size, s.growth()) {
		s.spill()
		if !s.room(size, s.growth()) {
			s.spillOne(key, value, part, sum, n)
			return
		}
	}
	if growth := s.growth(); growth > 0 && s.err == nil {
		s.err = s.table.grow(func(place uint64) uint64 { return xxh3.HashSeed(s.key(place<<3), s.opts.DigestKey) })
	}
	if s.err != nil {
		return
	}
	place := s.put(key, value, len(value), part)
	if s.opts.Combine != nil {
		s.table.insert(h, place>>3)
	} else {
		items := s.memory.items()
		items[len(items)-1-s.records] = item{prefix(key), uint64(part)<<placeBits | place}
	}
	s.records++
	s.parts[part].Records++
	s.count(part, sum, n)
}

// growth returns what the table needs for one more record.
func (s *Sorter) growth() int64 {
	if s.opts.Combine == nil {
		return 0
	}
	return s.table.growth()
}

// behind is what lies behind a record: its partition, where only the one who adds it knows that and its item comes later.
func (s *Sorter) behind() int64 {
	if s.opts.Placed && s.opts.Combine != nil {
		return 4
	}
	return 0
}

// place returns the partition of the record at a place, in the table.
func (s *Sorter) place(key []byte, place uint64) int {
	if !s.opts.Placed {
		return s.partition(key)
	}
	b := s.memory[place:]
	return int(binary.LittleEndian.Uint32(b[recordHeader+binary.LittleEndian.Uint32(b)+binary.LittleEndian.Uint32(b[8:]):]))
}

// put lays a record down, with room for its value to grow to.
func (s *Sorter) put(key, value []byte, room, part int) (place uint64) {
	b := s.memory[s.used:]
	binary.LittleEndian.PutUint32(b, uint32(len(key)))
	binary.LittleEndian.PutUint32(b[4:], uint32(len(value)))
	binary.LittleEndian.PutUint32(b[8:], uint32(room))
	copy(b[recordHeader:], key)
	copy(b[recordHeader+len(key):], value)
	behind := int(s.behind())
	if behind > 0 {
		binary.LittleEndian.PutUint32(b[recordHeader+len(key)+room:], uint32(part))
	}
	place = uint64(s.used)
	s.used += (recordHeader + len(key) + room + behind + 7) &^ 7
	return place
}

// key and value return those of the record at a place.
func (s *Sorter) key(place uint64) []byte {
	b := s.memory[place&(1<<placeBits-1):]
	return b[recordHeader : recordHeader+binary.LittleEndian.Uint32(b)]
}

func (s *Sorter) value(place uint64) []byte {
	b := s.memory[place&(1<<placeBits-1):]
	k, v := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	return b[recordHeader+k : recordHeader+k+v]
}

// find returns the place of the record of a key, 0 if there is none.
func (s *Sorter) find(h uint64, key []byte) uint64 {
	t := &s.table
	if t.count == 0 {
		return 0
	}
	for i := t.first(h); ; i = t.after(i) {
		slot := t.slots[i]
		if slot == 0 {
			return 0
		}
		if (slot^h)&^slotPlace != 0 {
			continue
		}
		if place := slot & slotPlace << 3; string(s.key(place)) == string(key) {
			return place
		}
	}
}

// replace gives the record at place another value, if there is room for it.
func (s *Sorter) replace(place uint64, value []byte) bool {
	b := s.memory[place:]
	k := binary.LittleEndian.Uint32(b)
	if len(value) > int(binary.LittleEndian.Uint32(b[8:])) {
		return false
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(value)))
	copy(b[recordHeader+k:], value)
	return true
}

// move gives the record at place another value, elsewhere, with room for twice as much.
func (s *Sorter) move(h, place uint64, key, value []byte, part int) {
	to := s.put(key, value, 2*len(value), part)
	for i := s.table.first(h); ; i = s.table.after(i) {
		if s.table.slots[i]&slotPlace == place>>3 {
			s.table.slots[i] = h&^slotPlace | to>>3
			return
		}
	}
}

// spill writes what is in memory as a run.
func (s *Sorter) spill() {
	if s.records == 0 || s.err != nil {
		return
	}
	items := s.memory.items()
	items = items[len(items)-s.records:]
	if s.opts.Combine != nil {
		s.collect(items)
	}
	s.byPartition(items)
	for p := range s.parts {
		sec := &s.parts[p]
		run := items[:sec.Records]
		items = items[sec.Records:]
		if len(run) == 0 || s.err != nil {
			continue
		}
		s.sortItems(run)
		s.out.begin()
		for _, it := range run {
			if s.err = s.out.add(s.key(it.place), s.value(it.place)); s.err != nil {
				return
			}
		}
		s.end(sec, p)
	}
	s.clear()
}

// spillOne writes a run of one record, which stands for n, that memory is too small for, when there are no others.
func (s *Sorter) spillOne(key, value []byte, part int, sum uint64, n int64) {
	if s.err != nil {
		return
	}
	s.out.begin()
	if s.err = s.out.add(key, value); s.err == nil {
		s.end(&Section{Emitted: n, Digest: sum * uint64(n)}, part)
	}
	s.emitted += n
}

// end ends the section that is being written.
func (s *Sorter) end(sec *Section, part int) {
	if s.err = s.out.end(sec); s.err == nil {
		sec.Partition = part
		s.written = append(s.written, *sec)
	}
}

// collect makes items of the records in the table.
func (s *Sorter) collect(items []item) {
	n := 0
	for _, slot := range s.table.slots {
		if slot != 0 {
			place := slot & slotPlace << 3
			key := s.key(place)
			items[n] = item{prefix(key), uint64(s.place(key, place))<<placeBits | place}
			n++
		}
	}
}

// byPartition brings the items of one partition together, in the order of partitions.
func (s *Sorter) byPartition(a []item) {
	if len(s.parts) == 1 {
		return
	}
	next, end := make([]int64, len(s.parts)), make([]int64, len(s.parts))
	var sum int64
	for p := range s.parts {
		next[p] = sum
		sum += s.parts[p].Records
		end[p] = sum
	}
	for p := range next {
		for next[p] < end[p] {
			x := a[next[p]]
			for {
				to := int(x.place >> placeBits)
				if to == p {
					break
				}
				x, a[next[to]] = a[next[to]], x
				next[to]++
			}
			a[next[p]] = x
			next[p]++
		}
	}
}
