package sandbox

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Pages are the linear memory of a snapshot, and the mapping through which an instance sees it: a private one of a file in memory, of which
// the kernel makes a copy of a page when it is first written to. Each such fault takes longer than to copy ten pages, and so does each system
// call that drops copies. Therefore pages that were written to (the hot ones) keep their copies, and are copied back from the file.
//
// What is certain is this: all copies are of hot pages. A copy is made in a page fault only, and the kernel counts those. A run without
// faults has written to no other page. A run of few faults is searched for pages that changed; if as many are found, there are no other
// copies. Else all pages that are not hot are dropped.
type pages struct {
	memory    *memoryPlan
	image     []byte    // of the file: read only; some pages more than the snapshot's memory, for it to grow into
	isHot     []bool    // of each page
	stretches []stretch // of hot pages
	hot       int       // pages in them

	reach  int   // pages that the memory had in the run
	base   int64 // faults of the thread before the run
	faults int64 // in the run; -1: unknown
	runs   int
	sparse bool // the image is too large to be searched and mapped in whole
	wild   int  // how often the search did not help lately

	probes int
	next   int // run before which there is no other
}

// A stretch is a range of pages.
type stretch struct{ from, to int }

const (
	headroom  = 1 << 20  // bytes that the memory can grow at least without leaving the image
	chunk     = 4 << 20  // the image is a multiple of it: Go's heap grows by so much
	maxSearch = 16 << 20 // bytes of an image that is searched and mapped in whole
	maxHot    = 256      // pages
	hotGap    = 2        // pages between two hot ones that are hot as well
	fewFaults = 64       // that a search may explain
	noise     = 3        // faults that may well be those of our own heap, while it is new
	respite   = 2048     // runs
	maxWild   = 64       // searches without success, until there are none for a while
	eagerly   = 4        // runs that are searched in any case
)

var pageSize = os.Getpagesize()

// newPages makes the image of m, and maps m to it.
func newPages(m *memoryPlan) (_ *pages, err error) {
	p := &pages{memory: m, base: -1, faults: -1}
	if m.size == 0 {
		return p, nil
	}
	size := int(m.size)
	if p.sparse = size > maxSearch; !p.sparse {
		size = min((size+headroom+chunk-1)/chunk*chunk, len(m.reserved))
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
	fill(p.image, m.bytes())
	if err = unix.Mprotect(p.image, unix.PROT_READ); err == nil {
		_, err = unix.MmapPtr(fd, 0, unsafe.Pointer(&m.reserved[0]), uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED)
	}
	if err != nil {
		p.free()
		return nil, err
	}
	m.usable = max(m.usable, uint64(size))
	p.isHot = make([]bool, size/pageSize)
	return p, nil
}

// fill copies the pages that are not zero.
func fill(image, b []byte) {
	zero := make([]byte, pageSize)
	for ; len(b) > 0; b, image = b[pageSize:], image[pageSize:] {
		if !bytes.Equal(b[:pageSize], zero) {
			copy(image, b[:pageSize])
		}
	}
}

// begin is called when the memory is as it must be, before the run goes on, on the run's thread.
func (p *pages) begin() { p.base = threadUsage().faults }

// end is called after the run, with the faults of its thread.
func (p *pages) end(faults int64) {
	p.faults = -1
	if p.base >= 0 && faultsCount() {
		p.faults = faults - p.base
	}
	p.base = -1
}

// restore makes the memory as it was. It has been given its size already; peak is the largest that it had.
func (p *pages) restore(peak uint64) {
	if p.image == nil {
		return
	}
	if beyond := uint64(len(p.image)); peak > beyond {
		_ = unix.Madvise(p.memory.reserved[beyond:peak], unix.MADV_DONTNEED)
	}
	p.reach = int(min(peak, uint64(len(p.image)))) / pageSize
	p.runs++
	for _, s := range p.stretches {
		p.copyBack(s)
	}
	switch {
	case p.faults == 0:
		p.wild = max(p.wild-1, 0)
	case p.sparse || p.wild >= maxWild:
		if p.runs <= eagerly || p.runs&(p.runs-1) == 0 { // ever more seldom
			p.search()
		}
		p.drop()
		if p.runs%respite == 0 {
			p.wild = 0
		}
	case p.faults > 0 && p.faults <= fewFaults && p.search() == p.faults:
		p.wild = max(p.wild-1, 0)
	default:
		if p.faults > noise {
			p.wild++
		}
		if p.runs >= p.next {
			p.next = p.runs + 1<<p.probes
			p.probes++
			p.probe()
		}
		p.drop()
		p.populate()
	}
}

// copyBack copies pages from the image.
func (p *pages) copyBack(s stretch) {
	copy(p.memory.reserved[s.from*pageSize:s.to*pageSize], p.image[s.from*pageSize:])
}

func (p *pages) changed(i int) bool {
	from, to := i*pageSize, (i+1)*pageSize
	return !bytes.Equal(p.memory.reserved[from:to], p.image[from:to])
}

// search looks for pages that are not hot and have changed, brings them back and makes them hot. It returns their number.
func (p *pages) search() (found int64) {
	for s := range p.cold {
		for i := s.from; i < s.to; i++ {
			if !p.changed(i) {
				continue
			}
			found++
			if p.hot < maxHot {
				p.copyBack(stretch{i, i + 1})
				p.isHot[i] = true
				p.hot++
			} else {
				found = -1 << 32 // there are other copies
			}
		}
	}
	if found != 0 {
		p.gather()
	}
	return found
}

// probe finds all pages that are copies, also those that are equal to the image, and makes them hot: where a write does not
// fault, there is a copy. It leaves a copy of every page behind.
func (p *pages) probe() {
	before := threadUsage().faults
	for s := range p.cold {
		for i := s.from; i < s.to && p.hot < maxHot; i++ {
			b := &p.memory.reserved[i*pageSize]
			*b = p.image[i*pageSize]
			after := threadUsage().faults
			if after == before {
				p.copyBack(stretch{i, i + 1})
				p.isHot[i] = true
				p.hot++
			}
			before = after
		}
	}
	p.gather()
}

// gather makes stretches of the hot pages, and hot pages of small gaps between them.
func (p *pages) gather() {
	p.stretches, p.hot = p.stretches[:0], 0
	for i, hot := range p.isHot {
		if !hot {
			continue
		}
		last := len(p.stretches) - 1
		if last >= 0 && i-p.stretches[last].to <= hotGap {
			for gap := p.stretches[last].to; gap < i; gap++ {
				p.isHot[gap] = true
				p.copyBack(stretch{gap, gap + 1})
			}
			p.stretches[last].to = i + 1
		} else {
			p.stretches = append(p.stretches, stretch{i, i + 1})
		}
	}
	for _, s := range p.stretches {
		p.hot += s.to - s.from
	}
}

// cold yields the pages that are not hot, as far as the run could reach.
func (p *pages) cold(yield func(stretch) bool) {
	at := 0
	for _, s := range p.stretches {
		if s.from = min(s.from, p.reach); s.from > at && !yield(stretch{at, s.from}) {
			return
		}
		at = s.to
	}
	if at < p.reach {
		yield(stretch{at, p.reach})
	}
}

// drop drops the copies of all pages that are not hot.
func (p *pages) drop() {
	for s := range p.cold {
		if err := unix.Madvise(p.memory.reserved[s.from*pageSize:s.to*pageSize], unix.MADV_DONTNEED); err != nil {
			p.copyBack(s) // so it is there, for sure
		}
	}
}

// populate maps the pages that are not hot, for they would fault when they are read.
func (p *pages) populate() {
	for s := range p.cold {
		_ = unix.Madvise(p.memory.reserved[s.from*pageSize:s.to*pageSize], unix.MADV_POPULATE_READ) // older kernels do not have it
	}
}

func (p *pages) free() {
	if p.image != nil {
		_ = unix.Munmap(p.image)
		p.image = nil
	}
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
	before := threadUsage().faults
	b[1] = sum + 1
	after := threadUsage().faults
	return before >= 0 && after == before+1
})
