package main

import (
	stdbytes "bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A probeCmd tries a store.
type probeCmd struct {
	URI      string `arg:"" help:"A place where small objects may be written."`
	ReadOnly bool   `help:"Write nothing: only list and read."`
	storeFlags
}

func (c *probeCmd) Help() string {
	return `Writes two small objects below URI/_millrace/, tries on them what jobs rely on, and removes them.`
}

func (c *probeCmd) Run(a *app) error {
	var access job.Store
	c.storeFlags.apply(&access)
	if c.ReadOnly {
		f := a.tryStore(c.URI, access)
		f.print(a.stdout)
		if !f.ok {
			return exit(exitError)
		}
		return nil
	}
	b, u, err := a.open(c.URI, access)
	if err != nil {
		return err
	}
	defer b.Close()
	p := probe{bucket: b, key: u.Base() + store.Key("_millrace/probe-"+rand.Text())}
	failed := false
	for _, step := range []struct {
		name string
		try  func(context.Context) error
	}{
		{"put", p.put},
		{"list", p.list},
		{"range", p.ranged},
		{"if-match", p.ifMatch},
		{"pending", p.pending},
		{"publish", p.publish},
		{"discard", p.discard},
		{"delete", p.remove},
	} {
		f := finding{name: step.name, ok: true}
		if err := step.try(a.ctx); err != nil {
			f.ok, f.detail, failed = false, err.Error(), true
		}
		f.print(a.stdout)
	}
	if err := p.remove(context.WithoutCancel(a.ctx)); err != nil {
		return err
	}
	if failed {
		return exit(exitError)
	}
	return nil
}

// A probe is what the steps share. Later steps fail when those that they build on did.
type probe struct {
	bucket store.Bucket
	key    store.Key
	object store.Object
	sealed store.Pending
}

var probeText = []byte("millrace probe\n")

func (p *probe) put(ctx context.Context) (err error) {
	p.object, err = p.bucket.Put(ctx, p.key, probeText)
	return err
}

func (p *probe) list(ctx context.Context) error {
	for o, err := range p.bucket.List(ctx, p.key, "") {
		if err != nil {
			return err
		}
		if o.Key == p.key && o.Size == int64(len(probeText)) {
			return nil
		}
	}
	return errors.New("what was written is not listed")
}

func (p *probe) ranged(ctx context.Context) error {
	r, err := p.bucket.Open(ctx, p.key, p.object.ETag, 9, 5)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if !stdbytes.Equal(got, probeText[9:14]) {
		return fmt.Errorf("got %q of bytes 9 to 13, want %q", got, probeText[9:14])
	}
	return nil
}

// ifMatch reads a version that is no longer there.
func (p *probe) ifMatch(ctx context.Context) error {
	old := p.object
	now, err := p.bucket.Put(ctx, p.key, append([]byte("another "), probeText...))
	if err != nil {
		return err
	}
	p.object = now
	switch err := readSome(ctx, p.bucket, old, -1); {
	case err == nil:
		return errors.New("a version that was replaced is read as if it were still there")
	case !errors.Is(err, store.ErrChanged):
		return err
	}
	return nil
}

func (p *probe) other() store.Key { return p.key + "-pending" }

func (p *probe) pending(ctx context.Context) error {
	w, err := p.bucket.Create(ctx, p.other(), nil)
	if err != nil {
		return err
	}
	if _, err = w.Write(probeText); err == nil {
		p.sealed, err = w.Seal(ctx)
	}
	if err != nil {
		return errors.Join(err, w.Abort(context.WithoutCancel(ctx)))
	}
	switch _, err := p.bucket.Stat(ctx, p.other()); {
	case err == nil:
		return errors.New("an object is visible before it is published")
	case !errors.Is(err, store.ErrNotExist):
		return err
	}
	return nil
}

func (p *probe) publish(ctx context.Context) error {
	for range 2 { // it must be repeatable
		if _, err := p.bucket.Publish(ctx, p.sealed); err != nil {
			return err
		}
	}
	return nil
}

func (p *probe) discard(ctx context.Context) error {
	w, err := p.bucket.Create(ctx, p.key+"-discarded", nil)
	if err != nil {
		return err
	}
	if _, err := w.Write(probeText); err != nil {
		return errors.Join(err, w.Abort(context.WithoutCancel(ctx)))
	}
	return p.bucket.Discard(ctx, w.Handle())
}

func (p *probe) remove(ctx context.Context) error {
	return errors.Join(p.bucket.Delete(ctx, p.key), p.bucket.Delete(ctx, p.other()))
}
