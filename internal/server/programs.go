package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/tempdir"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
)

// uploadTime bounds how long a client may take to send the programs of a job.
const uploadTime = 10 * time.Minute

func (s *server) program(digest string) string { return filepath.Join(s.o.Dir, digest) }

// receive makes netpipes by which the client sends the programs that are not here. wait waits until they are.
func (j *tracked) receive() (to map[string]shuffle.Descriptor, wait func() error, err error) {
	to = map[string]shuffle.Descriptor{}
	from := map[string]shuffle.PipeReader{}
	for _, p := range brief.Files(j.spec) {
		if _, err := os.Stat(j.t.s.program(p.Digest)); err == nil || to[p.Digest] != "" {
			continue
		}
		w, r, err := j.t.s.o.Data.Make(brief.ProgramStamp(j.id, j.t.s.origin, j.t.epoch))
		if err != nil {
			return nil, nil, err
		}
		to[p.Digest], from[p.Digest] = w[0], r
	}
	return to, func() error {
		ctx, cancel := context.WithTimeoutCause(j.ctx, uploadTime, fmt.Errorf("no program came for %v", uploadTime))
		defer cancel()
		g, ctx := errgroup.WithContext(ctx)
		for digest, r := range from {
			g.Go(func() error {
				defer r.Close()
				if err := r.Open(ctx); err != nil {
					return err
				}
				return brief.Receive(j.t.s.program(digest), digest, r)
			})
		}
		return g.Wait()
	}, nil
}

// collectTime is how long a leader that took over looks for a node that has a program.
const collectTime = 30 * time.Second

// collect fetches programs from agents that have them, for a leader that took over.
func (j *tracked) collect(ctx context.Context) error {
	for _, p := range brief.Files(j.spec) {
		if _, err := os.Stat(j.t.s.program(p.Digest)); err == nil {
			continue
		}
		for began := time.Now(); ; {
			found, err := j.fetch(ctx, p.Digest)
			if found {
				break
			}
			if time.Since(began) > collectTime {
				return &job.Error{Op: "program " + p.Name, Err: errors.Join(errors.New("its coordinator is gone, and no agent has it: submit the job again"), err)}
			}
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// fetch fetches a program from the first member that has it.
func (j *tracked) fetch(ctx context.Context, digest string) (found bool, last error) {
	t := j.t
	for _, m := range t.s.view.Members() {
		var k brief.Kept
		q := brief.Query{Job: j.id, Epoch: t.epoch, Origin: t.s.origin, Digest: digest}
		if err := call(ctx, t.s.o.Cluster, brief.ToNode(m.Node, brief.Program), q, &k); err != nil {
			last = err
			continue
		}
		if k.At == "" {
			continue
		}
		r, err := shuffle.Schemes{"flight": t.s.o.Data.Scheme(brief.ProgramStamp(j.id, t.s.origin, t.epoch))}.OpenReader(ctx, k.At)
		if err == nil {
			err = brief.Receive(t.s.program(digest), digest, r)
			r.Close()
		}
		if err == nil {
			return true, nil
		}
		last = err
	}
	return false, last
}

// offer lets agents fetch the programs of the job, if they are here.
func (j *tracked) offer() map[string]shuffle.Descriptor {
	at := map[string]shuffle.Descriptor{}
	for _, p := range brief.Files(j.spec) {
		path := j.t.s.program(p.Digest)
		if _, err := os.Stat(path); err != nil {
			continue // who has it needs it not
		}
		d, forget, err := j.t.s.o.Data.Keep(brief.ProgramStamp(j.id, j.t.s.origin, j.t.epoch), func() (io.ReadCloser, error) { return os.Open(path) })
		if err == nil {
			at[p.Digest] = d
			j.offers = append(j.offers, forget)
		}
	}
	return at
}

// A keptArea is the plan of a job that has no place for it in a store: a directory here, from which agents fetch block by block.
type keptArea struct {
	*plan.DirArea
	j      *tracked
	dir    *tempdir.Dir
	forget []func()
}

func newKeptArea(j *tracked) (*keptArea, error) {
	dir, err := tempdir.New("millrace-plan-")
	if err != nil {
		return nil, err
	}
	return &keptArea{DirArea: plan.NewDirArea(dir.Path), j: j, dir: dir}, nil
}

// Write keeps a block. Its shard is the token by which agents fetch it.
func (a *keptArea) Write(ctx context.Context, n int, block []byte) (string, int64, error) {
	shard, offset, err := a.DirArea.Write(ctx, n, block)
	if err != nil {
		return "", 0, err
	}
	length := int64(len(block))
	stamp := brief.BlocksStamp(a.j.id, a.j.t.s.origin, a.j.t.epoch)
	d, forget, err := a.j.t.s.o.Data.Keep(stamp, func() (io.ReadCloser, error) {
		f, err := os.Open(filepath.Join(a.dir.Path, shard))
		if err != nil {
			return nil, err
		}
		return section{io.NewSectionReader(f, offset, length), f}, nil
	})
	if err != nil {
		return "", 0, err
	}
	a.j.mu.Lock()
	a.forget = append(a.forget, forget)
	a.j.mu.Unlock()
	return filepath.Base(d.Rest()), 0, nil
}

// Close removes the plan.
func (a *keptArea) Close() error {
	for _, forget := range a.forget {
		forget()
	}
	return errors.Join(a.DirArea.Close(), a.dir.Close())
}

type section struct {
	io.Reader
	io.Closer
}
