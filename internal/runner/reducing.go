package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/reducer"
	"github.com/millrace/millrace/shuffle"
)

// A reducing is how a program's records are reduced: by a stock reducer here, or by the guest (native is nil then).
type reducing struct {
	desc   guest.Description
	native *reducer.Native
}

func newReducing(d guest.Description) (reducing, error) {
	if d.Stock == "" {
		return reducing{desc: d}, nil
	}
	n, err := reducer.Lookup(d.Stock)
	if err != nil {
		return reducing{}, err
	}
	return reducing{d, n}, nil
}

func (r *reducing) describe() guest.Description { return r.desc }

func (r *reducing) combine() shuffle.Combine {
	if r.native == nil || r.native.Merge == nil {
		return nil
	}
	return r.native.Merge
}

// reduce reduces by the stock reducer.
func (r *reducing) reduce(_ context.Context, m *shuffle.Merger, _ func(bool), emit func(key, result []byte) error) (usage, error) {
	if r.native == nil {
		return usage{}, fmt.Errorf("%w: a reduce of a program that does not reduce", ErrProtocol)
	}
	if r.native.Group != nil {
		return usage{}, r.reduceGroups(m, emit)
	}
	var buf []byte
	for key, acc, ok := m.Next(); ok; key, acc, ok = m.Next() {
		result, err := r.native.Reduce(buf[:0], acc)
		if err != nil {
			return usage{}, fmt.Errorf("key %q: %w", clip(string(key)), err)
		}
		buf = result
		if err := emit(key, result); err != nil {
			return usage{}, err
		}
	}
	return usage{}, m.Err()
}

// reduce reduces one partition, whose runs come in files, and sends the text of its results.
func (s *server) reduce(ctx context.Context, payload []byte, spill *os.File) error {
	var r Reduce
	if err := json.Unmarshal(payload, &r); err != nil {
		return fmt.Errorf("%w: reduce: %w", ErrProtocol, err)
	}
	if spill == nil {
		return fmt.Errorf("%w: reduce without a spill file", ErrProtocol)
	}
	s.mem.Status().Started.Add(1)
	s.release() // the merge needs the memory
	g := shuffle.NewGather(&shuffle.GatherOptions{
		Runs: r.Runs, Budget: s.hello.Limits.Shuffle, Combine: s.program.combine(), DigestKey: s.hello.DigestKey,
		Spill: spill, Limit: r.Spill,
	})
	defer g.Close()
	if err := s.gather(g, r.Runs); err != nil {
		return err
	}
	m, err := g.Merge()
	if err != nil {
		return &attemptError{err}
	}
	d := s.program.describe()
	w, err := s.out.writer(s.hello.Format, d.Key, d.Result)
	if err != nil {
		return &attemptError{err}
	}
	st := s.mem.Status()
	defer st.Current.Store(0)
	busy := func(b bool) { // the agent watches over what is not ours
		if !b {
			st.Current.Store(0)
			return
		}
		st.Started.Add(1)
		st.Current.Store(1)
	}
	use, err := s.program.reduce(ctx, m, busy, func(key, result []byte) error {
		s.done.Output++
		return w.Record(key, result)
	})
	s.account(&use)
	s.done.Partition = partitionOf(m.Merged(), d.Key)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return &attemptError{cmp.Or(m.Err(), err)}
	}
	return s.out.end()
}

// gather takes n runs from the agent.
func (s *server) gather(g *shuffle.Gather, n int) error {
	var failed error // of the attempt; the other runs are still taken, to keep in step with the agent
	for n > 0 {
		k, payload, file, err := s.conn.Recv()
		if err != nil {
			return err
		}
		var r Runs
		if k != KindRuns || file == nil || json.Unmarshal(payload, &r) != nil || len(r.Sections) == 0 || len(r.Sections) > n {
			err = fmt.Errorf("%w: frame %c where %d runs are due", ErrProtocol, k, n)
			if file != nil {
				err = errors.Join(err, file.Close())
			}
			return err
		}
		n -= len(r.Sections)
		open := len(r.Sections)
		done := func() {
			if open--; open == 0 {
				_ = file.Close() // it was only read
			}
		}
		for i := range r.Sections {
			if failed != nil {
				done()
				continue
			}
			failed = g.Add(shuffle.Run{Name: r.Name, File: file, Section: r.Sections[i], Done: done})
		}
	}
	if failed != nil {
		return &attemptError{failed}
	}
	return nil
}

// lost names the run to the agent because of which an attempt failed, if it did because of one.
func (s *server) lost(failed error) error {
	var bad *shuffle.RunError
	if !errors.As(failed, &bad) {
		return nil
	}
	return s.conn.Send(KindLost, []byte(bad.Run))
}
