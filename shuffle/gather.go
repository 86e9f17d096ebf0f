package shuffle

import (
	"cmp"
	"fmt"
	"io"
	"slices"
)

// A File is where runs are written: a file that is read while it grows.
type File interface {
	io.Writer
	io.ReaderAt
}

// A Run is one section in a file.
type Run struct {
	Name    string // for errors: "m-00013.1"
	File    io.ReaderAt
	Section Section
	Done    func() // if not nil, called when the file is needed no more
}

// GatherOptions say how runs are merged. The zero value of a field means its default.
type GatherOptions struct {
	Budget    int64   // bytes of buffers; 0 means 256 MiB. Two runs are read at once, whatever it says.
	Combine   Combine // merges values of one key; nil keeps every record
	DigestKey uint64  // the secret of Digest; if given, uncombined runs are verified with it
	Spill     File    // takes what is merged early; of this Gather alone, and empty
	Limit     int64   // bytes that it may take; 0 means any number
	Fan       int     // most runs to read at once, at least 2; 0 means 512
}

const (
	defaultFan = 512
	mostBuffer = 256 << 10 // of one run

	// Ahead merges so many runs at once: fewer are not worth it, more would keep it from what comes meanwhile.
	leastAhead, mostAhead = 4, 16
)

// A Gather merges any number of runs in bounded memory, and, once it knows how many there are, with a bounded number of files open: where there
// are too many to be read at once, some are merged into one first. It is not for concurrent use.
type Gather struct {
	opts    GatherOptions
	total   int // that will come; -1: not known yet
	came    int
	cost    int64 // of the most expensive run
	fresh   []Run
	merged  []Run // in Spill
	out     sectionWriter
	started bool
	futile  bool  // merging ahead did not make records fewer
	open    []Run // those of the last merge
}

// NewGather returns a Gather without runs. Until it is told by [Gather.Total] how many come, it keeps all that are added.
func NewGather(opts *GatherOptions) *Gather {
	g := &Gather{opts: *opts, total: -1}
	g.opts.Budget = cmp.Or(g.opts.Budget, defaultBudget)
	g.opts.Fan = max(2, cmp.Or(g.opts.Fan, defaultFan))
	return g
}

// fan is how many runs are read at once.
func (g *Gather) fan() int {
	return max(2, min(g.opts.Fan, int(max(g.opts.Budget-sectionBuffers, 0)/max(g.cost, 1))))
}

// Add takes a run, which it lets go of by its Done. It may merge some of those that came.
func (g *Gather) Add(r Run) error {
	g.came++
	g.cost = max(g.cost, r.Section.cost(blockSize))
	g.fresh = append(g.fresh, r)
	return g.shrink()
}

// Total says how many runs come in all. It may merge some of those that came.
func (g *Gather) Total(n int) error {
	g.total = n
	return g.shrink()
}

// shrink merges runs that came if there will be more than can be read at once.
func (g *Gather) shrink() (err error) {
	if g.total < 0 {
		return nil
	}
	if g.came > g.total {
		return fmt.Errorf("%w: %d runs of %d came", ErrCorrupt, g.came, g.total)
	}
	for {
		left := len(g.fresh) + len(g.merged) + g.total - g.came
		if left <= g.fan() || len(g.fresh) < g.fan() {
			return nil
		}
		if g.fresh, err = g.reduce(g.fresh, left-g.fan()+1); err != nil {
			return err
		}
	}
}

// Ahead merges some of the runs that came, if that is likely to make records fewer: with Combine, unless it did not before. It is for times
// in which there is nothing to do but wait for runs, and reports whether it did anything.
func (g *Gather) Ahead() (bool, error) {
	n := min(len(g.fresh), mostAhead, g.fan())
	if g.opts.Combine == nil || g.futile || n < leastAhead {
		return false, nil
	}
	var before, size int64
	for _, r := range g.fresh {
		size += r.Section.Length
	}
	if g.opts.Limit > 0 && g.out.offset+size > g.opts.Limit/2 {
		return false, nil // what cannot be put off may need the room
	}
	all := g.fresh
	rest, err := g.reduce(g.fresh, n)
	g.fresh = rest
	if err != nil {
		return true, err
	}
	for _, r := range all[:n] {
		before += r.Section.Records
	}
	after := g.merged[len(g.merged)-1].Section.Records
	g.futile = after > before-before/4
	return true, nil
}

// Merge returns a Merger of all runs, which must have been added. Close must not be called before it is done.
func (g *Gather) Merge() (*Merger, error) {
	if g.came != g.total {
		return nil, fmt.Errorf("%w: %d runs of %d came", ErrCorrupt, g.came, g.total)
	}
	all := append(g.fresh, g.merged...)
	g.fresh, g.merged = nil, nil
	for len(all) > g.fan() {
		var err error
		if all, err = g.reduce(all, len(all)-g.fan()+1); err != nil {
			g.open = all
			return nil, err
		}
		all, g.merged = append(all, g.merged...), nil
	}
	g.open = all
	return Merge(g.readers(all), g.opts.Combine), nil
}

// Close lets go of all runs.
func (g *Gather) Close() {
	for _, rs := range [][]Run{g.fresh, g.merged, g.open} {
		done(rs)
	}
	g.fresh, g.merged, g.open = nil, nil, nil
}

func done(rs []Run) {
	for _, r := range rs {
		if r.Done != nil {
			r.Done()
		}
	}
}

// reduce merges the n shortest of runs, or as many as can be read at once, into one of g.merged, and returns the others.
func (g *Gather) reduce(runs []Run, n int) ([]Run, error) {
	slices.SortStableFunc(runs, func(a, b Run) int { return cmp.Compare(a.Section.Length, b.Section.Length) })
	n = min(g.fan(), n, len(runs))
	if !g.started {
		g.started = true
		g.out.start(g.opts.Spill, 0, g.opts.Limit)
	}
	sum := Section{}
	for _, r := range runs[:n] {
		sum.Emitted += r.Section.Emitted
		sum.Digest += r.Section.Digest
	}
	m := Merge(g.readers(runs[:n]), g.opts.Combine)
	g.out.begin()
	err := m.write(&g.out)
	if err == nil {
		err = g.out.end(&sum)
	}
	if err == nil {
		err = g.out.flush()
	}
	if err != nil {
		return runs, err
	}
	done(runs[:n])
	g.merged = append(g.merged, Run{File: g.opts.Spill, Section: sum})
	g.cost = max(g.cost, sum.cost(blockSize))
	return runs[n:], nil
}

// readers returns readers of runs.
func (g *Gather) readers(runs []Run) []*RunReader {
	if len(runs) == 0 {
		return nil
	}
	each := (g.opts.Budget - sectionBuffers) / int64(len(runs))
	buffer := min(max(each-g.cost+blockSize, blockSize), mostBuffer)
	rs := make([]*RunReader, len(runs))
	for i := range runs {
		r := &runs[i]
		rs[i] = NewRunReader(io.NewSectionReader(r.File, r.Section.Offset, r.Section.Length), &RunOptions{
			Name: r.Name, Expect: &r.Section, DigestKey: g.opts.DigestKey, Buffer: int(min(buffer, r.Section.Length)),
		})
	}
	return rs
}
