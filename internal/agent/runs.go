package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
)

// A run is what one map attempt emitted: a file, and where in it each partition lies. The runner that wrote it could still change
// the file; what it holds is verified by the checksums of its sections whenever it is read.
type run struct {
	file     *os.File
	sections []shuffle.Section // by partition; of a partition there may be several, or none
	size     int64
}

// newSpill makes a file in dir that has no name and goes with its last descriptor.
func newSpill(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), "spill file"), nil
	}
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) { // a file system that has no such files
		return nil, &fs.PathError{Op: "spill to", Path: dir, Err: err}
	}
	f, err := os.CreateTemp(dir, "millrace-")
	if err != nil {
		return nil, fmt.Errorf("spill: %w", err)
	}
	return f, os.Remove(f.Name())
}

// partition returns the sections of one partition.
func (r *run) partition(p int) []shuffle.Section {
	from, _ := slices.BinarySearchFunc(r.sections, p, func(s shuffle.Section, p int) int { return s.Partition - p })
	to := from
	for to < len(r.sections) && r.sections[to].Partition == p {
		to++
	}
	return r.sections[from:to]
}

// vector returns the hash by which the job log names the counts and digests of an attempt, partition by partition. It does not depend on
// how many runs that wrote.
func vector(sections []shuffle.Section) uint64 {
	h := xxh3.New()
	var b [24]byte
	for len(sections) > 0 {
		var emitted int64
		var digest uint64
		p := sections[0].Partition
		for len(sections) > 0 && sections[0].Partition == p {
			emitted += sections[0].Emitted
			digest += sections[0].Digest
			sections = sections[1:]
		}
		binary.LittleEndian.PutUint64(b[:8], uint64(p))
		binary.LittleEndian.PutUint64(b[8:], uint64(emitted))
		binary.LittleEndian.PutUint64(b[16:], digest)
		_, _ = h.Write(b[:])
	}
	return h.Sum64()
}

// runs are those that a node keeps until the job is over. The zero value is ready to use.
type runs struct {
	mu   sync.Mutex
	kept map[job.AttemptID]*run
	size int64 // bytes that they take
}

func (rs *runs) add(id job.AttemptID, r *run) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.kept == nil {
		rs.kept = make(map[job.AttemptID]*run)
	}
	rs.kept[id] = r
	rs.size += r.size
}

// drop forgets a run that does not count. Its file stays the caller's.
func (rs *runs) drop(id job.AttemptID) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r := rs.kept[id]; r != nil {
		rs.size -= r.size
		delete(rs.kept, id)
	}
}

// take counts n more bytes, unless they are more than may be taken in all, limit, 0 meaning any number. give gives them back.
func (rs *runs) take(limit, n int64) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if limit > 0 && rs.size+n > limit {
		return false
	}
	rs.size += n
	return true
}

func (rs *runs) give(n int64) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.size -= n
}

// room returns how many bytes another may take if all are to take limit; for both 0 means any number.
func (rs *runs) room(limit int64) int64 {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if limit == 0 {
		return 0
	}
	return max(limit-rs.size, 1)
}

// get returns the run of an attempt, if its sections have that vector.
func (rs *runs) get(id job.AttemptID, want uint64) (*run, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r, ok := rs.kept[id]
	if !ok {
		return nil, fmt.Errorf("run %s is not here", id)
	}
	if got := vector(r.sections); got != want {
		return nil, fmt.Errorf("run %s: %w: its vector is %x, not %x", id, shuffle.ErrCorrupt, got, want)
	}
	return r, nil
}

func (rs *runs) close() (err error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for id, r := range rs.kept {
		err = errors.Join(err, r.file.Close())
		delete(rs.kept, id)
	}
	return err
}
