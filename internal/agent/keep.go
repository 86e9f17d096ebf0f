package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/identity"
	"github.com/millrace/millrace/shuffle"
	"github.com/millrace/millrace/shuffle/flight"
)

const (
	maxReading = 32       // answers that are given at once; others wait, and need little memory
	answerSize = 64 << 20 // bytes after which an answer ends; who wants more asks again, so that others have their turn
)

// A keeper lets the agents of other nodes have the runs that this one keeps.
type keeper struct {
	job, node   string
	incarnation uint64
	runs        *runs
	reading     chan struct{}
	forget      func()
}

// keep begins to answer for the runs of a's job, until forget.
func (a *Agent) keep() (*keeper, error) {
	s := a.job.Sender
	k := &keeper{job: s.Job, node: s.Node, incarnation: s.Incarnation, runs: &a.runs, reading: make(chan struct{}, maxReading)}
	forget, err := a.job.Network.Flight.Answer(runsOf(s.Job), k.answer)
	if err != nil {
		return nil, err
	}
	k.forget = forget
	return k, nil
}

// answer answers a question, if it comes from an agent and is meant for this one.
func (k *keeper) answer(ctx context.Context, asked *flight.Question) (io.ReadCloser, error) {
	peer, err := identity.PeerOf(asked.Peer)
	if err != nil {
		return nil, err
	}
	if peer.Role != identity.Agent {
		return nil, fmt.Errorf("%v may not have runs", peer)
	}
	q, err := parseQuestion(asked.Text)
	if err != nil {
		return nil, err
	}
	s := &asked.Stamp
	if s.Job != k.job || q.node != k.node || s.Incarnation != k.incarnation {
		return nil, fmt.Errorf("%w: asked is %s, incarnation %d, for job %s; here is %s, incarnation %d, with those of job %s", shuffle.ErrStale,
			q.node, s.Incarnation, s.Job, k.node, k.incarnation, k.job)
	}
	return &delivery{ctx: ctx, k: k, q: q}, nil
}

// A delivery is an answer, read by whoever sends it. It is always the same, unless a run is given up meanwhile.
type delivery struct {
	ctx  context.Context
	k    *keeper
	q    *question
	next int // of the runs in q
	size int64
	part io.Reader // of the run before
	held bool      // a place among those that are given
}

func (d *delivery) Read(p []byte) (int, error) {
	if !d.held {
		select {
		case d.k.reading <- struct{}{}:
			d.held = true
		case <-d.ctx.Done():
			return 0, context.Cause(d.ctx)
		}
	}
	for {
		if d.part != nil {
			n, err := d.part.Read(p)
			d.size += int64(n)
			if err == io.EOF {
				d.part, err = nil, nil
			}
			if n > 0 || err != nil {
				return n, err
			}
		}
		if d.next == len(d.q.runs) || d.size >= answerSize {
			return 0, io.EOF
		}
		d.part = d.k.open(&d.q.runs[d.next], d.q.partition)
		d.next++
	}
}

// Close lets the next one be given.
func (d *delivery) Close() error {
	if d.held {
		<-d.k.reading
	}
	return nil
}

// open returns what is answered for one run.
func (k *keeper) open(r *coordinator.Run, partition int) io.Reader {
	kept, err := k.runs.get(r.Attempt, r.Vector)
	if err != nil {
		return bytes.NewReader([]byte{stateGone, 0, 0, 0, 0})
	}
	var table []shuffle.Section
	var at int64
	parts := []io.Reader{nil}
	for _, s := range kept.partition(partition) {
		parts = append(parts, &stretch{kept.file, r.Attempt.String(), s.Offset, s.Length})
		s.Offset = at
		at += s.Length
		table = append(table, s)
	}
	head := binary.LittleEndian.AppendUint32([]byte{stateHere}, uint32(len(table)))
	parts[0] = bytes.NewReader(shuffle.AppendTable(head, table))
	return io.MultiReader(parts...)
}

// A stretch reads some bytes of a run's file, and has an error if they are not there.
type stretch struct {
	file *os.File
	run  string
	at   int64
	left int64
}

func (s *stretch) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.file.ReadAt(p[:min(int64(len(p)), s.left)], s.at)
	s.at += int64(n)
	s.left -= int64(n)
	if n > 0 {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return 0, fmt.Errorf("run %s: %w", s.run, err)
}
