package runner

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/shuffle"
)

// mapSplit maps the objects of one split. Records go to run, if the job has partitions; text goes to the agent.
func (s *server) mapSplit(ctx context.Context, payload []byte, run *os.File) error {
	var m Map
	if err := json.Unmarshal(payload, &m); err != nil {
		return fmt.Errorf("%w: map: %w", ErrProtocol, err)
	}
	if (m.Partitions > 0 && !m.Check && m.Sample == 0) != (run != nil) {
		return fmt.Errorf("%w: %d partitions with run file: %t", ErrProtocol, m.Partitions, run != nil)
	}
	if s.ends != nil {
		if err := s.ends.open(ctx); err != nil {
			return &attemptError{err}
		}
	}
	s.stage.textual, s.stage.partitions = m.Partitions == 0, m.Partitions
	own := s.program.describe().Partitions
	var failed error // of the attempt
	if own && (m.Sample > 0 || m.Cuts != nil) {
		failed = errors.New("the program says itself which partition a key belongs to: --partition range is not for it")
	}
	s.checking = m.Check || m.Sample > 0
	s.stage.repeats = m.Partitions > 0 && m.Sample == 0 && s.program.combine() != nil
	s.sample = nil
	if m.Sample > 0 {
		s.sample = &sample{most: m.Sample, every: 1}
	}
	if run != nil {
		if s.sorter == nil || s.partitions != m.Partitions {
			s.release()
			s.partitions = m.Partitions
			s.sorter = shuffle.NewSorter(&shuffle.SorterOptions{
				Partitions: m.Partitions, Budget: s.hello.Limits.Shuffle,
				Combine: s.program.combine(), DigestKey: s.hello.DigestKey, Partition: ranges(m.Cuts), Placed: own,
			})
		}
		s.sorter.Start(run, m.Spill)
	}
	f := &feed{s: s}
	if p, ok := s.program.(*sdkProgram); ok && failed == nil && s.hello.Isolation == job.IsolateSplit {
		failed = s.mapTogether(ctx, p, f)
	}
	// After a failure the rest of the split is still taken, to keep in step with the agent.
	for {
		p, data, body, err := f.object()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if failed == nil {
			failed = s.mapObject(ctx, &p, data, body)
		} else {
			body.drain()
		}
	}
	if failed != nil {
		return &attemptError{failed}
	}
	if err := s.out.end(); err != nil {
		return err
	}
	if s.sample != nil {
		return s.sample.send(s.conn)
	}
	if run == nil {
		return nil
	}
	sections, err := s.sorter.Seal()
	if err != nil {
		return &attemptError{err}
	}
	table := shuffle.AppendTable(nil, sections)
	if _, err := run.Write(table); err != nil {
		return &attemptError{fmt.Errorf("write run: %w", err)}
	}
	s.done.IndexOffset, s.done.IndexLength = s.sorter.Spilled(), int64(len(table))
	return nil
}

// mapObject maps one object and lets go what it emitted if that succeeded. The error is the attempt's, not the object's.
func (s *server) mapObject(ctx context.Context, p *Piece, data []byte, body *pieces) error {
	m, err := s.meta(p)
	if err != nil {
		return err
	}
	obj := &mapper.Object{Key: m.Key, URI: m.URI, Size: m.Size, ETag: m.ETag, Modified: m.Modified, Params: s.hello.Params}
	if p.Last {
		obj.Data, obj.Body = data, bytes.NewReader(data)
	} else {
		obj.Body = body
	}
	st := s.mem.Status()
	s.stage.reset()
	if s.ends != nil {
		s.ends.begin()
	}
	s.stage.input = int(p.Input)
	st.Current.Store(uint64(p.Index) + 1)
	st.Started.Add(1)
	use, err := s.program.mapObject(ctx, obj, &s.stage)
	st.Current.Store(0)
	s.account(&use)
	return s.settle(p, body, use.exit, err)
}

// meta returns what a guest is told about an object.
func (s *server) meta(p *Piece) (m guest.Meta, err error) {
	if int(p.Input) >= len(s.hello.Inputs) {
		return m, fmt.Errorf("%w: input %d of %d", ErrProtocol, p.Input, len(s.hello.Inputs))
	}
	in := &s.hello.Inputs[p.Input]
	return guest.Meta{
		Key: p.Key[min(in.Base, len(p.Key)):], URI: in.Root + p.Key, Size: p.Size, ETag: p.ETag, Modified: time.Unix(0, p.Modified).UTC(),
	}, nil
}

// settle counts an object whose mapping ended in err, the guest's exit code being exit, and, if that is nil, lets go what it emitted. The error is the attempt's.
func (s *server) settle(p *Piece, body *pieces, exit int, err error) error {
	body.drain() // what the mapper left may be what could not be read
	if body.unread {
		return nil // the agent lists it
	}
	if body.err != nil {
		return nil // so is the channel; the feed knows
	}
	st := s.mem.Status()
	s.done.Objects++
	s.done.Bytes += p.Size
	st.Objects.Add(1)
	st.Bytes.Add(p.Size)
	if p.Sum {
		if err := s.sum(p.Index, exit, err); err != nil {
			return err
		}
	}
	if s.sample != nil && err == nil {
		return s.stage.each(func(key, _ []byte, _ int64) error { return s.sample.add(key) }) // nothing has leave to repeat
	}
	if s.checking {
		return nil
	}
	if err != nil {
		st.Failed.Add(1)
		b := binary.LittleEndian.AppendUint32(nil, p.Index)
		return s.conn.Send(KindFailed, append(b, clip(err.Error())...))
	}
	return s.letGo()
}

// letGo lets go what the object under way emitted.
func (s *server) letGo() error {
	s.done.Emitted += s.stage.records + s.stage.lines
	s.done.Output += s.stage.lines
	for k, n := range s.stage.counts {
		if _, ok := s.done.User[k]; ok || len(s.done.User) < maxCounters {
			s.done.User[k] += n
		}
	}
	if s.ends != nil {
		if err := s.ends.letGo(); err != nil {
			return s.ends.explain(err)
		}
	}
	if len(s.stage.text) > 0 {
		if _, err := s.out.Write(s.stage.text); err != nil {
			return err
		}
	}
	s.mem.Status().Records.Add(s.stage.records + s.stage.lines)
	if s.stage.records == 0 {
		return nil
	}
	if s.stage.types.Partitions {
		return s.stage.each(func(key, value []byte, n int64) error {
			p, value, err := guest.CutPartition(value, s.partitions)
			if err != nil {
				return err
			}
			return s.sorter.AddTo(p, key, value, n)
		})
	}
	return s.stage.each(s.sorter.AddTimes)
}
