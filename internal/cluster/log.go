package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"
)

const (
	tryWait     = 2 * time.Second        // for an append, before it is read back, and for a read, before it is tried again
	readWait    = 30 * time.Second       // for reads while the engine has no leader, or one that does not know yet that it is none
	retryWait   = 100 * time.Millisecond // between tries of an append or a read
	maxDeclined = 3                      // answers that an append was not taken, before it is given up
)

// A Record is one record of a job's log. Lead marks a coordinator's first entry, which has an epoch and no data.
type Record struct {
	Seq   uint64 // of its entry: grows; records that were appended together share it
	Epoch uint64
	Lead  bool
	Data  []byte
}

// A Log is the append-only log of one job. Its entries are in one order for all, with epochs that never go down; each
// coordinator begins with Lead, and from then on those before it get ErrFenced. Its methods may be called concurrently.
type Log struct {
	store  logStore
	job    string
	writer [16]byte // names this Log among all

	mu     sync.Mutex
	number uint64 // of the last entry that this Log tried to append
	last   uint64 // sequence number of the last entry that it knows; 0: none
	seen   uint64 // highest epoch in the log that it knows
	epoch  uint64 // that it leads; 0: none
	fenced error
}

// A logStore is what a Log needs of the engine.
type logStore interface {
	// put appends data if last is the sequence number of the subject's last message.
	put(ctx context.Context, subject string, data []byte, last uint64) (seq uint64, err error)
	// next returns the first message of the subject with a sequence number of at least seq; 0: there is none.
	next(ctx context.Context, subject string, seq uint64) (uint64, []byte, error)
	// end returns the last message of the subject; 0: there is none.
	end(ctx context.Context, subject string) (uint64, []byte, error)
	// elsewhere has the next calls go to another server: this one does not answer, or is behind. It is false if there is no other.
	elsewhere() bool
}

// errMoved is what put returns when last was not the last, as the server knew it; errRefused wraps what certainly was not appended, errDeclined what one server says
// was not.
var (
	errMoved    = errors.New("the log has other entries")
	errRefused  = errors.New("refused")
	errDeclined = errors.New("declined")
)

// Log opens the log of a job, which is empty if there is none yet.
func (c *Cluster) Log(ctx context.Context, job string) (*Log, error) {
	if !plain(job) || len(job) > maxSubject {
		return nil, fmt.Errorf("job id %q: want at most %d letters, digits, - and _", job, maxSubject)
	}
	return openLog(ctx, natsStore{c, logStream}, job)
}

// Resume opens the log of a job that is known to have one: ErrLost if it is empty.
func (c *Cluster) Resume(ctx context.Context, job string) (*Log, error) {
	l, err := c.Log(ctx, job)
	if err == nil && l.last == 0 {
		return nil, fmt.Errorf("log of job %s: %w: it has no entries", job, ErrLost)
	}
	return l, err
}

func openLog(ctx context.Context, store logStore, job string) (*Log, error) {
	l := &Log{store: store, job: job}
	rand.Read(l.writer[:])
	seq, data, err := l.end(ctx, 0)
	if err != nil {
		return nil, fmt.Errorf("log of job %s: %w", job, err)
	}
	if seq > 0 {
		e, err := parseEntry(seq, data)
		if err != nil {
			return nil, fmt.Errorf("log of job %s: %w", job, err)
		}
		l.last, l.seen = seq, e.epoch
	}
	return l, nil
}

// end returns the last entry of the log, of which known is an entry.
func (l *Log) end(ctx context.Context, known uint64) (seq uint64, data []byte, err error) {
	err = l.read(ctx, known, func(ctx context.Context) (uint64, error) {
		seq, data, err = l.store.end(ctx, logPrefix+l.job)
		return seq, err
	})
	return seq, data, err
}

// next returns the first entry from seq on; 0: there is none, which cannot be if seq is at most known, an entry of the log.
func (l *Log) next(ctx context.Context, seq, known uint64) (at uint64, data []byte, err error) {
	if seq > known {
		known = 0
	}
	err = l.read(ctx, min(seq, known), func(ctx context.Context) (uint64, error) {
		at, data, err = l.store.next(ctx, logPrefix+l.job, seq)
		return at, err
	})
	return at, data, err
}

// read repeats f until its answer knows the entry known: a server that was cut off may not have noticed yet.
func (l *Log) read(ctx context.Context, known uint64, f func(context.Context) (uint64, error)) error {
	return persist(ctx, l.store.elsewhere, func(ctx context.Context) error {
		seq, err := f(ctx)
		if err == nil && seq < known {
			err = fmt.Errorf("%w: entry %d is gone", ErrCorrupt, known)
		}
		return err
	})
}

// persist repeats f, each time for tryWait at most, until it succeeds, cannot, or has taken readWait. What is corrupt may be better at another server.
func persist(ctx context.Context, elsewhere func() bool, f func(context.Context) error) error {
	for began := time.Now(); ; {
		try, cancel := context.WithTimeout(ctx, tryWait)
		err := f(try)
		cancel()
		switch {
		case err == nil, errors.Is(err, ErrClosed), errors.Is(err, ErrLost), errors.Is(err, ErrUnsafe), time.Since(began) >= readWait:
			return err
		case ctx.Err() != nil:
			return also(context.Cause(ctx), err)
		}
		if other := elsewhere(); errors.Is(err, ErrCorrupt) && !other {
			return err
		}
		if !pause(ctx, retryWait) {
			return also(context.Cause(ctx), err)
		}
	}
}

// also returns an error that is both, in one line.
func also(err, more error) error {
	switch {
	case err == nil || errors.Is(more, err):
		return more
	case more == nil:
		return err
	}
	return fmt.Errorf("%w: %w", err, more)
}

// pause waits for d. It is false if ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Epoch returns the highest epoch that was seen in the log.
func (l *Log) Epoch() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen
}

// Lead appends the first entry of the coordinator of epoch, which must be higher than all in the log; else ErrFenced.
// After it nobody else can append, and Read finds everything that anybody has.
func (l *Log) Lead(ctx context.Context, epoch uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fenced != nil {
		return fmt.Errorf("log of job %s: %w", l.job, l.fenced)
	}
	if epoch <= l.seen {
		return fmt.Errorf("log of job %s: %w: epoch %d is not above %d", l.job, ErrFenced, epoch, l.seen)
	}
	if err := l.put(ctx, kindLead, epoch, nil); err != nil {
		return err
	}
	l.epoch = epoch
	return nil
}

// Append appends records, all together or none, as the coordinator of epoch, which must have called Lead. The error is ErrFenced when
// there is another coordinator, ErrUnknown when ctx ended too early to know, ErrTooLarge; else nothing was appended.
func (l *Log) Append(ctx context.Context, epoch uint64, records ...[]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.fenced != nil:
		return fmt.Errorf("log of job %s: %w", l.job, l.fenced)
	case epoch < l.seen:
		return fmt.Errorf("log of job %s: %w: epoch %d is over, %d is the latest", l.job, ErrFenced, epoch, l.seen)
	case epoch != l.epoch || epoch == 0:
		return fmt.Errorf("log of job %s: append in epoch %d, which it does not lead", l.job, epoch)
	case len(records) == 0:
		return nil
	}
	var body []byte
	for _, r := range records {
		body = appendRecord(body, r)
		if len(body) > MaxMessage {
			return fmt.Errorf("log of job %s: %w: %d records pass %d bytes", l.job, ErrTooLarge, len(records), MaxMessage)
		}
	}
	return l.put(ctx, kindRecords, epoch, body)
}

// put appends an entry after all others of this epoch and below. l.mu is held.
func (l *Log) put(ctx context.Context, kind byte, epoch uint64, body []byte) error {
	l.number++
	e := entry{kind: kind, epoch: epoch, writer: l.writer, number: l.number, body: body}
	data := e.append(nil)
	doubt := error(nil) // why a try may have landed
	declined := 0
	for {
		try, cancel := context.WithTimeout(ctx, tryWait)
		seq, err := l.store.put(try, logPrefix+l.job, data, l.last)
		cancel()
		switch {
		case err == nil:
			l.last, l.seen = seq, epoch
			return nil
		case errors.Is(err, errRefused) && doubt == nil:
			return fmt.Errorf("log of job %s: %w", l.job, err)
		case errors.Is(err, errMoved):
			if doubt == nil { // a server that was cut off says so as well, while another takes the entry
				doubt = err
			}
		case errors.Is(err, errRefused):
			declined++
		case errors.Is(err, errDeclined):
			doubt = err
			declined++
		default:
			doubt = err
			l.store.elsewhere()
		}
		// Somebody's entry is there, or ours may be: what is new tells.
		landed, rerr := l.catchUp(ctx, epoch)
		switch {
		case landed && rerr == nil:
			return nil
		case errors.Is(rerr, ErrFenced):
			return rerr
		case ctx.Err() != nil, rerr != nil, declined >= maxDeclined:
			return l.unknown(also(doubt, rerr))
		}
		if !pause(ctx, retryWait) {
			return l.unknown(doubt)
		}
	}
}

// unknown is the error of an append that must be given up; doubt is why it may have landed.
func (l *Log) unknown(doubt error) error {
	return fmt.Errorf("log of job %s: an entry %w: %w", l.job, ErrUnknown, doubt)
}

// catchUp reads the entries after the last known one, and says whether the last that this Log tried to append is
// among them. It fails with ErrFenced, for good, if another coordinator of this epoch or a higher one is.
func (l *Log) catchUp(ctx context.Context, epoch uint64) (landed bool, err error) {
	for {
		seq, data, err := l.next(ctx, l.last+1, l.last)
		if err != nil {
			return landed, fmt.Errorf("log of job %s: %w", l.job, err)
		}
		if seq == 0 {
			return landed, l.present(ctx)
		}
		e, err := parseEntry(seq, data)
		if err != nil {
			return landed, fmt.Errorf("log of job %s: %w", l.job, err)
		}
		l.last, l.seen = seq, max(l.seen, e.epoch)
		switch {
		case e.writer == l.writer:
			landed = landed || e.number == l.number
		case e.epoch >= epoch:
			l.fenced = fmt.Errorf("%w: another coordinator has epoch %d, this one has %d", ErrFenced, e.epoch, epoch)
			return landed, fmt.Errorf("log of job %s: %w", l.job, l.fenced)
		}
	}
}

// present fails if entries that were there are gone: a log that was lost is not an empty one.
func (l *Log) present(ctx context.Context) error {
	if _, _, err := l.end(ctx, l.last); err != nil {
		return fmt.Errorf("log of job %s: %w", l.job, err)
	}
	return nil
}

// Last returns the last record of the log; false if it has none.
func (l *Log) Last(ctx context.Context) (r Record, ok bool, err error) {
	l.mu.Lock()
	known := l.last
	l.mu.Unlock()
	seq, data, err := l.end(ctx, known)
	if err != nil || seq == 0 {
		return r, false, err
	}
	e, err := parseEntry(seq, data)
	if err != nil {
		return r, false, fmt.Errorf("log of job %s: %w", l.job, err)
	}
	e.yield(func(x Record, _ error) bool {
		r = x
		return true
	})
	return r, true, nil
}

// Read yields the records from the first to the last that was in the log when it began, in order, those of
// Lead included. It stops at the first error, which it yields: ErrFenced when this Log leads an epoch and there is a higher one.
// Data is the caller's.
func (l *Log) Read(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		fail := func(err error) { yield(Record{}, fmt.Errorf("log of job %s: %w", l.job, err)) }
		l.mu.Lock()
		known := l.last
		l.mu.Unlock()
		end, _, err := l.end(ctx, known)
		if err != nil {
			fail(err)
			return
		}
		epoch := uint64(0)
		for at := uint64(1); at <= end; {
			seq, data, err := l.next(ctx, at, end)
			if err != nil {
				fail(err)
				return
			}
			e, err := parseEntry(seq, data)
			if err == nil && e.epoch < epoch {
				err = fmt.Errorf("%w: entry %d goes back to epoch %d from %d", ErrCorrupt, seq, e.epoch, epoch)
			}
			if err == nil {
				err = l.check(e.epoch)
			}
			if err != nil {
				fail(err)
				return
			}
			if !e.yield(yield) {
				return
			}
			epoch, at = e.epoch, seq+1
		}
	}
}

// check fences this Log if it leads an epoch below the one that was read.
func (l *Log) check(epoch uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch != 0 && epoch > l.epoch && l.fenced == nil {
		l.seen = max(l.seen, epoch)
		l.fenced = fmt.Errorf("%w: another coordinator has epoch %d, this one has %d", ErrFenced, epoch, l.epoch)
	}
	return l.fenced
}

func (e *entry) yield(yield func(Record, error) bool) bool {
	if e.kind == kindLead {
		return yield(Record{Seq: e.seq, Epoch: e.epoch, Lead: true}, nil)
	}
	for rest := e.body; len(rest) > 0; {
		var r []byte
		r, rest, _ = cutRecord(rest) // parseEntry has looked
		if !yield(Record{Seq: e.seq, Epoch: e.epoch, Data: r}, nil) {
			return false
		}
	}
	return true
}
