package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
	"github.com/millrace/millrace/shuffle/flight"
)

// texts are what the attempts of a job print that run on other nodes: each sends it by a netpipe of its own.
type texts struct {
	ctx   context.Context // of the job
	data  *flight.Node
	print Printer
	job   string
	epoch uint64

	mu  sync.Mutex
	all map[job.TaskID]*text // of the latest attempt of each task
	wg  sync.WaitGroup
}

func newTexts(ctx context.Context, data *flight.Node, print Printer, jobID string, epoch uint64) *texts {
	return &texts{ctx: ctx, data: data, print: print, job: jobID, epoch: epoch, all: map[job.TaskID]*text{}}
}

// A text is what one attempt prints.
type text struct {
	try  int
	stop context.CancelFunc
	over chan struct{} // closed when all has come, or err is set
	err  error
}

// expect makes the netpipe for what an attempt prints. One of an earlier attempt of its task is closed.
func (t *texts) expect(a job.AttemptID, incarnation uint64) (shuffle.Descriptor, error) {
	w, r, err := t.data.Make(flight.Stamp{Job: t.job, Task: string(a.Task), Attempt: uint32(a.Try), Incarnation: incarnation, Epoch: t.epoch})
	if err != nil {
		return "", err
	}
	ctx, stop := context.WithCancel(t.ctx)
	x := &text{try: a.Try, stop: stop, over: make(chan struct{})}
	t.mu.Lock()
	old := t.all[a.Task]
	t.all[a.Task] = x
	t.mu.Unlock()
	t.wg.Go(func() {
		defer close(x.over)
		if old != nil { // one attempt of a task prints at a time
			old.stop()
			<-old.over
		}
		defer r.Close()
		if x.err = r.Open(ctx); x.err == nil {
			x.err = t.read(a, r)
		}
	})
	return w[0], nil
}

// read passes on what comes.
func (t *texts) read(a job.AttemptID, r io.Reader) error {
	var head [brief.TextHeader]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		n := binary.LittleEndian.Uint32(head[1:])
		if n > brief.MaxText || head[0] > 1 {
			return fmt.Errorf("%w: a piece of text of %d bytes", shuffle.ErrCorrupt, n)
		}
		p := make([]byte, n)
		if _, err := io.ReadFull(r, p); err != nil {
			return errors.Join(io.ErrUnexpectedEOF, err)
		}
		if err := t.print.Print(a, p, head[0] == 1); err != nil {
			return err
		}
	}
}

// arrived waits until all has come that an attempt printed.
func (t *texts) arrived(ctx context.Context, a job.AttemptID) error {
	t.mu.Lock()
	x := t.all[a.Task]
	t.mu.Unlock()
	if x == nil || x.try != a.Try {
		return nil // it is not the one that may count, which the coordinator knows better
	}
	select {
	case <-x.over:
		return x.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// done says that an attempt counts.
func (t *texts) done(a job.AttemptID) error { return t.print.Done(a) }

// close ends all netpipes.
func (t *texts) close() {
	t.mu.Lock()
	for _, x := range t.all {
		x.stop()
	}
	t.mu.Unlock()
	t.wg.Wait()
}
