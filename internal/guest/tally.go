package guest

import (
	"encoding/binary"
	"hash/maphash"
)

// A tally counts the equal records of an object, so that each goes out once, with its number. What goes out, and in which order, depends on
// the records alone.
//
// Counted records lie one after another, in the order in which they first came:
//
//	| number of times u32 | length u32 | record, as it goes out |
//
// A slot holds high bits of a record's hash, and where it lies, plus one.
type tally struct {
	seed    maphash.Seed
	slots   []uint32 // open addressing, linear probing, half full at most; 0 is free
	records []byte   // it never grows
	count   int      // of records
	came    int      // records counted since they went out
	pass    int      // records that are not to be counted, for of those before few were equal
	frame   []byte   // a record
}

// Bounds of a tally.
const (
	tallyAfter   = 4 << 10  // records of an object that are not counted: among few there are few equal ones
	tallyRecords = 16 << 10 // different ones
	tallyBytes   = 1 << 19  // of all; a place has less
	tallyRecord  = 64       // bytes of key and value; longer ones are not counted, for they seldom come again and take room from those that do
	tallyPass    = 64 << 10 // records that are not counted after a tally in which a record came less than twice
	tallyLeast   = 64 << 10 // records that are counted before the runner, which may have a limit, hears of them,
	tallyEach    = 64       // and so many more for each different one

	tallySlots = 2 * tallyRecords
	tallyPlace = tallyBytes - 1
	tallyHead  = 8
)

// reset forgets everything.
func (t *tally) reset() {
	if t.count > 0 {
		t.clear()
	}
	t.pass = 0
}

// clear forgets what is counted.
func (t *tally) clear() {
	clear(t.slots)
	t.records, t.count, t.came = t.records[:0], 0, 0
}

// add counts a record, if it is to be counted and there is room.
func (t *tally) add(key, value []byte) bool {
	if t.pass > 0 {
		t.pass--
		return false
	}
	if len(key)+len(value) > tallyRecord {
		return false
	}
	if t.slots == nil {
		t.seed, t.slots, t.records = maphash.MakeSeed(), make([]uint32, tallySlots), make([]byte, 0, tallyBytes)
	}
	t.frame = append(append(recordHead(t.frame[:0], key, value), key...), value...)
	h := maphash.Bytes(t.seed, t.frame)
	tag := uint32(h>>32) &^ tallyPlace
	for i := uint32(h) % tallySlots; ; i = (i + 1) % tallySlots {
		slot := t.slots[i]
		if slot == 0 {
			at := len(t.records)
			if t.count == tallyRecords || at+tallyHead+len(t.frame) > tallyBytes {
				return false
			}
			t.slots[i] = tag | uint32(at+1)
			t.records = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(t.records, 1), uint32(len(t.frame)))
			t.records = append(t.records, t.frame...)
			t.count++
			break
		}
		if slot&^tallyPlace == tag {
			if b := t.records[slot&tallyPlace-1:]; string(frameOf(b)) == string(t.frame) {
				binary.LittleEndian.PutUint32(b, binary.LittleEndian.Uint32(b)+1)
				break
			}
		}
	}
	t.came++
	return true
}

// frameOf returns the record that lies at the start of b.
func frameOf(b []byte) []byte { return b[tallyHead:][:binary.LittleEndian.Uint32(b[4:])] }

// due reports whether the runner is to hear of what came.
func (t *tally) due() bool { return t.came >= tallyLeast+tallyEach*t.count }

// tallied emits a record that may be counted.
func (a *Answers) tallied(key, value []byte) error {
	t := &a.tally
	if t.add(key, value) {
		if !t.due() {
			return nil
		}
		if err := a.sendTally(); err != nil {
			return err
		}
		return a.w.Flush()
	}
	if t.pass == 0 && len(key)+len(value) <= tallyRecord { // it is full
		if t.came < 2*t.count {
			t.pass = tallyPass
		}
		if err := a.sendTally(); err != nil {
			return err
		}
		t.clear()
	}
	return a.record(key, value)
}

// sendTally sends what is counted, and goes on to count the same records.
func (a *Answers) sendTally() error {
	t := &a.tally
	var err error
	for b := t.records; len(b) > 0; {
		frame := frameOf(b)
		if n := binary.LittleEndian.Uint32(b); n > 0 {
			if n > 1 {
				a.w.Write(binary.AppendUvarint(append(a.head[:0], kindTimes), uint64(n)))
			}
			_, err = a.w.Write(frame)
			binary.LittleEndian.PutUint32(b, 0)
		}
		b = b[tallyHead+len(frame):]
	}
	t.came = 0
	return err
}
