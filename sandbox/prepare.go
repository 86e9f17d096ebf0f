package sandbox

import "context"

// Prepare has a guest do ahead what all its runs begin with, as far as that is known to be the same in all: such as r, which lacks its streams, is the
// one that comes next. It changes nothing but the time that the next run takes. Guests that are not brought back to a snapshot have nothing to prepare.
func Prepare(ctx context.Context, g Guest, r *Run) error {
	w, ok := g.(*wasmGuest)
	if !ok || w.code.fixed != "" || w.instance != nil {
		return nil
	}
	w.preparing = true
	_, err := w.Run(ctx, r)
	if !w.preparing && w.instance != nil { // it ended where the snapshot was taken, of which nothing was changed since
		w.instance.snapshot.pages.faults = 0
	}
	w.preparing = false
	return err
}
