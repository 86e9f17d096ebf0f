package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
)

// A run is what one map attempt emitted: a sealed file with a section for each partition.
type run struct {
	file     *os.File
	sections []shuffle.Section
}

// newRun makes the file of a run. It lies in memory; its owner alone has it.
func newRun() (*os.File, error) {
	fd, err := unix.MemfdCreate("run", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("run file: %w", err)
	}
	return os.NewFile(uintptr(fd), "run"), nil
}

// seal makes the run immutable, also for the runner that wrote it.
func seal(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	return err
}

// section returns what the run has of one partition.
func (r *run) section(p int) (shuffle.Section, io.Reader, error) {
	if p >= len(r.sections) {
		return shuffle.Section{}, nil, fmt.Errorf("no partition %d of %d", p, len(r.sections))
	}
	s := r.sections[p]
	return s, io.NewSectionReader(r.file, s.Offset, s.Length), nil
}

// vector returns the hash by which the job log names the counts and digests of a run.
func vector(sections []shuffle.Section) uint64 {
	h := xxh3.New()
	var b [16]byte
	for _, s := range sections {
		binary.LittleEndian.PutUint64(b[:8], uint64(s.Emitted))
		binary.LittleEndian.PutUint64(b[8:], s.Digest)
		_, _ = h.Write(b[:])
	}
	return h.Sum64()
}

// runs are those that a node keeps until the job is over. The zero value is ready to use.
type runs struct {
	mu   sync.Mutex
	kept map[job.AttemptID]*run
}

func (rs *runs) add(id job.AttemptID, r *run) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.kept == nil {
		rs.kept = make(map[job.AttemptID]*run)
	}
	rs.kept[id] = r
}

// drop forgets a run that does not count. Its file stays the caller's.
func (rs *runs) drop(id job.AttemptID) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.kept, id)
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
