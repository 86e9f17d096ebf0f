package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	logStream   = "millrace_log"
	stateStream = "millrace_state"
	streamSize  = MaxMessage + envelopeRoom // of a message
	markID      = "millrace-cluster"        // metadata: a random word that both streams have from Prepare
)

// logConfig describes the stream of all job logs.
func logConfig(storage jetstream.StorageType, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:       logStream,
		Subjects:   []string{logPrefix + "*"},
		Storage:    storage,
		Replicas:   replicas,
		Discard:    jetstream.DiscardNew, // a full log refuses, it forgets nothing
		DenyDelete: true,
		MaxMsgSize: streamSize,
	}
}

// stateConfig describes the stream of what has one value, which only a comparison changes.
func stateConfig(storage jetstream.StorageType, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              stateStream,
		Subjects:          []string{statePrefix + "*"},
		Storage:           storage,
		Replicas:          replicas,
		MaxMsgsPerSubject: 1,
		DenyDelete:        true,
		MaxMsgSize:        streamSize,
	}
}

// Prepare makes what a new cluster keeps; all that is there must be as it should, or the error is ErrUnsafe. It is for whoever sets up a cluster, not
// for those who start it: what was there and is gone is not made again, with ErrLost, as far as one can tell. It may be called again.
func (c *Cluster) Prepare(ctx context.Context) error {
	if err := c.prepare(ctx); err != nil {
		return c.wrap("prepare the cluster", err)
	}
	return nil
}

func (c *Cluster) prepare(ctx context.Context) error {
	if err := c.synced(ctx); err != nil {
		return err
	}
	replicas := c.copies
	logs, err := c.look(ctx, logStream)
	if err != nil {
		return err
	}
	state, err := c.look(ctx, stateStream)
	if err != nil {
		return err
	}
	switch {
	case logs == nil && state != nil:
		return fmt.Errorf("%w: stream %s", ErrLost, logStream)
	case logs != nil && logs.State.LastSeq > 0 && (state == nil || state.State.LastSeq == 0):
		return fmt.Errorf("%w: stream %s", ErrLost, stateStream)
	}
	// The logs come first: who finds them empty has found an earlier try, or a new cluster.
	want := logConfig(jetstream.FileStorage, replicas)
	if logs == nil {
		want.Metadata = map[string]string{markID: rand.Text()}
		if logs, err = c.create(ctx, want); err != nil {
			return err
		}
	}
	if state == nil {
		want := stateConfig(jetstream.FileStorage, replicas)
		want.Metadata = map[string]string{markID: logs.Config.Metadata[markID]}
		if state, err = c.create(ctx, want); err != nil {
			return err
		}
	}
	if state.State.LastSeq == 0 {
		if err := c.vacate(ctx); err != nil {
			return err
		}
	}
	return fit(logs, state, replicas)
}

// create makes a stream, unless somebody else does at the same time.
func (c *Cluster) create(ctx context.Context, cfg jetstream.StreamConfig) (info *jetstream.StreamInfo, err error) {
	err = persist(ctx, c.elsewhere, func(ctx context.Context) error {
		_, err := c.js.CreateStream(ctx, cfg)
		if err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			info, err = c.look(ctx, cfg.Name)
		}
		return err
	})
	if err == nil && info == nil {
		err = fmt.Errorf("%w: it was there a moment ago", ErrLost)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s with %d replicas: %w", cfg.Name, cfg.Replicas, err)
	}
	return info, nil
}

// vacate writes the first state: a cluster without a leader that never had one.
func (c *Cluster) vacate(ctx context.Context) error {
	return persist(ctx, c.elsewhere, func(ctx context.Context) error {
		_, err := natsStore{c, stateStream}.put(ctx, statePrefix+leaderKey, (&tenure{}).append(nil), 0)
		if errors.Is(err, errMoved) {
			return nil // somebody did
		}
		return err
	})
}

// Check says whether the cluster is prepared and keeps what it acknowledges: ErrLost, ErrUnsafe. Whoever starts a coordinator asks first.
func (c *Cluster) Check(ctx context.Context) error {
	if err := c.check(ctx); err != nil {
		return c.wrap("check the cluster", err)
	}
	return nil
}

func (c *Cluster) check(ctx context.Context) error {
	if err := c.synced(ctx); err != nil {
		return err
	}
	logs, err := c.look(ctx, logStream)
	if err != nil {
		return err
	}
	state, err := c.look(ctx, stateStream)
	if err != nil {
		return err
	}
	switch {
	case logs == nil && state == nil:
		return fmt.Errorf("%w: it was never prepared, or its engine has lost everything", ErrLost)
	case logs == nil:
		return fmt.Errorf("%w: stream %s", ErrLost, logStream)
	case state == nil || state.State.Msgs == 0:
		return fmt.Errorf("%w: stream %s", ErrLost, stateStream)
	}
	return fit(logs, state, c.copies)
}

// look returns what there is of a stream; nil: nothing.
func (c *Cluster) look(ctx context.Context, name string) (info *jetstream.StreamInfo, err error) {
	err = persist(ctx, c.elsewhere, func(ctx context.Context) error {
		s, err := c.js.Stream(ctx, name)
		switch {
		case err == nil:
			info = s.CachedInfo()
		case errors.Is(err, jetstream.ErrStreamNotFound):
			info, err = nil, nil
		case errors.Is(err, nats.ErrConnectionClosed):
			err = ErrClosed
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	return info, nil
}

// fit says what of the streams is not as it must be.
func fit(logs, state *jetstream.StreamInfo, replicas int) error {
	for _, s := range []struct {
		got  *jetstream.StreamInfo
		want jetstream.StreamConfig
	}{{logs, logConfig(jetstream.FileStorage, replicas)}, {state, stateConfig(jetstream.FileStorage, replicas)}} {
		got, bad := &s.got.Config, ""
		switch {
		case got.Storage != s.want.Storage:
			bad = "is in memory"
		case got.Replicas < s.want.Replicas:
			bad = fmt.Sprintf("has %d replicas of %d", got.Replicas, s.want.Replicas)
		case got.Retention != s.want.Retention, got.MaxAge != 0, got.MaxMsgs > 0, got.MaxMsgsPerSubject > 0 && got.MaxMsgsPerSubject != s.want.MaxMsgsPerSubject:
			bad = "forgets"
		case s.want.MaxMsgsPerSubject == 0 && got.Discard != s.want.Discard:
			bad = "forgets when it is full"
		case got.AllowDirect:
			bad = "may be read without its leader"
		case got.PersistMode != s.want.PersistMode:
			bad = "is written later than it is acknowledged"
		case got.MaxMsgSize > 0 && got.MaxMsgSize < s.want.MaxMsgSize:
			bad = fmt.Sprintf("takes no messages above %d bytes", got.MaxMsgSize)
		case len(got.Subjects) != 1 || got.Subjects[0] != s.want.Subjects[0]:
			bad = fmt.Sprintf("has the subjects %q", got.Subjects)
		case got.Mirror != nil || len(got.Sources) > 0:
			bad = "is a copy of another"
		case got.Sealed:
			bad = "is sealed"
		}
		if bad != "" {
			return fmt.Errorf("%w: stream %s %s", ErrUnsafe, s.want.Name, bad)
		}
	}
	if a, b := logs.Config.Metadata[markID], state.Config.Metadata[markID]; a != b {
		return fmt.Errorf("%w: streams %s and %s are not of one cluster", ErrLost, logStream, stateStream)
	}
	return nil
}

// stream returns a stream, which is looked up once.
func (c *Cluster) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	c.mu.Lock()
	s := c.streams[name]
	c.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := c.js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	if s.CachedInfo().Config.AllowDirect {
		return nil, fmt.Errorf("%w: stream %s may be read without its leader", ErrUnsafe, name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams[name] = s
	return s, nil
}

// A natsStore keeps entries in a JetStream stream. Reads go through its leader.
type natsStore struct {
	c      *Cluster
	stream string
}

func (n natsStore) put(ctx context.Context, subject string, data []byte, last uint64) (uint64, error) {
	ack, err := n.c.js.Publish(ctx, subject, data, jetstream.WithExpectStream(n.stream), jetstream.WithExpectLastSequencePerSubject(last))
	if err == nil {
		return ack.Sequence, nil
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch api.ErrorCode {
		case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
			return 0, errMoved
		}
		if n.c.copies > 1 { // the others may have taken it
			return 0, fmt.Errorf("%w: %w", errDeclined, err)
		}
		return 0, fmt.Errorf("%w: %w", errRefused, err)
	}
	if errors.Is(err, nats.ErrConnectionClosed) {
		return 0, fmt.Errorf("%w: %w", errRefused, ErrClosed)
	}
	return 0, n.at(err)
}

// at adds where an error comes from.
func (n natsStore) at(err error) error {
	if s := n.c.serverName(); s != "" {
		return fmt.Errorf("server %s: %w", s, err)
	}
	return err
}

func (n natsStore) next(ctx context.Context, subject string, seq uint64) (uint64, []byte, error) {
	s, err := n.c.stream(ctx, n.stream)
	if err != nil {
		return n.found(nil, err)
	}
	return n.found(s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject)))
}

func (n natsStore) end(ctx context.Context, subject string) (uint64, []byte, error) {
	s, err := n.c.stream(ctx, n.stream)
	if err != nil {
		return n.found(nil, err)
	}
	return n.found(s.GetLastMsgForSubject(ctx, subject))
}

func (n natsStore) found(m *jetstream.RawStreamMsg, err error) (uint64, []byte, error) {
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return 0, nil, nil
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return 0, nil, fmt.Errorf("%w: stream %s", ErrLost, n.stream)
	case errors.Is(err, nats.ErrConnectionClosed):
		return 0, nil, ErrClosed
	case err != nil:
		return 0, nil, n.at(err)
	}
	return m.Sequence, m.Data, nil
}

func (n natsStore) elsewhere() bool { return n.c.elsewhere() }

// Jobs returns the names of all jobs that have a log, in no order.
func (c *Cluster) Jobs(ctx context.Context) (jobs []string, err error) {
	err = persist(ctx, c.elsewhere, func(ctx context.Context) error {
		s, err := c.stream(ctx, logStream)
		if err != nil {
			return err
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(logPrefix+"*"))
		if err != nil {
			return err
		}
		jobs = jobs[:0]
		for subject := range info.State.Subjects {
			jobs = append(jobs, strings.TrimPrefix(subject, logPrefix))
		}
		return nil
	})
	if err != nil {
		return nil, c.wrap("list the jobs", err)
	}
	return jobs, nil
}
