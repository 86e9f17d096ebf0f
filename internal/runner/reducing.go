package runner

import (
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
func (r *reducing) reduce(_ context.Context, m *shuffle.Merger, emit func(key, result []byte) error) (usage, error) {
	if r.native == nil {
		return usage{}, fmt.Errorf("%w: a reduce of a program that does not reduce", ErrProtocol)
	}
	if r.native.Group != nil {
		return usage{}, r.reduceGroups(m, emit)
	}
	var buf []byte
	for key, values := range m.Groups() {
		for acc := range values {
			result, err := r.native.Reduce(buf[:0], acc)
			if err != nil {
				return usage{}, fmt.Errorf("key %q: %w", clip(string(key)), err)
			}
			buf = result
			if err := emit(key, result); err != nil {
				return usage{}, err
			}
		}
	}
	return usage{}, m.Err()
}

// reduce reduces one partition, whose sections come by pipe, and sends the text of its results.
func (s *server) reduce(ctx context.Context, payload []byte, pipe *os.File) error {
	var r Reduce
	if err := json.Unmarshal(payload, &r); err != nil {
		return fmt.Errorf("%w: reduce: %w", ErrProtocol, err)
	}
	if pipe == nil {
		return fmt.Errorf("%w: reduce without a netpipe", ErrProtocol)
	}
	st := s.mem.Status()
	st.Started.Add(1)
	in := shuffle.NewIntake(&shuffle.IntakeOptions{Budget: s.hello.Limits.Shuffle})
	if err := receive(ctx, in, pipe); err != nil {
		return &attemptError{err}
	}
	runs := in.Runs()
	if len(runs) != r.Sections {
		return &attemptError{fmt.Errorf("%w: %d sections of %d came", shuffle.ErrCorrupt, len(runs), r.Sections)}
	}
	d := s.program.describe()
	w, err := s.out.writer(s.hello.Format, d.Key, d.Result)
	if err != nil {
		return &attemptError{err}
	}
	use, err := s.program.reduce(ctx, shuffle.Merge(runs, s.program.combine()), func(key, result []byte) error {
		s.done.Output++
		return w.Record(key, result)
	})
	s.account(&use)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return &attemptError{err}
	}
	return s.out.end()
}

// receive takes what the netpipe behind f carries, and closes it.
func receive(ctx context.Context, in *shuffle.Intake, f *os.File) error {
	from, err := shuffle.NewUnixReader(f)
	if err != nil {
		return err
	}
	if err := from.Open(ctx); err != nil {
		return errors.Join(err, from.Close())
	}
	return errors.Join(in.Receive(from), from.Close())
}
