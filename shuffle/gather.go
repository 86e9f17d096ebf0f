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
	Runs      int     // how many there will be
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
)

// A Gather merges any number of runs in bounded memory, and with a bounded number of files open: where there are too many to be read at
// once, some are merged into one first. It is not for concurrent use.
type Gather struct {
	opts    GatherOptions
	came    int
	cost    int64 // of the most expensive run
	fresh   []Run
	merged  []Run // in Spill
	out     sectionWriter
	started bool
	open    []Run // those of the last merge
}

// NewGather returns a Gather without runs.
func NewGather(opts *GatherOptions) *Gather {
	g := &Gather{opts: *opts}
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
	if g.came++; g.came > g.opts.Runs {
		return fmt.Errorf("%w: run %d of %d", ErrCorrupt, g.came, g.opts.Runs)
	}
	g.cost = max(g.cost, r.Section.cost(blockSize))
	g.fresh = append(g.fresh, r)
	for {
		left := len(g.fresh) + len(g.merged) + g.opts.Runs - g.came
		if left <= g.fan() || len(g.fresh) < g.fan() {
			return nil
		}
		var err error
		if g.fresh, err = g.reduce(g.fresh, left); err != nil {
			return err
		}
	}
}

// Merge returns a Merger of all runs, which must have been added. Close must not be called before it is done.
func (g *Gather) Merge() (*Merger, error) {
	if g.came < g.opts.Runs {
		return nil, fmt.Errorf("%w: %d runs of %d came", ErrCorrupt, g.came, g.opts.Runs)
	}
	all := append(g.fresh, g.merged...)
	g.fresh, g.merged = nil, nil
	for len(all) > g.fan() {
		var err error
		if all, err = g.reduce(all, len(all)); err != nil {
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

// reduce merges the shortest of runs into one of g.merged, so many that left becomes what can be read at once, and returns the others.
func (g *Gather) reduce(runs []Run, left int) ([]Run, error) {
	slices.SortStableFunc(runs, func(a, b Run) int { return cmp.Compare(a.Section.Length, b.Section.Length) })
	n := min(g.fan(), left-g.fan()+1, len(runs))
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
