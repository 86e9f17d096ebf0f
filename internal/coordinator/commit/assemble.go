package commit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// Pieces returns where the parts of a job lie, below the output, that are to be put together: no other job has them there, and nobody takes
// them for output.
func Pieces(jobID string) store.Key { return workDir + piecesDir + store.Key(jobID) + "/" }

// Assemble puts sealed parts, which lie where [Pieces] says, together in their order, as one part of that name, sealed in turn. It comes before Decide:
// nothing is visible outside the work directory after it. After an error the job cannot go on; Release removes what is there.
//
// Parts cannot be put together before they are published, nor changed afterwards. Where the store can, it copies them; else they are read, checked
// and written again by this process.
func (c *Claim) Assemble(ctx context.Context, name string, parts []Part) (Part, error) {
	p, err := c.assemble(ctx, name, parts)
	if err != nil {
		return Part{}, c.out.wrap(fmt.Errorf("assemble %s: %w", name, err))
	}
	return p, nil
}

func (c *Claim) assemble(ctx context.Context, name string, parts []Part) (all Part, err error) {
	if err := c.check(ctx); err != nil {
		return all, err
	}
	pieces, err := c.out.publishPieces(ctx, parts)
	if err != nil {
		return all, err
	}
	u := c.Uploads()
	c.out.step("assemble: create")
	w, err := c.out.bucket.Create(ctx, u.Key(name), nil)
	if err != nil {
		return all, err
	}
	defer w.Abort(context.WithoutCancel(ctx)) // after Seal this does nothing
	if err := u.Record(ctx, "single", w.Handle()); err != nil {
		return all, err
	}
	for i, piece := range pieces {
		c.out.step("assemble: copy a piece")
		sum := parts[i].Pending.SHA256
		if err := c.out.copyPiece(ctx, w, piece, sum); err != nil {
			return all, err
		}
		all.Records += parts[i].Records
		all.Pieces = append(all.Pieces, job.Piece{Size: piece.Size, SHA256: sum})
	}
	c.out.step("assemble: seal")
	all.Pending, err = w.Seal(ctx)
	return all, err
}

// publishPieces makes parts readable, within the work directory.
func (o *output) publishPieces(ctx context.Context, parts []Part) ([]store.Object, error) {
	pieces := make([]store.Object, len(parts))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, p := range parts {
		g.Go(func() (err error) {
			o.step("assemble: publish a piece")
			pieces[i], err = o.bucket.Publish(ctx, p.Pending)
			if err == nil && pieces[i].Size != p.Pending.Size {
				err = fmt.Errorf("%s: %w: %d bytes of %d", p.Pending.Key, store.ErrShort, pieces[i].Size, p.Pending.Size)
			}
			return err
		})
	}
	return pieces, g.Wait()
}

// copyPiece appends a piece, whose SHA-256 is given, to what w has.
func (o *output) copyPiece(ctx context.Context, w store.Writer, piece store.Object, sum string) error {
	if c, ok := w.(store.Copier); ok {
		return c.Copy(ctx, piece)
	}
	r, err := o.bucket.Open(ctx, piece.Key, piece.ETag, 0, piece.Size)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(w, h), r, make([]byte, 1<<20))
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if n != piece.Size || hex.EncodeToString(h.Sum(nil)) != sum {
		return fmt.Errorf("%s: %w since it was sealed", piece.Key, store.ErrChanged)
	}
	return nil
}
