package agent

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
	"github.com/millrace/millrace/shuffle/flight"
)

// A sender is the [Printer] of a job whose coordinator is elsewhere: what an attempt prints goes there by a netpipe of its own.
type sender struct {
	e *engagement

	mu    sync.Mutex
	pipes map[job.AttemptID]*pipe
}

// A pipe is that of one attempt. It belongs to the attempt's goroutine.
type pipe struct {
	ctx context.Context
	to  shuffle.Descriptor
	as  flight.Stamp
	w   shuffle.PipeWriter // nil: not opened yet
	buf []byte
}

func newSender(e *engagement) *sender {
	return &sender{e: e, pipes: map[job.AttemptID]*pipe{}}
}

// begin notes where the text of an attempt goes. The netpipe holds for as long as ctx.
func (s *sender) begin(ctx context.Context, a *brief.Assignment) {
	if a.Text == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pipes[a.Attempt] = &pipe{ctx: ctx, to: a.Text, as: flight.Stamp{
		Job: s.e.id, Task: string(a.Attempt.Task), Attempt: uint32(a.Attempt.Try), Incarnation: s.e.n.o.Member.Incarnation, Epoch: a.Epoch,
	}}
}

// forget aborts what an attempt sends that has not ended.
func (s *sender) forget(a job.AttemptID) {
	s.mu.Lock()
	p := s.pipes[a]
	delete(s.pipes, a)
	s.mu.Unlock()
	if p != nil && p.w != nil {
		_ = p.w.Abort("the attempt was given up") // after Close it does nothing
	}
}

// open returns the pipe of an attempt, open; nil if it prints nothing.
func (s *sender) open(a job.AttemptID) (p *pipe, err error) {
	s.mu.Lock()
	p = s.pipes[a]
	s.mu.Unlock()
	if p == nil || p.w != nil {
		return p, nil
	}
	schemes := shuffle.Schemes{"flight": s.e.n.o.Data.Scheme(p.as)}
	p.w, err = schemes.OpenWriter(p.ctx, p.to)
	return p, err
}

// Print sends text of an attempt.
func (s *sender) Print(a job.AttemptID, text []byte, more bool) error {
	p, err := s.open(a)
	if err != nil {
		return err
	}
	if p == nil {
		return fmt.Errorf("%s prints, and nobody has asked for it", a)
	}
	p.buf = append(p.buf[:0], 0)
	if more {
		p.buf[0] = 1
	}
	p.buf = append(binary.LittleEndian.AppendUint32(p.buf, uint32(len(text))), text...)
	_, err = p.w.Write(p.buf)
	return err
}

// End sends what is still to be sent. The coordinator waits for it before the attempt counts.
func (s *sender) End(a job.AttemptID) error {
	p, err := s.open(a)
	if err != nil || p == nil {
		return err
	}
	return p.w.Close()
}

// Done does nothing: the coordinator knows.
func (s *sender) Done(job.AttemptID) error { return nil }
