package shuffle

// A table finds entries by the hash of their keys: open addressing, linear probing, at most three quarters full.
// A slot holds the high half of the hash and the number of the entry plus one; 0 is free.
type table struct {
	slots []uint64
	count int
}

const firstSlots = 1 << 10

func (t *table) first(h uint64) int { return int(h>>32) & (len(t.slots) - 1) }
func (t *table) after(i int) int    { return (i + 1) & (len(t.slots) - 1) }
func (t *table) size() int64        { return int64(len(t.slots)) * 8 }

// growth returns the bytes that one more entry adds to size.
func (t *table) growth(used bool) int64 {
	switch {
	case !used:
		return 0
	case len(t.slots) == 0:
		return firstSlots * 8
	case t.full():
		return t.size()
	}
	return 0
}

func (t *table) full() bool { return (t.count+1)*4 > len(t.slots)*3 }

// insert adds an entry whose key is not in the table.
func (t *table) insert(h uint64, entry int) {
	if t.full() {
		old := t.slots
		t.slots = make([]uint64, max(firstSlots, 2*len(old)))
		for _, slot := range old {
			if slot != 0 {
				t.place(slot)
			}
		}
	}
	t.place(h>>32<<32 | uint64(entry+1))
	t.count++
}

func (t *table) place(slot uint64) {
	i := t.first(slot)
	for t.slots[i] != 0 {
		i = t.after(i)
	}
	t.slots[i] = slot
}

func (t *table) reset() {
	clear(t.slots)
	t.count = 0
}
