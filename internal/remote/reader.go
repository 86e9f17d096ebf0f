// Package remote is what drivers of stores behind a network share: listing by ranges side by side, bodies that go on where
// they broke off, connections that are given up when nothing comes.
package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/millrace/millrace/store"
)

// Resumes is how often in a row a body may end early without having brought a byte.
const Resumes = 5

// A Reader reads one range of one version of an object. Where a body ends early it asks for the rest.
type Reader struct {
	ctx       context.Context
	body      io.ReadCloser // nil: there is none, or the last one broke
	off, rest int64         // what is still wanted
	again     Source
	explain   func(error) error
	barren    int   // bodies in a row that brought nothing
	err       error // the end
}

// A Source returns the body of n bytes of a version from off on, and how many it announces.
type Source func(off, n int64) (io.ReadCloser, int64, error)

// NewReader returns a Reader of the n bytes from off on that body brings; n may be 0 and body then nil. It asks again for what a body
// lacks. Its errors went through explain.
func NewReader(ctx context.Context, body io.ReadCloser, off, n int64, again Source, explain func(error) error) *Reader {
	return &Reader{ctx: ctx, body: body, off: off, rest: n, again: again, explain: explain}
}

func (r *Reader) Read(p []byte) (int, error) {
	for {
		switch {
		case r.err != nil:
			return 0, r.err
		case r.rest == 0:
			r.err = io.EOF
			if r.body != nil {
				_, _ = io.CopyN(io.Discard, r.body, 1) // to its end, so that the connection can be used again
			}
			continue
		case r.ctx.Err() != nil:
			r.err = r.explain(context.Cause(r.ctx))
			continue
		case len(p) == 0:
			return 0, nil
		case r.body == nil:
			r.resume()
			continue
		}
		n, err := r.body.Read(p[:min(int64(len(p)), r.rest)])
		r.off += int64(n)
		r.rest -= int64(n)
		if n > 0 {
			r.barren = 0
		}
		if err != nil && r.rest > 0 {
			r.broke(err)
		}
		if n > 0 {
			return n, nil
		}
	}
}

// broke takes note that the body ended with err before its length.
func (r *Reader) broke(err error) {
	r.body.Close()
	r.body = nil
	if r.barren++; r.barren > Resumes {
		r.err = r.explain(fmt.Errorf("%w: %d bytes are missing: %w", store.ErrShort, r.rest, err))
	}
}

func (r *Reader) resume() {
	wait := time.NewTimer(time.Duration(r.barren-1) * 100 * time.Millisecond)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-r.ctx.Done():
		return
	}
	body, n, err := r.again(r.off, r.rest)
	if err == nil && n != r.rest {
		body.Close()
		err = store.ErrChanged
	}
	if err != nil {
		r.err = r.explain(err)
		return
	}
	r.body = body
}

// Close ends the Reader. It may be called before the end of the body.
func (r *Reader) Close() error {
	if r.body != nil {
		r.body.Close() // its error would be that of a body not read to the end
		r.body = nil
	}
	if r.err == nil {
		r.err = errors.New("read of a closed body")
	}
	return nil
}
