package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A storeCmd holds the commands that work on stores without a job.
type storeCmd struct {
	Ls    lsCmd    `cmd:"" help:"List objects."`
	Cat   catCmd   `cmd:"" help:"Print objects."`
	Put   putCmd   `cmd:"" help:"Write an object."`
	Probe probeCmd `cmd:"" help:"Try what jobs need of a store, and say what works."`
	Clean cleanCmd `cmd:"" help:"Remove what jobs that never ended left below an output."`
}

// open opens the bucket of a URI.
func (a *app) open(uri string, access job.Store) (store.Bucket, store.URI, error) {
	u, err := store.ParseURI(uri)
	if err != nil {
		return nil, u, err
	}
	return a.openURI(u, access)
}

func (a *app) openURI(u store.URI, access job.Store) (store.Bucket, store.URI, error) {
	return schemes().Open(a.ctx, u, &store.Options{
		NoSignRequest: access.NoSignRequest,
		RequesterPays: access.RequesterPays,
		Endpoint:      access.Endpoint,
		Region:        access.Region,
	})
}

// An lsCmd lists objects.
type lsCmd struct {
	URI   string `arg:"" help:"What to list."`
	Long  bool   `short:"l" help:"Print size and time as well."`
	Limit int64  `placeholder:"N" help:"Stop after N objects."`
	storeFlags
}

func (c *lsCmd) Run(a *app) error {
	var access job.Store
	c.storeFlags.apply(&access)
	b, u, err := a.open(c.URI, access)
	if err != nil {
		return err
	}
	defer b.Close()
	match, err := u.Matcher()
	if err != nil {
		return err
	}
	out := newScreen(a.stdout, a.stderr, false)
	var n int64
	for o, err := range b.List(a.ctx, u.Prefix, "") {
		switch {
		case err != nil:
			return err
		case !match(o.Key):
			continue
		}
		line := string(o.Key)
		if c.Long {
			line = fmt.Sprintf("%14d  %s  %s", o.Size, o.Modified.UTC().Format(time.DateTime), o.Key)
			if o.Archived {
				line += "  (archived)"
			}
		}
		if _, err := io.WriteString(out, line+"\n"); err != nil {
			return err
		}
		if n++; n == c.Limit {
			return nil
		}
	}
	if n == 0 {
		return fmt.Errorf("%s: no objects: %w", u, store.ErrNotExist)
	}
	return nil
}

// A catCmd prints objects.
type catCmd struct {
	URI       []string `arg:"" help:"Objects to print, one after the other."`
	RawOutput bool     `help:"Print control characters to a terminal as they are."`
	storeFlags
}

func (c *catCmd) Run(a *app) error {
	var access job.Store
	c.storeFlags.apply(&access)
	out := newScreen(a.stdout, a.stderr, c.RawOutput)
	for _, uri := range c.URI {
		if err := c.cat(a, uri, access, out); err != nil {
			return err
		}
	}
	return nil
}

func (c *catCmd) cat(a *app, uri string, access job.Store, out io.Writer) error {
	b, key, err := a.openSingle(uri, access)
	if err != nil {
		return err
	}
	defer b.Close()
	r, err := b.Open(a.ctx, key, "", 0, -1)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, r.Close())
}

// A putCmd writes an object.
type putCmd struct {
	URI  string `arg:"" help:"The object to write."`
	File string `arg:"" optional:"" help:"What to write; standard input unless given."`
	storeFlags
}

func (c *putCmd) Run(a *app) error {
	var access job.Store
	c.storeFlags.apply(&access)
	from := a.stdin
	if c.File != "" && c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		from = f
	}
	b, key, err := a.openSingle(c.URI, access)
	if err != nil {
		return err
	}
	defer b.Close()
	return put(a.ctx, b, key, from)
}

// openSingle opens the bucket of a URI that names one object, and returns its key. A file URI names a directory as a
// rule; here its last element is the object.
func (a *app) openSingle(uri string, access job.Store) (store.Bucket, store.Key, error) {
	u, err := store.ParseURI(uri)
	if err != nil {
		return nil, "", err
	}
	key := u.Prefix
	if u.Scheme == "file" && u.Glob == "" && u.Bucket != "/" {
		u.Bucket, key = path.Dir(u.Bucket), store.Key(path.Base(u.Bucket))
	}
	if u.Glob != "" || key == "" || strings.HasSuffix(string(key), "/") {
		return nil, "", fmt.Errorf("%s: names no single object", u)
	}
	b, _, err := a.openURI(u, access)
	return b, key, err
}

// put writes an object as jobs do: invisible until it is complete.
func put(ctx context.Context, b store.Bucket, key store.Key, from io.Reader) error {
	w, err := b.Create(ctx, key, nil)
	if err != nil {
		return err
	}
	// What was cancelled must still be removed.
	rest := context.WithoutCancel(ctx)
	if _, err := io.Copy(w, from); err != nil {
		return errors.Join(err, w.Abort(rest))
	}
	p, err := w.Seal(ctx)
	if err != nil {
		return errors.Join(err, w.Abort(rest))
	}
	if _, err := b.Publish(ctx, p); err != nil {
		return errors.Join(err, b.Discard(rest, p.Handle))
	}
	return nil
}

// readSome reads the first n bytes of o.
func readSome(ctx context.Context, b store.Bucket, o store.Object, n int64) error {
	r, err := b.Open(ctx, o.Key, o.ETag, 0, n)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}
