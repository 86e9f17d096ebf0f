package commit

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// sweep removes what jobs left in the work directory: recorded uploads are discarded, but for those that d published,
// and everything is deleted but the decision and the claims that are not dead. The caller holds the claim named self.
func (o *output) sweep(ctx context.Context, self string, d *Decision) error {
	published := map[store.Handle]bool{}
	if d != nil {
		for _, parts := range [][]Part{d.Parts, d.Failed} {
			for _, p := range parts {
				published[p.Pending.Handle] = true
			}
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	var listing error
	for obj, err := range o.bucket.List(gctx, o.work(""), "") {
		if err != nil {
			listing = err
			break
		}
		g.Go(func() error { return o.remove(gctx, obj.Key, self, published) })
	}
	// If a removal failed first, the listing only says that it was cancelled.
	if err := g.Wait(); err != nil {
		return err
	}
	return listing
}

// remove removes one object of the work directory, if it is not to stay.
func (o *output) remove(ctx context.Context, key store.Key, self string, published map[store.Handle]bool) error {
	name := string(key[len(o.work("")):])
	switch {
	case name == self || name == decisionName:
		return nil
	case strings.HasPrefix(name, claimPrefix) && strings.HasSuffix(name, graveSuffix):
		g, err := o.grave(ctx, strings.TrimSuffix(name, graveSuffix))
		switch {
		case errors.Is(err, store.ErrNotExist):
			return nil
		case err != nil || time.Since(g.Dug) < graveTime:
			return err
		}
	case strings.HasPrefix(name, claimPrefix):
		doc, err := o.claim(ctx, name)
		if errors.Is(err, store.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if dead, known := o.opts.Dead(doc.Owner); !dead || !known {
			return nil
		}
	case strings.HasPrefix(name, uploadsDir):
		if err := o.discard(ctx, key, published); err != nil {
			return err
		}
	}
	o.step("sweep: delete")
	return o.bucket.Delete(ctx, key)
}

// discard discards the upload that is written down under key.
func (o *output) discard(ctx context.Context, key store.Key, published map[store.Handle]bool) error {
	var u upload
	err := o.read(ctx, key, maxSmall, &u)
	var foreign *documentError
	switch {
	case errors.Is(err, store.ErrNotExist):
		return nil
	case errors.As(err, &foreign):
		return nil // it names nothing that could be discarded
	case err != nil:
		return err
	}
	// A record that names what cannot be a part of this output, or a piece of one, is not ours, whoever put it there.
	piece := strings.HasPrefix(string(u.Handle.Key), string(o.work(piecesDir)))
	if published[u.Handle] || o.verifyKey(u.Handle.Key) != nil && !piece {
		return nil
	}
	o.step("sweep: discard an upload")
	return o.bucket.Discard(ctx, u.Handle)
}

// Clean removes what a dead job left at an output: its uploads and its work directory. If that job had decided, its
// commit is finished instead and the manifest returned. ErrClaimed says that the job lives.
func Clean(ctx context.Context, b store.Bucket, prefix store.Key, opts *Options) (*job.Manifest, error) {
	o, err := newOutput(b, prefix, opts)
	if err != nil {
		return nil, err
	}
	c, err := o.enter(ctx, "clean")
	if err != nil {
		return nil, o.wrap(err)
	}
	d, err := o.decision(ctx)
	var m *job.Manifest
	if err == nil {
		err = c.close(ctx, d)
	}
	switch {
	case err == nil && d != nil:
		m, err = o.finish(ctx, d, c.name)
	case err == nil:
		err = o.sweep(ctx, c.name, nil)
	}
	if err := errors.Join(err, c.withdraw(ctx)); err != nil {
		return nil, o.wrap(err)
	}
	return m, nil
}
