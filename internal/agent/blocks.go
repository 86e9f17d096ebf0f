package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
	"github.com/millrace/millrace/shuffle/flight"
)

// blocks are the plan of a job that has no place for it in a store: its coordinator keeps it. Each block is a shard of its own, named by a token.
type blocks struct {
	data  *flight.Node
	brief brief.Brief
}

// Write is not for agents.
func (b *blocks) Write(context.Context, int, []byte) (string, int64, error) {
	return "", 0, errors.ErrUnsupported
}

// Seal is not for agents.
func (b *blocks) Seal(context.Context, []byte) error { return errors.ErrUnsupported }

// Index is not for agents.
func (b *blocks) Index(context.Context, int64) ([]byte, error) { return nil, errors.ErrUnsupported }

// Read fetches a block.
func (b *blocks) Read(ctx context.Context, shard string, offset, length int64) ([]byte, error) {
	if offset != 0 {
		return nil, fmt.Errorf("a block of a plan from byte %d", offset)
	}
	as := brief.BlocksStamp(b.brief.Job, b.brief.Origin, b.brief.Epoch)
	r, err := shuffle.Schemes{"flight": b.data.Scheme(as)}.OpenReader(ctx, shuffle.Descriptor("flight:"+b.brief.Blocks+"/"+shard))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p := make([]byte, length)
	if _, err = io.ReadFull(r, p); err != nil {
		return nil, fmt.Errorf("a block of the plan: %w", err)
	}
	return p, nil
}

// program opens the file of a program of the job.
func (e *engagement) program(ctx context.Context, p *job.Program) (*os.File, error) {
	as := brief.ProgramStamp(e.id, e.brief.Origin, e.brief.Epoch)
	return e.n.programs.open(ctx, p.Digest, e.brief.Programs[p.Digest], as)
}
