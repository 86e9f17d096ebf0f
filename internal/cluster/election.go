package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrDeposed is the cause of the end of a Leadership: another coordinator leads, or may soon.
var ErrDeposed = errors.New("no longer the leader")

const (
	leaderKey    = "leader"
	defaultLease = 10 * time.Second
	minLease     = time.Second
	maxLease     = time.Hour
	tenureHeader = 46
	maxHolder    = 255
)

var errResigned = fmt.Errorf("%w: it resigned", ErrDeposed)

// A tenure is the state that says who leads.
type tenure struct {
	epoch  uint64 // 0: nobody has led yet
	id     [16]byte
	number uint64        // of its renewals
	lease  time.Duration // for how long nobody else may lead after a renewal; 0: it was given up
	holder string        // for people
}

func (t *tenure) append(b []byte) []byte {
	b = append(b, version, kindTenure)
	b = binary.BigEndian.AppendUint64(b, t.epoch)
	b = append(b, t.id[:]...)
	b = binary.BigEndian.AppendUint64(b, t.number)
	b = binary.BigEndian.AppendUint64(b, uint64(t.lease))
	b = binary.BigEndian.AppendUint32(b, uint32(len(t.holder)))
	return append(b, t.holder...)
}

func parseTenure(b []byte) (t tenure, err error) {
	if len(b) < tenureHeader || b[0] != version || b[1] != kindTenure || len(b) > tenureHeader+maxHolder ||
		uint64(binary.BigEndian.Uint32(b[42:])) != uint64(len(b)-tenureHeader) {
		return t, fmt.Errorf("%w: who leads is said in %d bytes of which %.2x are the first", ErrCorrupt, len(b), b[:min(len(b), 2)])
	}
	t.epoch, t.number = binary.BigEndian.Uint64(b[2:]), binary.BigEndian.Uint64(b[26:])
	copy(t.id[:], b[10:26])
	lease := binary.BigEndian.Uint64(b[34:])
	if lease > uint64(maxLease) {
		return t, fmt.Errorf("%w: a lease of %d ns", ErrCorrupt, lease)
	}
	t.lease, t.holder = time.Duration(lease), string(b[tenureHeader:])
	return t, nil
}

// A Leadership is the time in which one coordinator leads its cluster. Whoever has one ends it with Resign, whatever has become of it.
type Leadership struct {
	Epoch uint64 // higher than all before it

	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{}
	resign chan struct{}
	once   sync.Once
	err    error // of giving it up
}

// Context returns what ends with the leadership, with the cause ErrDeposed: at the latest when half the lease has passed without contact. All
// that the leader does is done under it.
func (l *Leadership) Context() context.Context { return l.ctx }

// Resign ends the leadership, and tells the others if it can, who otherwise wait for the end of the lease. What is done in its name must have ended.
func (l *Leadership) Resign() error {
	l.once.Do(func() { close(l.resign) })
	<-l.done
	return l.err
}

// Campaign waits until this coordinator leads the cluster, or ctx ends. Lease is for how long nobody else begins to lead after the leader was heard of last,
// on each one's own monotonic clock; 0 means 10 seconds. A leader stops at half of it; one that was stopped itself, and does not know the
// time, is held off by its epoch. Holder is for people.
// Other errors are ErrLost, ErrUnsafe and ErrCorrupt: the state of the cluster must be mended first.
func (c *Cluster) Campaign(ctx context.Context, holder string, lease time.Duration) (*Leadership, error) {
	l, err := campaign(ctx, natsStore{c, stateStream}, &c.floor, holder, lease)
	if err != nil {
		return nil, c.wrap("lead the cluster", err)
	}
	return l, nil
}

func campaign(ctx context.Context, store logStore, f *floor, holder string, lease time.Duration) (*Leadership, error) {
	if lease == 0 {
		lease = defaultLease
	}
	if lease < minLease || lease > maxLease {
		return nil, fmt.Errorf("a lease of %v: want %v to %v", lease, minLease, maxLease)
	}
	e := &elector{store: store, floor: f, mine: tenure{lease: lease, holder: holder[:min(len(holder), maxHolder)]}}
	_, _ = rand.Read(e.mine.id[:]) // never fails
	for {
		at, won, err := e.try(ctx)
		switch {
		case ctx.Err() != nil && !won:
			return nil, context.Cause(ctx)
		case won && time.Since(at) < lease/2:
			return e.lead(ctx, at), nil
		case errors.Is(err, ErrLost), errors.Is(err, ErrUnsafe), errors.Is(err, ErrCorrupt), errors.Is(err, ErrClosed):
			return nil, err
		case err != nil:
			store.elsewhere()
		}
		if !pause(ctx, min(lease/10, time.Second)) {
			return nil, context.Cause(ctx)
		}
	}
}

// A floor is what a process knows of the state, over all campaigns of its own: nothing lies below it.
type floor struct {
	mu    sync.Mutex
	seq   uint64
	epoch uint64
}

// An elector is one coordinator's view of who leads. It belongs to one goroutine at a time.
type elector struct {
	store logStore
	floor *floor
	mine  tenure

	seq    uint64    // of the latest state that was seen
	seen   tenure    // what it says
	at     time.Time // when it was seen for the first time
	behind time.Time // since when answers are older than that; zero: they are not
}

// look reads who leads. What it knows already is not forgotten for an answer that is older.
func (e *elector) look(ctx context.Context) error {
	try, cancel := context.WithTimeout(ctx, min(tryWait, e.mine.lease/8))
	defer cancel()
	seq, data, err := e.store.end(try, statePrefix+leaderKey)
	if err != nil {
		return err
	}
	e.floor.mu.Lock()
	defer e.floor.mu.Unlock()
	if seq < max(e.floor.seq, 1) {
		return e.old(seq)
	}
	e.behind = time.Time{}
	if seq == e.seq {
		return nil
	}
	t, err := parseTenure(data)
	if err != nil {
		return err
	}
	if t.epoch < e.floor.epoch {
		return fmt.Errorf("%w: it goes back to epoch %d from %d", ErrLost, t.epoch, e.floor.epoch)
	}
	e.seq, e.seen, e.at = seq, t, time.Now()
	e.floor.seq, e.floor.epoch = seq, t.epoch
	return nil
}

// old is the error of an answer that does not know what is known already: the server may be behind the others, but not for ever.
func (e *elector) old(seq uint64) error {
	if e.behind.IsZero() {
		e.behind = time.Now()
	}
	if e.store.elsewhere() && time.Since(e.behind) < readWait {
		return errBehind
	}
	if seq == 0 {
		return fmt.Errorf("%w: it does not say who led last", ErrLost)
	}
	return fmt.Errorf("%w: it was at %d, now is at %d", ErrLost, e.floor.seq, seq)
}

var errBehind = errors.New("a server is behind the others")

// try takes the lead if nobody has it. at is when it was known last that nobody else does.
func (e *elector) try(ctx context.Context) (at time.Time, won bool, err error) {
	if err := e.look(ctx); err != nil {
		return at, false, err
	}
	if e.seen.id == e.mine.id {
		e.mine.epoch = e.seen.epoch // an earlier try landed late
		return e.renew(ctx, false)
	}
	if e.seen.lease > 0 && time.Since(e.at) < max(e.seen.lease, e.mine.lease) {
		return at, false, nil
	}
	e.mine.epoch, e.mine.number = e.seen.epoch+1, 0
	return e.renew(ctx, false)
}

// renew writes that this coordinator leads, or that it gives up. at is when it began.
func (e *elector) renew(ctx context.Context, over bool) (at time.Time, won bool, err error) {
	e.mine.number++
	next := e.mine
	if over {
		next.lease = 0
	}
	at = time.Now()
	try, cancel := context.WithTimeout(ctx, min(tryWait, e.mine.lease/8))
	seq, err := e.store.put(try, statePrefix+leaderKey, next.append(nil), e.seq)
	cancel()
	if err == nil {
		e.seq, e.seen, e.at = seq, next, at
		e.floor.mu.Lock()
		e.floor.seq, e.floor.epoch = max(e.floor.seq, seq), max(e.floor.epoch, next.epoch)
		e.floor.mu.Unlock()
		return at, true, nil
	}
	// It may have landed all the same; and a comparison that failed may have had no reason to.
	if rerr := e.look(ctx); rerr != nil {
		return at, false, also(err, rerr)
	}
	if e.seen.id == e.mine.id && e.seen.number == e.mine.number {
		return at, true, nil
	}
	return at, false, err
}

// lead keeps the lead, which was won at that time, until it is lost or given up.
func (e *elector) lead(ctx context.Context, at time.Time) *Leadership {
	l := &Leadership{Epoch: e.mine.epoch, done: make(chan struct{}), resign: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	go func() {
		defer close(l.done)
		cause := e.hold(l, at)
		l.cancel(cause)
		if !errors.Is(cause, errResigned) {
			return // what it does may still be ending: the others wait for the lease
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), e.mine.lease/4)
		defer cancel()
		_, _, l.err = e.renew(ctx, true)
	}()
	return l
}

// hold renews the lease until it cannot, and says why.
func (e *elector) hold(l *Leadership, at time.Time) error {
	var last error
	half := e.mine.lease / 2
	silent := fmt.Errorf("%w: no contact for half a lease of %v", ErrDeposed, e.mine.lease)
	// The lead ends in time even while a call does not.
	end := time.AfterFunc(half-time.Since(at), func() { l.cancel(silent) })
	defer end.Stop()
	wait := time.NewTimer(e.mine.lease / 8)
	defer wait.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return also(silent, last)
		case <-l.resign:
			return errResigned
		case <-wait.C:
		}
		began, won, err := e.renew(l.ctx, false)
		switch {
		case won && !end.Stop():
			return silent // too late
		case won:
			at, last = began, nil
			end.Reset(half - time.Since(at))
		case e.seen.id != e.mine.id || e.seen.epoch != e.mine.epoch:
			return fmt.Errorf("%w: %s leads in epoch %d", ErrDeposed, e.seen.holder, e.seen.epoch)
		case errors.Is(err, ErrLost), errors.Is(err, ErrCorrupt), errors.Is(err, ErrClosed):
			return also(ErrDeposed, err)
		default:
			last = err
			e.store.elsewhere()
			wait.Reset(e.mine.lease / 40)
			continue
		}
		wait.Reset(e.mine.lease / 8)
	}
}
