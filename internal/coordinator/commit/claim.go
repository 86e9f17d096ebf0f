package commit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A Claim is the right to publish at an output. Its methods may be called concurrently, but for Decide, Finish and
// Release. It ends in Release.
type Claim struct {
	out      *output
	name     string // of its document, below the work directory
	old      *job.Manifest
	finished *job.Manifest
	decision *Decision // once it is written
	taken    []string  // claims that were dead by their silence alone, and whose jobs' uploads may be there

	writing chan struct{} // holds one token while doc is changed and written, so that writes do not overtake each other
	doc     claimDoc

	mu   sync.Mutex
	err  error         // why it was lost
	lost chan struct{} // closed when err is set

	cancel context.CancelFunc // nil until the claim is written
	beaten chan struct{}      // closed when beating has ended
}

// A claimDoc is a claim as it lies in the store.
type claimDoc struct {
	Version int    `json:"version"`
	Job     string `json:"job"`
	Owner
	Beat int64    `json:"beat"`           // counts up while the job lives
	Held bool     `json:"held"`           // it found no other: it is not only trying
	Took []string `json:"took,omitempty"` // names of the claims that it took over
}

// A claimedError says who else is at an output.
type claimedError struct{ by claimDoc }

func (e *claimedError) Error() string {
	return fmt.Sprintf("%v by job %s (%v)", ErrClaimed, e.by.Job, e.by.Owner)
}
func (e *claimedError) Unwrap() error { return ErrClaimed }

// Contention ends after so many tries, with waits that double.
const (
	tries     = 7
	firstWait = 50 * time.Millisecond
)

// Take claims the output under prefix for a job: it waits out contenders, takes over what dead jobs left, finishes a
// decision that it finds, and removes the rest of it. Errors are *job.Error: ErrClaimed names who holds the
// output, ErrExists what lies there.
//
// If it found a decision of an earlier job, Finished returns what that one published. Without Overwrite the claim is
// then good for nothing but Release.
func Take(ctx context.Context, b store.Bucket, prefix store.Key, jobID string, opts *Options) (*Claim, error) {
	o, err := newOutput(b, prefix, opts)
	if err != nil {
		return nil, err
	}
	c, err := o.enter(ctx, jobID)
	if err != nil {
		return nil, o.wrap(err)
	}
	if err := c.open(ctx); err != nil {
		return nil, o.wrap(errors.Join(err, c.withdraw(ctx)))
	}
	return c, nil
}

// enter claims the output and returns when no other job is there.
func (o *output) enter(ctx context.Context, jobID string) (*Claim, error) {
	if jobID == "" || strings.Trim(jobID, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
		return nil, fmt.Errorf("job %q: not a name of one", jobID)
	}
	wait := firstWait
	for try := 1; ; try++ {
		c := o.newClaim(jobID)
		err := c.contend(ctx)
		if err == nil {
			return c, nil
		}
		err = errors.Join(err, c.withdraw(ctx))
		var claimed *claimedError
		if !errors.As(err, &claimed) || claimed.by.Held || try == tries {
			return nil, err
		}
		select {
		case <-time.After(wait/2 + time.Duration(o.opts.Float64()*float64(wait))):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		wait *= 2
	}
}

func (o *output) newClaim(jobID string) *Claim {
	nonce := uint32(o.opts.Float64() * (1 << 32))
	return &Claim{
		out:     o,
		writing: make(chan struct{}, 1),
		name:    fmt.Sprintf("%s%s-%08x.json", claimPrefix, jobID, nonce),
		doc:     claimDoc{Version: 1, Job: jobID, Owner: o.opts.Owner},
		lost:    make(chan struct{}),
	}
}

// contend writes the claim and returns nil when every other one is dead. Those are removed.
func (c *Claim) contend(ctx context.Context) error {
	c.out.step("claim: write")
	if err := c.put(ctx, func(*claimDoc) {}); err != nil {
		return err
	}
	c.beaten = make(chan struct{})
	var beating context.Context
	beating, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go c.beat(beating)
	c.out.step("claim: look for others")
	others, graves, err := c.out.claims(ctx, c.name)
	if err != nil {
		return err
	}
	// Those known to live are found before any is watched: it takes long.
	unknown := map[string]claimDoc{}
	var dead, before []string
	for name, doc := range others {
		gone, known := c.out.opts.Dead(doc.Owner)
		switch {
		case known && gone:
			dead = append(dead, name)
		case c.out.opts.Succeeds && doc.Job == c.doc.Job:
			before = append(before, name)
		case known:
			return &claimedError{doc}
		default:
			unknown[name] = doc
		}
	}
	silent, err := c.watch(ctx, unknown)
	if err != nil {
		return err
	}
	silent = append(silent, before...) // who lives after all is told in the same way
	dead = append(dead, silent...)
	slices.Sort(dead)

	c.out.step("claim: hold")
	// Who is not dead after all learns of it from this, even if its next beat writes its claim again.
	if err := c.put(ctx, func(d *claimDoc) { d.Held, d.Took = true, dead }); err != nil {
		return err
	}
	for _, name := range silent {
		if slices.Contains(graves, name) {
			continue // a beat that was on its way wrote the claim once more
		}
		c.out.step("claim: bury a silent one")
		if err := c.out.bury(ctx, name, false); err != nil {
			return err
		}
	}
	c.taken = append(graves, silent...)
	for _, name := range dead {
		c.out.step("claim: remove a dead one")
		if err := c.out.bucket.Delete(ctx, c.out.work(name)); err != nil {
			return err
		}
	}
	return nil
}

// watch looks at claims until one of them moves, which is an error, or all have been silent for the time that makes them dead.
// It returns the names of those that are still there.
func (c *Claim) watch(ctx context.Context, claims map[string]claimDoc) ([]string, error) {
	var silent []string
	for began := time.Now(); len(claims) > 0; {
		if time.Since(began) >= Watch {
			for name := range claims {
				silent = append(silent, name)
			}
			return silent, nil
		}
		select {
		case <-time.After(Beat):
		case <-c.lost:
			return nil, c.Err()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		now, _, err := c.out.claims(ctx, c.name)
		if err != nil {
			return nil, err
		}
		for name, doc := range claims {
			switch d, there := now[name]; {
			case !there:
				delete(claims, name)
			case d.Beat != doc.Beat || d.Held != doc.Held:
				return nil, &claimedError{d}
			}
		}
	}
	return silent, nil
}

// claims returns all claims but the one named self, and the names of those that are buried.
func (o *output) claims(ctx context.Context, self string) (claims map[string]claimDoc, graves []string, err error) {
	claims = map[string]claimDoc{}
	for obj, err := range o.bucket.List(ctx, o.work(claimPrefix), "") {
		if err != nil {
			return nil, nil, err
		}
		name := string(obj.Key[len(o.work("")):])
		if buried, ok := strings.CutSuffix(name, graveSuffix); ok {
			graves = append(graves, buried)
			continue
		}
		if name == self {
			continue
		}
		doc, err := o.claim(ctx, name)
		if errors.Is(err, store.ErrNotExist) {
			continue // withdrawn meanwhile
		}
		if err != nil {
			return nil, nil, err
		}
		claims[name] = doc
	}
	return claims, graves, nil
}

// claim reads one claim. One that is not understood counts as one of an unknown host: silence makes it dead.
func (o *output) claim(ctx context.Context, name string) (claimDoc, error) {
	var doc claimDoc
	err := o.read(ctx, o.work(name), maxSmall, &doc)
	var foreign *documentError
	if errors.As(err, &foreign) {
		return claimDoc{Job: strings.TrimPrefix(name, claimPrefix)}, nil
	}
	return doc, err
}

// put changes the claim and writes it.
func (c *Claim) put(ctx context.Context, change func(*claimDoc)) error {
	select {
	case c.writing <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-c.writing }()
	change(&c.doc)
	return c.out.write(ctx, c.out.work(c.name), &c.doc)
}

// Lost is closed when the claim was lost. The job must stop; Err says why.
func (c *Claim) Lost() <-chan struct{} { return c.lost }

// Err returns why the claim was lost, an ErrLost, and nil while it is held.
func (c *Claim) Err() error {
	select {
	case <-c.lost:
		return c.err // set before lost was closed, and never again
	default:
		return nil
	}
}

// Finished returns what Take published because an earlier job had decided so, or what a coordinator before this one has published of the same job; nil
// if there is neither.
func (c *Claim) Finished() *job.Manifest { return c.finished }

// Uploads returns the record of this job's uploads.
func (c *Claim) Uploads() *Uploads {
	return &Uploads{Bucket: c.out.bucket, Prefix: c.out.prefix, Job: c.doc.Job}
}

// open looks at what lies at the claimed output.
func (c *Claim) open(ctx context.Context) error {
	d, err := c.out.decision(ctx)
	if err != nil {
		return err
	}
	if err := c.close(ctx, d); err != nil {
		return err
	}
	if d != nil {
		if c.finished, err = c.out.finish(ctx, d, c.name); err != nil {
			return fmt.Errorf("finish the commit of job %s: %w", d.Job, err)
		}
		c.old = c.finished
		return nil
	}
	m, found, err := c.out.manifest(ctx)
	if err != nil {
		return err
	}
	if c.out.opts.Succeeds && m != nil && m.Job == c.doc.Job {
		c.finished, c.old = m, m
		return c.out.sweep(ctx, c.name, nil)
	}
	if !c.out.opts.Overwrite {
		if found {
			return ErrExists
		}
		if err := c.out.empty(ctx); err != nil {
			return err
		}
	}
	c.old = m
	if c.out.opts.Succeeds {
		return nil
	}
	return c.out.sweep(ctx, c.name, nil)
}

// empty returns ErrExists if any object lies at the output but those of jobs.
func (o *output) empty(ctx context.Context) error {
	for obj, err := range o.bucket.List(ctx, o.prefix, "") {
		if err != nil {
			return err
		}
		if !strings.HasPrefix(string(obj.Key), string(o.work(""))) && obj.Key != o.prefix {
			return fmt.Errorf("%w: %q lies there", ErrExists, obj.Key[len(o.prefix):])
		}
	}
	return nil
}

// Release ends the claim. Unless the job has decided, its recorded uploads are discarded and all that it left under
// the work directory is removed, the claim last. A decision that is not finished stays, for whoever comes next.
// ctx should not be that of a job which may have been cancelled.
func (c *Claim) Release(ctx context.Context) error {
	err := c.check(ctx)
	if c.Err() != nil {
		// What lies there may belong to another job now, but for the claim. If that cannot be removed, whoever comes next does it.
		_ = c.withdraw(ctx)
		return nil
	}
	var d *Decision
	if err == nil {
		d, err = c.out.decision(ctx)
	}
	if err == nil && d == nil {
		c.out.step("release: sweep")
		err = c.out.sweep(ctx, c.name, nil)
	}
	if err := errors.Join(err, c.withdraw(ctx)); err != nil {
		return c.out.wrap(err)
	}
	return nil
}

// Leave ends the claim, and leaves all that lies there, also the claim, to the next coordinator of the job.
func (c *Claim) Leave() { c.stop() }

// withdraw stops beating and removes the claim.
func (c *Claim) withdraw(ctx context.Context) error {
	c.stop()
	c.out.step("claim: remove")
	return c.out.bucket.Delete(context.WithoutCancel(ctx), c.out.work(c.name))
}

func (c *Claim) stop() {
	if c.cancel == nil {
		return
	}
	c.cancel()
	<-c.beaten
}
