package sandboxtest

import (
	"encoding/binary"
	"time"
)

func load(at int32) []byte     { return cat(i32(at), []byte{0x28, 2, 0}) }
func store(at, v int32) []byte { return cat(i32(at), i32(v), []byte{0x36, 2, 0}) }

// Healthy returns a module that is not hostile. It traps if it finds something that a run before has left in memory, in its data, in a global, in a
// table, or in what the host knows of it; then it leaves that. As it changes a table, each of its runs begins afresh.
func Healthy() []byte {
	b := &build{
		imports: []string{"fd_close", "fd_fdstat_get", "clock_time_get"}, pages: 2,
		globals: [][]byte{cat([]byte{0x7f, 1}, i32(0), []byte{0x0b}), {0x7e, 1, 0x42, 9, 0x0b}},
		tables:  [][]byte{{0x70, 0, 4}},
		data:    [][]byte{text(2000, "x")},
	}
	b.code = cat(
		load(0), unlessZero, load(65536), unlessZero, load(131068), unlessZero,
		load(2000), i32('x'), []byte{0x47}, unlessZero,
		[]byte{0x3f, 0}, i32(2), []byte{0x47}, unlessZero, // memory.size
		[]byte{0x23, 0}, unlessZero, []byte{0x23, 1, 0x42, 9, 0x52}, unlessZero,
		i32(1), []byte{0x25, 0, 0xd1, 0x45}, unlessZero, // table.get, ref.is_null
		[]byte{0xfc, 16, 0}, i32(4), []byte{0x47}, unlessZero, // table.size
		i32(2), i32(4096), []byte{0x10, 1}, unlessZero, // stderr is open
		// The clock begins where it began: its first look differs from the last one's by no run.
		i32(1), []byte{0x42, 0}, i32(8), []byte{0x10, 2}, unlessZero,
		i32(8), []byte{0x29, 3, 0, 0x42}, leb(2000), []byte{0x56}, unlessZero, // no more than two ticks, in nanoseconds

		store(0, 1), store(65536, 2), store(131068, 3), store(2000, 'y'),
		i32(7), []byte{0x24, 0, 0x42, 8, 0x24, 1}, // global.set
		i32(1), []byte{0xd2}, num(3), []byte{0x26, 0}, // table.set of ref.func
		[]byte{0xd0, 0x70}, i32(3), []byte{0xfc, 15, 0, 0x1a}, // table.grow
		i32(1), []byte{0x40, 0, 0x1a}, store(131072, 5), // memory.grow
		i32(2), []byte{0x10, 0, 0x1a}, // fd_close
	)
	return b.module()
}

// Restored returns a module like [Healthy] that is restored from a snapshot, taken when it first asks for its input. What it leaves fills all of its memory;
// one whose input begins with an odd byte grows that as well, which takes another instance.
func Restored() []byte {
	b := &build{
		imports: []string{"fd_read", "fd_close", "fd_fdstat_get", "clock_time_get"}, pages: 4, locals: []byte{1, 1, 0x7f},
		globals: [][]byte{cat([]byte{0x7f, 1}, i32(0), []byte{0x0b}), {0x7e, 1, 0x42, 9, 0x0b}},
		data:    [][]byte{text(2000, "x")},
	}
	size := []byte{0x3f, 0, 0x41, 16, 0x74} // memory.size, in bytes
	b.code = cat(
		store(16, 1024), store(20, 16), i32(0), i32(16), i32(1), i32(8), []byte{0x10, 0}, unlessZero, // read 16 bytes to 1024
		size, i32(4<<16), []byte{0x47}, unlessZero,
		i32(4096), []byte{0x21, 0, 0x03, 0x40}, // from 4096 on
		[]byte{0x20, 0, 0x29, 0, 0, 0x42, 0, 0x52}, unlessZero, // there is nothing
		[]byte{0x20, 0, 0x41, 8, 0x6a, 0x22, 0}, size, []byte{0x49, 0x0d, 0, 0x0b}, // to the end
		load(2000), i32('x'), []byte{0x47}, unlessZero,
		[]byte{0x23, 0}, unlessZero, []byte{0x23, 1, 0x42, 9, 0x52}, unlessZero,
		i32(2), i32(3000), []byte{0x10, 2}, unlessZero, // stderr is open
		i32(1), []byte{0x42, 0}, i32(8), []byte{0x10, 3}, unlessZero,
		i32(8), []byte{0x29, 3, 0, 0x42}, leb(2000), []byte{0x56}, unlessZero, // the clock is where it was

		i32(1024), []byte{0x2d, 0, 0, 0x41, 1, 0x71, 0x04, 0x40, 0x41, 1, 0x40, 0, 0x1a, 0x0b}, // memory.grow
		i32(4096), i32(0xaa), size, i32(4096), []byte{0x6b, 0xfc, 11, 0}, // memory.fill
		store(2000, 'y'), i32(7), []byte{0x24, 0, 0x42, 8, 0x24, 1}, // global.set
		i32(2), []byte{0x10, 1, 0x1a}, // fd_close
	)
	return b.module()
}

// Canary returns the input of the ith run of the module that [Restored] returns: each fourth grows its memory.
func Canary(i int) string {
	if i%4 == 3 {
		return "1 page more"
	}
	return "0 pages more"
}

// Telling returns a module that reads some of its input, and then writes, in a [Told], what time it is and 16 random bytes.
func Telling() []byte {
	b := &build{imports: []string{"clock_time_get", "random_get", "fd_write", "fd_read"}, pages: 1}
	clock := func(id, at int32) []byte {
		return cat(i32(id), []byte{0x42, 0}, i32(at), []byte{0x10, 0}, unlessZero)
	}
	b.code = cat(
		store(64, 128), store(68, 16), i32(0), i32(64), i32(1), i32(72), []byte{0x10, 3}, unlessZero,
		clock(0, 0), clock(1, 8), i32(16), i32(16), []byte{0x10, 1}, unlessZero, store(32, '\n'),
		store(64, 0), store(68, toldSize), i32(1), i32(64), i32(1), i32(72), []byte{0x10, 2}, unlessZero,
	)
	return b.module()
}

// A Told is what the module says that [Telling] returns.
type Told struct {
	Wall   time.Time
	Steady time.Duration // the monotonic clock
	Random [16]byte
}

const toldSize = 8 + 8 + 16 + 1

// ParseTold reads what runs of that module wrote, one after another.
func ParseTold(b []byte) (all []Told) {
	for ; len(b) >= toldSize; b = b[toldSize:] {
		all = append(all, Told{
			time.Unix(0, int64(binary.LittleEndian.Uint64(b))).UTC(), time.Duration(binary.LittleEndian.Uint64(b[8:])), [16]byte(b[16:]),
		})
	}
	return all
}
