package shuffle

// A table finds records by the hash of their keys: open addressing, linear probing, at most three quarters full. A slot holds
// the high 24 bits of the hash, and the record's place divided by 8; 0 is free, which no place is.
type table struct {
	memory region
	slots  []uint64
	count  int
}

const (
	firstSlots = 1 << 10
	slotPlace  = 1<<40 - 1
)

func (t *table) first(h uint64) int { return int(h) & (len(t.slots) - 1) }
func (t *table) after(i int) int    { return (i + 1) & (len(t.slots) - 1) }
func (t *table) size() int64        { return int64(len(t.slots)) * 8 }
func (t *table) full() bool         { return (t.count+1)*4 > len(t.slots)*3 }

// growth returns the bytes by which size is passed while room is made for one more record.
func (t *table) growth() int64 {
	if !t.full() {
		return 0
	}
	return max(firstSlots*8, 2*t.size())
}

// grow makes room. Hash returns the hash of the key of the record at a place.
func (t *table) grow(hash func(place uint64) uint64) error {
	n := max(firstSlots, 2*len(t.slots))
	m, err := newRegion(int64(n) * 8)
	if err != nil {
		return err
	}
	old, slots := t.memory, t.slots
	t.memory, t.slots = m, m.words()
	for _, slot := range slots {
		if slot != 0 {
			t.put(hash(slot&slotPlace), slot)
		}
	}
	old.free()
	return nil
}

// insert adds a record whose key is not in the table, which is not full.
func (t *table) insert(h, place uint64) {
	t.put(h, h&^slotPlace|place)
	t.count++
}

func (t *table) put(h, slot uint64) {
	i := t.first(h)
	for t.slots[i] != 0 {
		i = t.after(i)
	}
	t.slots[i] = slot
}

func (t *table) reset() {
	clear(t.slots)
	t.count = 0
}

func (t *table) free() {
	t.memory.free()
	t.slots, t.count = nil, 0
}
