// Package coordinator decides what happens to a job: which attempt runs next, which one counts, when the job is done or has failed.
//
// The decisions are made by [Machine], a plain state machine. [Coordinator] is the loop around it: it takes the questions
// of agents, keeps the job log and carries out what the machine asks for. Package plan makes the splits; package commit
// takes the outcome to the store.
package coordinator

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A Log keeps the records of one job, in order, durably. An error other than that of ctx ends the coordinator.
type Log interface {
	Append(ctx context.Context, record []byte) error
}

// Options are what a Coordinator works with.
type Options struct {
	Log     Log
	Discard func(ctx context.Context, h store.Handle) error // gives up pending output
	// Committed, if not nil, is told of each attempt that counts, in the order of the log. It must not wait for the coordinator.
	Committed func(c *Committed)
	// Revoke, if not nil, tells a node that an attempt is not wanted any more; Quarantine, that it gets no work for a while. They must not wait.
	Revoke     func(Revoke)
	Quarantine func(Quarantine)
	// Waiting, if not nil, is told how many tasks wait for a slot: when there are more than before, and again every so often. It must not wait for the
	// coordinator.
	Waiting func(tasks int)
	Now     func() time.Time // nil means time.Now
	Hold    time.Duration    // how long a Want or a Follow is kept without an answer; 0 means a second
}

// A Coordinator runs a [Machine]. Its methods may be called concurrently.
type Coordinator struct {
	opts   Options
	cancel context.CancelFunc
	events chan func(*loop)
	done   chan struct{} // closed when the loop has ended
	ended  chan struct{} // closed when the job has
	once   sync.Once

	mu      sync.Mutex
	outcome Outcome
	err     error
	last    job.Progress
}

// Start runs m until Close. The caller closes the Coordinator.
func Start(ctx context.Context, m *Machine, opts Options) *Coordinator {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Hold == 0 {
		opts.Hold = time.Second
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &Coordinator{
		opts: opts, cancel: cancel,
		events: make(chan func(*loop)), done: make(chan struct{}), ended: make(chan struct{}),
	}
	go newLoop(c, m).run(ctx)
	return c
}

// Close stops the loop and waits for it. A job that has not ended ends with the error of a closed coordinator.
func (c *Coordinator) Close() {
	c.cancel()
	<-c.done
}

// Ended is closed when the job needs no more work, or can have none.
func (c *Coordinator) Ended() <-chan struct{} { return c.ended }

// Outcome returns what the job came to; it is valid after Ended.
func (c *Coordinator) Outcome() (Outcome, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outcome, c.err
}

// Progress describes the job as it was a moment ago.
func (c *Coordinator) Progress() job.Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// Tell hands an event without an answer to the machine.
func (c *Coordinator) Tell(ctx context.Context, e Event) error {
	return c.do(ctx, func(l *loop) { l.step(ctx, e) })
}

// Want asks for work.
func (c *Coordinator) Want(ctx context.Context, w Want) (Lease, error) {
	answer := make(chan Lease, 1)
	var ticket Ticket // written by the loop
	err := c.do(ctx, func(l *loop) { ticket = l.ask(ctx, w, answer) })
	if err != nil {
		return Lease{}, err
	}
	lease, err := await(ctx, c, answer)
	if err != nil {
		// Nobody would work on what is granted from here on.
		ctx := context.WithoutCancel(ctx)
		_ = c.do(ctx, func(l *loop) { l.withdraw(ctx, ticket, w.Sender, answer) })
	}
	return lease, err
}

// Try is Want for those who do not wait: it reports false if there is no task for them now.
func (c *Coordinator) Try(ctx context.Context, w Want) (lease Lease, ok bool, err error) {
	type result struct {
		lease Lease
		ok    bool
	}
	answer := make(chan result, 1)
	err = c.do(ctx, func(l *loop) {
		granted := make(chan Lease, 1)
		ticket := l.ask(ctx, w, granted)
		select {
		case lease := <-granted:
			answer <- result{lease, !lease.Idle && !lease.Over}
		default:
			l.withdraw(ctx, ticket, w.Sender, granted)
			answer <- result{}
		}
	})
	if err != nil {
		return Lease{}, false, err
	}
	r, err := await(context.WithoutCancel(ctx), c, answer) // a grant is not lost
	return r.lease, r.ok, err
}

// Follow asks for runs for a reduce attempt. Arrivals without any mean that it should ask again.
func (c *Coordinator) Follow(ctx context.Context, f Follow) (Arrivals, error) {
	answer := make(chan Arrivals, 1)
	err := c.do(ctx, func(l *loop) { l.follow(ctx, f, answer) })
	if err != nil {
		return Arrivals{}, err
	}
	return await(ctx, c, answer) // who stops waiting has not been told: the same runs are told again
}

// Away returns the nodes of which nothing was heard since this coordinator took over, and whose runs the job needs.
func (c *Coordinator) Away(ctx context.Context) ([]string, error) {
	answer := make(chan []string, 1)
	if err := c.do(ctx, func(l *loop) { answer <- l.m.Away() }); err != nil {
		return nil, err
	}
	return await(ctx, c, answer)
}

// Commit asks for an attempt to count.
func (c *Coordinator) Commit(ctx context.Context, m Commit) (Verdict, error) {
	return c.judge(ctx, func(t Ticket) Event { return Reported{t, m} })
}

// Fail reports a failed attempt.
func (c *Coordinator) Fail(ctx context.Context, m Failure) (Verdict, error) {
	return c.judge(ctx, func(t Ticket) Event { return Broken{t, m, c.opts.Now()} })
}

func (c *Coordinator) judge(ctx context.Context, e func(Ticket) Event) (Verdict, error) {
	answer := make(chan Verdict, 1)
	err := c.do(ctx, func(l *loop) { l.judge(ctx, e, answer) })
	if err != nil {
		return Verdict{}, err
	}
	return await(ctx, c, answer)
}

// do runs f in the loop.
func (c *Coordinator) do(ctx context.Context, f func(*loop)) error {
	select {
	case c.events <- f:
		return nil
	case <-c.done:
		return errClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func await[T any](ctx context.Context, c *Coordinator, answer <-chan T) (t T, err error) {
	select {
	case t = <-answer:
		return t, nil
	case <-c.done:
		return t, errClosed
	case <-ctx.Done():
		return t, context.Cause(ctx)
	}
}

var errClosed = fmt.Errorf("coordinator: closed")

// A question waits for its answer until the coordinator says that there is nothing yet.
type question[A any] struct {
	answer  chan<- A
	nothing A
	until   time.Time
}

// A loop belongs to one goroutine.
type loop struct {
	c        *Coordinator
	m        *Machine
	next     Ticket
	wants    map[Ticket]question[Lease]
	follows  map[Ticket]question[Arrivals]
	verdicts map[Ticket]chan<- Verdict
	waiting  int  // tasks, as was told last
	broken   bool // the log could not be written
}

func newLoop(c *Coordinator, m *Machine) *loop {
	return &loop{
		c: c, m: m, wants: make(map[Ticket]question[Lease]), follows: make(map[Ticket]question[Arrivals]),
		verdicts: make(map[Ticket]chan<- Verdict),
	}
}

func (l *loop) run(ctx context.Context) {
	defer close(l.c.done)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.end(Outcome{}, context.Cause(ctx))
			return
		case f := <-l.c.events:
			f(l)
			l.offer(false)
		case <-tick.C:
			l.tick(ctx)
			l.offer(true)
		}
		l.c.mu.Lock()
		l.c.last = l.m.Progress()
		l.c.mu.Unlock()
	}
}

// offer tells that tasks wait, if it is news or time to say so again.
func (l *loop) offer(again bool) {
	n := l.m.Waiting()
	if l.c.opts.Waiting != nil && (n != l.waiting || again && n > 0) {
		l.c.opts.Waiting(n)
	}
	l.waiting = n
}

func (l *loop) tick(ctx context.Context) {
	now := l.c.opts.Now()
	l.step(ctx, Ticked{now})
	expire(ctx, l, l.wants, now)
	expire(ctx, l, l.follows, now)
}

// expire answers the questions that have waited long enough.
func expire[A any](ctx context.Context, l *loop, waiting map[Ticket]question[A], now time.Time) {
	for t, q := range waiting {
		if now.After(q.until) {
			l.step(ctx, Withdrawn{t})
			answer(waiting, t, q.nothing)
		}
	}
}

// answer answers a question, if it still waits.
func answer[A any](waiting map[Ticket]question[A], t Ticket, a A) {
	if q, ok := waiting[t]; ok {
		q.answer <- a
		delete(waiting, t)
	}
}

// ask puts a question, whose answer takes one lease.
func (l *loop) ask(ctx context.Context, w Want, answer chan<- Lease) Ticket {
	now := l.c.opts.Now()
	l.next++
	t := l.next
	l.wants[t] = question[Lease]{answer, Lease{Idle: true}, now.Add(l.c.opts.Hold)}
	l.step(ctx, Asked{t, w, now})
	return t
}

// follow puts a question, whose answer takes one Arrivals.
func (l *loop) follow(ctx context.Context, f Follow, answer chan<- Arrivals) {
	now := l.c.opts.Now()
	l.next++
	l.follows[l.next] = question[Arrivals]{answer, Arrivals{Next: f.Next}, now.Add(l.c.opts.Hold)}
	l.step(ctx, Followed{l.next, f, now})
}

// judge has a report judged. Its answer takes one verdict.
func (l *loop) judge(ctx context.Context, e func(Ticket) Event, answer chan<- Verdict) {
	l.next++
	l.verdicts[l.next] = answer
	l.step(ctx, e(l.next))
}

// withdraw forgets a want for which nobody waits any more, and takes back the task that was granted to it meanwhile.
func (l *loop) withdraw(ctx context.Context, t Ticket, s Sender, answer <-chan Lease) {
	delete(l.wants, t)
	l.step(ctx, Withdrawn{t})
	select {
	case lease := <-answer:
		if lease.Attempt.Task == "" {
			return
		}
		l.next++
		l.step(ctx, Broken{l.next, Failure{
			Sender: s, Attempt: lease.Attempt, Fault: FaultStore, Object: -1, Reason: "nobody waited for the lease",
		}, l.c.opts.Now()})
	default:
	}
}

// step hands e to the machine and does what it wants done. After an append that failed nothing further is done: what the machine
// believes is not in the log.
func (l *loop) step(ctx context.Context, e Event) {
	if l.broken {
		return
	}
	l.m.At(l.c.opts.Now())
	for _, effect := range l.m.Step(e) {
		switch f := effect.(type) {
		case Grant:
			answer(l.wants, f.Ticket, f.Lease)
		case Tell:
			answer(l.follows, f.Ticket, f.Arrivals)
		case Judge:
			if verdict, ok := l.verdicts[f.Ticket]; ok {
				verdict <- f.Verdict
				delete(l.verdicts, f.Ticket)
			}
		case Append:
			if err := l.append(ctx, &f.Record); err != nil {
				l.broken = true
				l.end(Outcome{}, err)
				l.c.cancel()
				return
			}
			if c := f.Record.Committed; c != nil && l.c.opts.Committed != nil {
				l.c.opts.Committed(c)
			}
		case Discard:
			l.discard(ctx, f.Handles)
		case Revoke:
			if l.c.opts.Revoke != nil {
				l.c.opts.Revoke(f)
			}
		case Quarantine:
			if l.c.opts.Quarantine != nil {
				l.c.opts.Quarantine(f)
			}
		case Finish:
			l.end(l.m.Outcome(), nil)
		case Fail:
			l.end(l.m.Outcome(), f.Err)
		}
	}
}

// discard gives up pending output, for a short while at most: what stays is found under _millrace/ by whoever cleans up after
// the job.
func (l *loop) discard(ctx context.Context, handles []store.Handle) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, h := range handles {
		_ = l.c.opts.Discard(ctx, h)
	}
}

func (l *loop) append(ctx context.Context, r *Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := l.c.opts.Log.Append(context.WithoutCancel(ctx), b); err != nil {
		return fmt.Errorf("job log: %w", err)
	}
	return nil
}

func (l *loop) end(o Outcome, err error) {
	l.c.once.Do(func() {
		l.c.mu.Lock()
		l.c.outcome, l.c.err, l.c.last = o, err, l.m.Progress()
		l.c.mu.Unlock()
		close(l.c.ended)
	})
}
