package agent

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
	"github.com/millrace/millrace/shuffle/flight"
)

const (
	maxPeers    = 8    // nodes that one reduce attempt asks at once
	maxQuestion = 1024 // runs that are asked for at once
	fetchBuffer = 256 << 10
	fetchAgain  = time.Second // after a node could not be asked
	maxRun      = 1 << 42     // bytes of one run in one partition
)

// A fetcher brings the runs that other nodes keep to one reduce attempt, all into one file without a name. It has a goroutine for each node that it
// asks, and what it knows of a run is small.
type fetcher struct {
	t    *try
	net  *Network
	ctx  context.Context
	stop context.CancelFunc
	busy sync.WaitGroup
	wake chan struct{} // something came, or is gone

	mu      sync.Mutex
	peers   map[place]*peer
	wants   map[job.TaskID]*want // that did not come yet
	asked   int                  // peers that are being asked
	strayed time.Time            // astray was true
	file    *os.File
	end     int64 // of what the file is to hold
	came    []arrival
	err     error // why there is no point in going on
}

// A place is where runs are kept.
type place struct {
	node        string
	incarnation uint64
}

// A peer is a node that keeps runs.
type peer struct {
	place
	address string  // "": it is not known to be there
	queue   []*want // not asked for
	batch   []*want // being asked for; nil: it is not being asked
	stop    context.CancelFunc
	heard   time.Time // of it, or when it was first asked; zero: there is nothing to hear
	bad     time.Time // since when it has brought nothing when it was asked; zero: it has
	again   time.Time // not to be asked before
}

// A want is a run that is wanted.
type want struct {
	run    coordinator.Run
	gone   string // why its node cannot give it; "": it may
	at, n  int64  // where in the file there is room for it
	placed bool
}

// An arrival is a run that came.
type arrival struct {
	attempt job.AttemptID
	part
}

func newFetcher(ctx context.Context, t *try) *fetcher {
	f := &fetcher{t: t, net: t.a.job.Network, wake: make(chan struct{}, 1), peers: make(map[place]*peer), wants: make(map[job.TaskID]*want)}
	f.ctx, f.stop = context.WithCancel(ctx)
	return f
}

// close ends all that is under way, and lets go of what came.
func (f *fetcher) close() error {
	f.stop()
	f.busy.Wait()
	f.t.a.runs.give(f.end)
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

// want has runs fetched, in place of earlier ones of their tasks that did not come. Those of this node are gone: it has started again. Addresses are
// those of their nodes.
func (f *fetcher) want(runs []coordinator.Run, addresses map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.peers {
		if p.address == "" {
			p.address = addresses[p.node]
		}
	}
	if len(runs) == 0 {
		return
	}
	for _, r := range runs {
		w := &want{run: r}
		f.wants[r.Attempt.Task] = w
		if r.Node == f.t.a.job.Sender.Node {
			w.gone = "its node has started again"
			continue
		}
		at := place{r.Node, r.Incarnation}
		p := f.peers[at]
		if p == nil {
			p = &peer{place: at}
			f.peers[at] = p
		}
		p.address = addresses[r.Node]
		p.queue = append(p.queue, w)
	}
	for _, p := range f.peers {
		if len(p.batch) > 0 && !slices.ContainsFunc(p.batch, f.wanted) {
			p.stop()
		}
	}
	f.dispatch()
}

// forget drops the want of a run that is had otherwise.
func (f *fetcher) forget(t job.TaskID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.wants, t)
	f.dispatch()
}

// astray reports whether it is not known where some node is, at most every now and then.
func (f *fetcher) astray() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.strayed) < 2*askAgain {
		return false
	}
	for _, p := range f.peers {
		if p.address == "" {
			f.strayed = time.Now()
			return true
		}
	}
	return false
}

// has reports whether a run of the task is on its way, and which.
func (f *fetcher) has(t job.TaskID) (coordinator.Run, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.wants[t]; w != nil {
		return w.run, true
	}
	return coordinator.Run{}, false
}

// wanted reports whether w is still to come. The caller holds f.mu.
func (f *fetcher) wanted(w *want) bool { return f.wants[w.run.Attempt.Task] == w && w.gone == "" }

// take returns what came since it was last called, whether everything has, and why there is no point in going on.
func (f *fetcher) take() (came []arrival, all bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	came, f.came = f.came, nil
	f.dispatch()
	return came, len(f.wants) == 0, f.err
}

// missing returns what does not come. Of each node that is out of reach it names one run.
func (f *fetcher) missing() (all []coordinator.Missing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	patience := f.net.Patience
	if patience == 0 {
		patience = defaultPatience
	}
	late := func(t time.Time) bool { return !t.IsZero() && time.Since(t) > patience }
	for _, p := range f.peers {
		if !late(p.heard) && !late(p.bad) {
			continue
		}
		open := slices.Concat(p.batch, p.queue)
		if i := slices.IndexFunc(open, f.wanted); i >= 0 {
			all = append(all, coordinator.Missing{Run: open[i].run.Attempt})
		}
	}
	for _, w := range f.wants {
		if w.gone != "" {
			all = append(all, coordinator.Missing{Run: w.run.Attempt, Gone: true, Reason: w.gone})
		}
	}
	return all[:min(len(all), coordinator.MaxMissing)]
}

// signal has the attempt look at what came. The caller holds f.mu.
func (f *fetcher) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// dispatch asks nodes for what is wanted of them. The caller holds f.mu.
func (f *fetcher) dispatch() {
	if f.ctx.Err() != nil || f.err != nil {
		return
	}
	now := time.Now()
	for at, p := range f.peers { // in any order, so that not all reduces of a job begin with the same one
		if f.asked == maxPeers {
			return
		}
		if p.batch != nil || now.Before(p.again) {
			continue
		}
		p.queue = slices.DeleteFunc(p.queue, func(w *want) bool { return !f.wanted(w) })
		if len(p.queue) == 0 {
			delete(f.peers, at)
			continue
		}
		n := min(len(p.queue), maxQuestion)
		p.batch, p.queue = slices.Clone(p.queue[:n]), slices.Delete(p.queue, 0, n)
		f.asked++
		if p.heard.IsZero() {
			p.heard = now
		}
		var ctx context.Context
		ctx, p.stop = context.WithCancel(f.ctx)
		address := p.address
		f.busy.Go(func() { f.ask(ctx, p, address) })
	}
}

// ask asks a node for a batch of runs.
func (f *fetcher) ask(ctx context.Context, p *peer, address string) {
	began := time.Now()
	err := f.bring(ctx, p, address)
	p.stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked--
	asked := len(p.batch)
	open := slices.DeleteFunc(p.batch, func(w *want) bool { return !f.wanted(w) })
	switch {
	case err == nil:
		p.heard, p.bad = time.Time{}, time.Time{}
	case len(open) < asked:
		p.bad = time.Time{}
	case p.bad.IsZero():
		p.bad = began
	}
	if err != nil {
		p.again = time.Now().Add(fetchAgain)
	}
	p.queue, p.batch = append(open, p.queue...), nil
	f.dispatch()
	f.signal()
}

// bring asks for a batch and takes what is answered.
func (f *fetcher) bring(ctx context.Context, p *peer, address string) error {
	if address == "" {
		return fmt.Errorf("node %s is not known to be there", p.node)
	}
	l := f.t.lease
	q := question{node: p.node, partition: l.Partition}
	for _, w := range p.batch {
		q.runs = append(q.runs, w.run)
	}
	stamp := flight.Stamp{
		Job: f.t.a.job.Sender.Job, Task: string(l.Attempt.Task), Attempt: uint32(l.Attempt.Try),
		Incarnation: p.incarnation, Epoch: f.t.a.job.Sender.Epoch,
	}
	r, err := f.net.Flight.Ask(address, runsOf(stamp.Job), stamp, q.encode(), func() { f.hear(p) })
	if err != nil {
		return err
	}
	defer r.Close()
	if err := r.Open(ctx); err != nil {
		return err
	}
	in := bufio.NewReaderSize(r, fetchBuffer)
	for i, w := range p.batch {
		if err := f.receive(in, w); err != nil {
			if err == io.EOF && i > 0 {
				return nil // the others are asked for again
			}
			return unexpected(err)
		}
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return fmt.Errorf("%w: %s says more than it was asked: %w", shuffle.ErrCorrupt, p.node, err)
	}
	return nil
}

// hear notes that a node is there.
func (f *fetcher) hear(p *peer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.heard = time.Now()
}

// receive takes one run of an answer. The error is io.EOF if the answer ends before it.
func (f *fetcher) receive(in *bufio.Reader, w *want) error {
	var head [answerHead]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return err
	}
	count := binary.LittleEndian.Uint32(head[1:])
	switch {
	case head[0] == stateGone && count == 0:
		f.lose(w, "its node has not got it")
		return nil
	case head[0] != stateHere || count > maxSections:
		return fmt.Errorf("%w: run %s has state %d and %d sections", shuffle.ErrCorrupt, w.run.Attempt, head[0], count)
	}
	sections, size, err := f.table(in, int(count))
	if err != nil {
		return err
	}
	file, err := f.room(w, size)
	if err != nil {
		return f.fail(err)
	}
	if err := f.body(in, w, file, size); err != nil {
		return err
	}
	for i := range sections {
		sections[i].Offset += w.at
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wanted(w) {
		delete(f.wants, w.run.Attempt.Task)
		f.came = append(f.came, arrival{w.run.Attempt, part{file, runner.Runs{Sections: sections}}})
		f.signal()
	}
	return nil
}

// table takes the table of a run's sections, which are of one partition and lie one after the other.
func (f *fetcher) table(in *bufio.Reader, count int) (sections []shuffle.Section, size int64, err error) {
	entry := len(shuffle.AppendTable(nil, make([]shuffle.Section, 1)))
	b := make([]byte, count*entry)
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, 0, unexpected(err)
	}
	p := f.t.lease.Partition
	if sections, err = shuffle.ParseTable(b, p+1, maxRun); err != nil {
		return nil, 0, err
	}
	for i := range sections {
		s := &sections[i]
		if s.Partition != p || s.Offset != size || s.Length > maxRun-size {
			return nil, 0, fmt.Errorf("%w: section of %d bytes at %d of partition %d, wanted is %d of partition %d", shuffle.ErrCorrupt,
				s.Length, s.Offset, s.Partition, size, p)
		}
		size += s.Length
	}
	return sections, size, nil
}

// room makes sure that there is room in the file for a run of that size.
func (f *fetcher) room(w *want, size int64) (*os.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		var err error
		if f.file, err = newSpill(f.t.a.job.SpillDir); err != nil {
			return nil, err
		}
	}
	if w.placed && w.n == size { // an earlier answer broke off
		return f.file, nil
	}
	limit := f.t.a.job.Hello.Limits.Spill
	if !f.t.a.runs.take(limit, size) {
		return nil, attemptError(fmt.Sprintf("%v: the runs of other nodes take more than what is left of %d MiB", shuffle.ErrSpace, limit>>20))
	}
	w.at, w.n, w.placed = f.end, size, true
	f.end += size
	return f.file, nil
}

// body takes the bytes of a run.
func (f *fetcher) body(in *bufio.Reader, w *want, file *os.File, left int64) error {
	for at := w.at; left > 0; {
		if _, err := in.Peek(1); err != nil {
			if errors.Is(err, shuffle.ErrAborted) {
				f.lose(w, err.Error()) // it cannot read it
			}
			return unexpected(err)
		}
		b, _ := in.Peek(int(min(left, int64(in.Buffered())))) // they are there
		if _, err := file.WriteAt(b, at); err != nil {
			return f.fail(attemptError(fmt.Sprintf("write what was fetched: %v", err)))
		}
		n, _ := in.Discard(len(b))
		at += int64(n)
		left -= int64(n)
	}
	return nil
}

// fail has the attempt end with err, which is returned.
func (f *fetcher) fail(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	f.signal()
	return err
}

// lose notes that a node that is there cannot give a run.
func (f *fetcher) lose(w *want, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.gone = why
	f.signal()
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
