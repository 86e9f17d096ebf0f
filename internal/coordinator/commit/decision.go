package commit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A Decision is the record after which a job only goes forward: all that is needed to publish it.
type Decision struct {
	Version int    `json:"version"` // 1
	Job     string `json:"job"`
	Claim   string `json:"claim"` // that its job held

	Parts    []Part       `json:"parts"`            // in the order of their keys' numbers
	Failed   []Part       `json:"failed,omitempty"` // lists of failed objects
	Manifest job.Manifest `json:"manifest"`         // without Parts and Failed

	Delete []store.Key `json:"delete,omitempty"` // parts of the output that is replaced
}

// A Part is one sealed object of a decision.
type Part struct {
	Pending store.Pending `json:"pending"`
	Records int64         `json:"records"`
	Pieces  []job.Piece   `json:"pieces,omitempty"` // if it was put together
}

// Decide writes the decision of the job that holds the claim. d gives Parts, Failed and Manifest; the rest is
// filled in. After an error the decision may have been written or not: Release finds out.
func (c *Claim) Decide(ctx context.Context, d *Decision) error {
	if err := c.decide(ctx, d); err != nil {
		return c.out.wrap(fmt.Errorf("decide: %w", err))
	}
	return nil
}

func (c *Claim) decide(ctx context.Context, d *Decision) error {
	if c.decision != nil {
		return errors.New("decided already")
	}
	full := *d
	full.Version, full.Job, full.Claim = 1, c.doc.Job, c.name
	full.Manifest.Version, full.Manifest.Job = 1, c.doc.Job
	full.Manifest.Parts, full.Manifest.Failed = nil, nil
	if full.Manifest.Created.IsZero() {
		full.Manifest.Created = time.Now().UTC()
	}
	full.Delete = nil
	if c.old != nil {
		keep := full.keys()
		for _, parts := range [][]job.Part{c.old.Parts, c.old.Failed} {
			for _, p := range parts {
				if key := c.out.prefix + store.Key(p.Key); !keep[key] {
					full.Delete = append(full.Delete, key)
				}
			}
		}
	}
	if err := c.out.verify(&full); err != nil {
		return err
	}
	if err := c.check(ctx); err != nil {
		return err
	}
	c.out.step("decide: write")
	if err := c.out.write(ctx, c.out.work(decisionName), &full); err != nil {
		return err
	}
	c.out.step("decide: written")
	// Only a job that stood still between check and write, for longer than Watch, finds here that its place was taken.
	// It leaves what follows to who took it: that one goes forward from the decision if it found it, and made it void if not.
	if err := c.check(ctx); errors.Is(err, ErrLost) {
		return err
	}
	c.decision = &full
	return nil
}

// keys returns the keys that the decision publishes.
func (d *Decision) keys() map[store.Key]bool {
	keys := make(map[store.Key]bool, len(d.Parts)+len(d.Failed))
	for _, parts := range [][]Part{d.Parts, d.Failed} {
		for _, p := range parts {
			keys[p.Pending.Key] = true
		}
	}
	return keys
}

// verify refuses a decision that would touch what is not the job's, or publish one key twice.
func (o *output) verify(d *Decision) error {
	if d.Version != 1 || d.Job == "" || d.Manifest.Job != d.Job || !strings.HasPrefix(d.Claim, claimPrefix) {
		return fmt.Errorf("decision of version %d by job %q is not understood", d.Version, d.Job)
	}
	keys := d.keys()
	if len(keys) != len(d.Parts)+len(d.Failed) {
		return errors.New("decision publishes a key twice")
	}
	for key := range keys {
		if err := o.verifyKey(key); err != nil {
			return err
		}
	}
	for _, key := range d.Delete {
		if err := o.verifyKey(key); err != nil {
			return err
		}
	}
	return nil
}

func (o *output) verifyKey(key store.Key) error {
	name, ok := strings.CutPrefix(string(key), string(o.prefix))
	if !ok || name == "" || name == manifestName || strings.HasPrefix(name, workDir) {
		return fmt.Errorf("%q is not a part of the output", key)
	}
	return nil
}

// decision returns the decision that lies here, nil if there is none. A void one is removed: its uploads were swept before it was written.
func (o *output) decision(ctx context.Context) (*Decision, error) {
	d := new(Decision)
	err := o.read(ctx, o.work(decisionName), maxDocument, d)
	if errors.Is(err, store.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = o.verify(d)
	}
	if err != nil {
		return nil, err
	}
	switch g, err := o.grave(ctx, d.Claim); {
	case errors.Is(err, store.ErrNotExist):
	case err != nil:
		return nil, err
	case g.Closed:
		o.step("decision: remove a void one")
		return nil, o.bucket.Delete(ctx, o.work(decisionName))
	}
	return d, nil
}
