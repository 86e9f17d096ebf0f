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
		Budget: s.hello.Limits.Shuffle, Combine: s.program.combine(), DigestKey: s.hello.DigestKey,
		Spill: spill, Limit: r.Spill,
	})
	defer g.Close()
	s.intake = &intake{conn: s.conn, g: g, total: -1}
	if err := s.intake.take(); err != nil {
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

// lost names the run to the agent because of which an attempt failed, if it did because of one.
func (s *server) lost(failed error) error {
	var bad *shuffle.RunError
	if !errors.As(failed, &bad) {
		return nil
	}
	return s.conn.Send(KindLost, []byte(bad.Run))
}
