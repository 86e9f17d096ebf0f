package sandbox

import (
	"bytes"
	"errors"
	"math"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Pages are the linear memory of a snapshot, and the mapping through which an instance sees it: a private one of a file in memory, of which
// the kernel copies a page when it is first written to. Bringing it back is to drop the copies. That takes a system call, and the
// next run's writes fault again; so pages that most runs write to are copied back instead, and keep their place.
//
// Which pages those are (the hot ones) is found out by comparing, and need not be right: all others are dropped, unless it is certain that none was
// written to, because there was not a page fault since they were all as in the snapshot.
type pages struct {
	memory *memoryPlan
	image  []byte    // read only
	filled []stretch // of it that are not zero
	score  []byte    // of each page: how often it was written to lately
	hot    []stretch // pages, in order

	dropped bool  // all but the hot pages are as in the snapshot
	faults  int64 // of the thread, when they were; -1: unknown
	runs    int   // since the snapshot that faulted
	learn   int   // compare when runs gets there
}

// A stretch is a range of pages.
type stretch struct{ from, to int }

const (
	hotScore = 4 // of a page that was found written to
	maxScore = 12
	hotGap   = 2 // pages between hot ones that are copied, too
	eagerly  = 4 // runs that are compared at first
)

var pageSize = os.Getpagesize()

// newPages makes the image of m, and maps m to it.
func newPages(m *memoryPlan) (_ *pages, err error) {
	p := &pages{memory: m, faults: -1}
	size := int(m.size)
	if size == 0 {
		return p, nil
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err == nil && limit.Cur < uint64(size) {
		return nil, errors.New("the limit of file sizes is below the memory's size")
	}
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, err
	}
	if p.image, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, err
	}
	p.fill(m.bytes())
	if err := unix.Mprotect(p.image, unix.PROT_READ); err != nil {
		p.free()
		return nil, err
	}
	_, err = unix.MmapPtr(fd, 0, unsafe.Pointer(&m.reserved[0]), uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED)
	if err != nil {
		p.free()
		return nil, err
	}
	p.score = make([]byte, size/pageSize)
	return p, nil
}

// fill copies the pages that are not zero.
func (p *pages) fill(b []byte) {
	zero := make([]byte, pageSize)
	for i := range len(b) / pageSize {
		page := b[i*pageSize : (i+1)*pageSize]
		if bytes.Equal(page, zero) {
			continue
		}
		copy(p.image[i*pageSize:], page)
		p.filled = lengthenSpans(p.filled, i, 0)
	}
}

// lengthenSpans adds page i, which is behind all others, to the last stretch if it is no more than gap pages away.
func lengthenSpans(s []stretch, i, gap int) []stretch {
	if n := len(s); n > 0 && i-s[n-1].to <= gap {
		s[n-1].to = i + 1
		return s
	}
	return append(s, stretch{i, i + 1})
}

// restore makes the memory as it was. It has been given its size already.
func (p *pages) restore() {
	if p.image == nil {
		return
	}
	memory := p.memory.reserved
	if !p.clean() {
		if p.runs++; p.runs <= eagerly || p.runs == p.learn {
			p.compare()
			p.learn = 2 * p.runs
		}
		p.drop()
		for _, s := range p.hot {
			copy(memory[s.from*pageSize:s.to*pageSize], p.image[s.from*pageSize:])
		}
		p.faults = threadFaults()
		return
	}
	for _, s := range p.hot {
		copy(memory[s.from*pageSize:s.to*pageSize], p.image[s.from*pageSize:])
	}
}

// clean reports whether no page but the hot ones can have been written to.
func (p *pages) clean() bool {
	if p.faults < 0 || !faultsCount() {
		return false
	}
	now := threadFaults()
	return now == p.faults
}

// compare looks for pages that differ from the image, and chooses those that are hot.
func (p *pages) compare() {
	b := p.memory.reserved
	p.hot = p.hot[:0]
	for i := range p.score {
		from, to := i*pageSize, (i+1)*pageSize
		switch {
		case !bytes.Equal(b[from:to], p.image[from:to]):
			p.score[i] = min(p.score[i]+hotScore, maxScore)
		case p.score[i] > 0:
			p.score[i]--
		}
		if p.score[i] > 0 {
			p.hot = lengthenSpans(p.hot, i, hotGap)
		}
	}
}

// drop drops all pages but the hot ones, and has those that are not zero mapped again.
func (p *pages) drop() {
	b := p.memory.reserved
	at := 0
	for _, s := range append(p.hot, stretch{int(p.memory.usable) / pageSize, math.MaxInt}) {
		if s.from > at {
			_ = unix.Madvise(b[at*pageSize:s.from*pageSize], unix.MADV_DONTNEED)
		}
		at = s.to
	}
	for _, s := range p.filled {
		_ = unix.Madvise(b[s.from*pageSize:s.to*pageSize], unix.MADV_POPULATE_READ) // else they fault when they are read
	}
}

func (p *pages) free() {
	if p.image != nil {
		_ = unix.Munmap(p.image)
		p.image = nil
	}
}

// threadFaults returns the number of page faults that the calling thread has had; -1 if that is unknown.
func threadFaults() int64 {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &ru); err != nil {
		return -1
	}
	return ru.Minflt + ru.Majflt
}

// faultsCount reports whether this kernel counts the fault of a write to a private page that was read before.
var faultsCount = sync.OnceValue(func() bool {
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, int64(pageSize)); err != nil {
		return false
	}
	b, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Munmap(b) }()
	sum := b[0]
	before := threadFaults()
	b[1] = sum + 1
	after := threadFaults()
	return before >= 0 && after == before+1
})
