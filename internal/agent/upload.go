package agent

import (
	"context"
	"errors"

	"github.com/millrace/millrace/store"
)

// An upload is a part on its way to the store. It is made with its first byte.
type upload struct {
	out     *Output
	attempt string
	key     store.Key // below the output's prefix
	w       store.Writer
	pending *store.Pending
}

func (u *upload) open(ctx context.Context) error {
	if u.w != nil {
		return nil
	}
	w, err := u.out.Bucket.Create(ctx, u.out.Prefix+u.key, nil)
	if err != nil {
		return err
	}
	u.w = w
	return u.out.Record(ctx, u.attempt, w.Handle())
}

func (u *upload) write(ctx context.Context, p []byte) error {
	if err := u.open(ctx); err != nil {
		return err
	}
	_, err := u.w.Write(p)
	return err
}

// seal ends the upload. It returns nil if there was nothing to upload.
func (u *upload) seal(ctx context.Context) (*store.Pending, error) {
	if u.w == nil {
		return nil, nil
	}
	p, err := u.w.Seal(ctx)
	if err != nil {
		return nil, err
	}
	u.pending = &p
	return u.pending, nil
}

// discard removes the upload, sealed or not.
func (u *upload) discard(ctx context.Context) error {
	if u.w == nil {
		return nil
	}
	return errors.Join(u.w.Abort(ctx), u.out.Discard(ctx, u.attempt, u.w.Handle()))
}
