package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A member is one of a gang.
type member struct {
	g     *gang
	group *Group
	index int
	maps  int // its group's place among those that map
	hello runner.Hello
	link  *link
	err   error // why it failed

	text  *upload  // output to the store
	kept  *os.File // output that is printed in the end
	list  *upload  // failed objects
	names []job.FailedObject

	mu    sync.Mutex
	cur   *try // of the split under way, or of its only run
	base  int  // objects of the splits before that
	count job.Counters
}

// newMember returns the n-th member of a group, which is the maps-th that maps.
func newMember(g *gang, group *Group, n, maps int) *member {
	m := &member{g: g, group: group, index: n, maps: maps, hello: group.Hello}
	m.hello.Member = &runner.Member{Group: group.Name, Index: n, Of: group.Members, Maps: group.Maps, Writes: group.Writes}
	if out := g.a.job.Output; out != nil {
		suffix := store.Key(fmt.Sprintf("part-%s-%05d", group.Name, n))
		attempt := g.lease.Attempt.String()
		if group.Writes {
			m.text = &upload{out: out, attempt: attempt, key: out.Pieces + suffix + store.Key(job.Suffix(m.hello.Format, m.hello.Compress))}
		}
		if group.Maps {
			m.list = &upload{out: out, attempt: attempt, key: "_failed/" + suffix + ".jsonl"}
		}
	}
	return m
}

// joins adds a channel to what its runner will be told.
func (m *member) joins(e runner.ChannelEnd) {
	m.hello.Member.Channels = append(m.hello.Member.Channels, e)
}

// name names it to people.
func (m *member) name() string {
	if m.group.Members == 1 {
		return "group " + m.group.Name
	}
	return fmt.Sprintf("group %s, member %d of %d", m.group.Name, m.index, m.group.Members)
}

func (m *member) start(ctx context.Context) error {
	l, err := m.group.Pool.start(ctx, &m.hello, m.group.Code)
	if err != nil {
		return fmt.Errorf("group %s: %w", m.group.Name, err)
	}
	m.link = l
	return nil
}

// hand gives its runner one end of a netpipe.
func (m *member) hand(l runner.Link, socket *os.File) error {
	if err := m.link.conn.SendJSON(runner.KindLink, l, socket); err != nil {
		return fmt.Errorf("%s: %w", m.name(), m.link.died(err))
	}
	return nil
}

// run has it do its work.
func (m *member) run(ctx context.Context) error {
	if !m.group.Maps {
		return m.ask(ctx, runner.KindRun)
	}
	for _, s := range m.g.lease.Split.Gang {
		if err := m.mapSplit(ctx, s); err != nil {
			return err
		}
	}
	return m.ask(ctx, runner.KindLast)
}

// ask has the runner do something that takes no objects.
func (m *member) ask(ctx context.Context, k runner.Kind) error {
	t := m.begin(nil, nil)
	err := m.link.conn.Send(k, nil)
	if err != nil {
		return m.link.died(err)
	}
	done, err := t.serve(ctx)
	if err != nil {
		return err
	}
	m.settle(t, done)
	return nil
}

// mapSplit has it map its share of a split: of n members, each has every n-th object.
func (m *member) mapSplit(ctx context.Context, s job.Split) error {
	all, err := m.g.a.job.Plan.Split(ctx, s)
	if err != nil {
		return err
	}
	var share []plan.Object
	skip := make(map[int]string)
	for i := m.index; i < len(all); i += m.group.Members {
		if reason, ok := m.g.lease.Skip[m.global(len(share))]; ok {
			skip[len(share)] = reason
		}
		share = append(share, all[i])
	}
	if len(share) > 0 {
		t := m.begin(share, skip)
		done, err := t.mapObjects(ctx, &runner.Map{Attempt: m.g.lease.Attempt})
		if err != nil {
			return err
		}
		m.settle(t, done)
		if err := m.nameFailed(ctx, t); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.base += len(all)
	return nil
}

// global returns the number by which the coordinator knows an object of the share under way: all that the first group maps are
// numbered, then all that the second maps.
func (m *member) global(object int) int {
	return m.maps*m.g.lease.Split.Objects + m.base + m.index + object*m.group.Members
}

// begin begins a piece of work.
func (m *member) begin(objects []plan.Object, skip map[int]string) *try {
	lease := &coordinator.Lease{Attempt: m.g.lease.Attempt, Skip: skip}
	t := &try{a: m.g.a, link: m.link, lease: lease, began: m.g.began, objects: objects, member: m}
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.link.mem.Status() // the runner does the same, but later
	st.Objects.Store(0)
	st.Bytes.Store(0)
	st.Records.Store(0)
	st.Failed.Store(0)
	m.cur = t
	return t
}

// settle counts what a piece of work came to.
func (m *member) settle(t *try, d *runner.Done) {
	for i, reason := range t.lease.Skip {
		t.fail(i, reason)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cur = nil
	addCounters(&m.count, &job.Counters{
		Objects: d.Objects + t.unread + int64(len(t.lease.Skip)), Failed: int64(len(t.failed)),
		Bytes: d.Bytes, Emitted: d.Emitted, Output: d.Output, User: d.User,
		CPU: time.Duration(d.CPUUser + d.CPUSystem), PeakMemory: max(d.Peak, d.GuestPeak),
		Reads: d.Reads, ReadBytes: d.ReadBytes, Writes: d.Writes, WriteBytes: d.WriteBytes, LogLines: d.LogLines, LogDropped: d.LogDropped, Restored: d.Restored,
		Input: t.reading.total(), Channels: m.own(d.Channels),
	})
}

// own returns what a runner says of channels that are its own.
func (m *member) own(said job.Traffic) job.Traffic {
	own := make(job.Traffic)
	for _, e := range m.hello.Member.Channels {
		if p, ok := said[e.Name]; ok {
			own[e.Name] = p
		}
	}
	return own
}

// failure tells whose fault its failure was.
func (m *member) failure() coordinator.Failure {
	f := coordinator.Failure{Fault: coordinator.FaultTask, Object: -1, Reason: m.err.Error()}
	if m.cur != nil {
		f = m.cur.failure(m.err)
	}
	if f.Object >= 0 {
		f.Object = m.global(f.Object)
	}
	var other otherError
	if f.Fault == coordinator.FaultTask && !m.group.Maps && m.link.killed.Load() != nil || // it was the run itself that brought its runner down
		errors.Is(m.err, errDied) && f.Object < 0 && m.link.exit().OOM ||
		errors.As(m.err, &other) { // and nobody else says why
		f.Fault = coordinator.FaultAttempt
	}
	f.Reason = m.name() + ": " + f.Reason
	return f
}

// addCounters adds what members count.
func addCounters(to, n *job.Counters) {
	to.Objects += n.Objects
	to.Failed += n.Failed
	to.Bytes += n.Bytes
	to.Emitted += n.Emitted
	to.Output += n.Output
	to.CPU += n.CPU
	to.PeakMemory = max(to.PeakMemory, n.PeakMemory)
	to.Reads += n.Reads
	to.ReadBytes += n.ReadBytes
	to.Writes += n.Writes
	to.WriteBytes += n.WriteBytes
	to.LogLines += n.LogLines
	to.LogDropped += n.LogDropped
	to.Restored += n.Restored
	to.Input = to.Input.Plus(n.Input, 1)
	to.Channels = to.Channels.Plus(n.Channels, 1)
	if to.User == nil && len(n.User) > 0 {
		to.User = make(map[string]int64)
	}
	for k, v := range n.User {
		to.User[k] += v
	}
}

// addProgress adds how far it is.
func (m *member) addProgress(r *coordinator.Running) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Objects += m.count.Objects
	r.Bytes += m.count.Bytes
	r.Failed += m.count.Failed
	r.Records += m.count.Emitted
	if m.cur == nil || !m.group.Maps {
		return
	}
	p := m.cur.progress()
	r.Objects += p.Objects
	r.Bytes += p.Bytes
	r.Failed += p.Failed
	r.Records += p.Records
	if p.Example != nil {
		r.Example = p.Example
	}
}

// take takes text that it has printed.
func (m *member) take(ctx context.Context, p []byte) (err error) {
	switch {
	case !m.group.Writes:
		return fmt.Errorf("%w: text of a group that writes no output", runner.ErrProtocol)
	case m.text != nil:
		return m.text.write(ctx, p)
	case m.kept == nil:
		if m.kept, err = newSpill(m.g.a.job.SpillDir); err != nil {
			return err
		}
	}
	_, err = m.kept.Write(p)
	return err
}

// nameFailed lists the objects of a split that failed, in order.
func (m *member) nameFailed(ctx context.Context, t *try) error {
	for _, i := range slices.Sorted(maps.Keys(t.failed)) {
		f := job.FailedObject{URI: t.uri(i), Reason: t.failed[i], Task: m.g.lease.Attempt.Task}
		if len(m.names) < coordinator.MaxNames {
			m.names = append(m.names, f)
		}
		if m.list == nil {
			continue
		}
		line, err := json.Marshal(f)
		if err == nil {
			err = m.list.write(ctx, append(line, '\n'))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// seal seals what it made. Each member of a group that writes has its part, also an empty one.
func (m *member) seal(ctx context.Context) (made coordinator.Made, err error) {
	if m.text != nil {
		if err = m.text.open(ctx); err == nil {
			made.Part, err = m.text.seal(ctx)
		}
		made.Records = m.count.Output
	}
	if m.list != nil && err == nil {
		made.Failed, err = m.list.seal(ctx)
		made.Listed = m.count.Failed
	}
	return made, err
}

// show prints what was kept, in whole lines, and forgets it.
func (m *member) show() error {
	if m.kept == nil {
		return nil
	}
	if _, err := m.kept.Seek(0, io.SeekStart); err != nil {
		return err
	}
	buf := make([]byte, 0, 64<<10)
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, len(buf))
		}
		n, err := m.kept.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		whole := bytes.LastIndexByte(buf, '\n') + 1
		if err == io.EOF {
			whole = len(buf)
		}
		if whole > 0 {
			if perr := m.g.a.job.Print(m.g.lease.Attempt, buf[:whole], false); perr != nil {
				return perr
			}
		}
		buf = append(buf[:0], buf[whole:]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	kept := m.kept
	m.kept = nil
	return kept.Close()
}

// giveUp removes what it made.
func (m *member) giveUp(ctx context.Context) (err error) {
	for _, u := range []*upload{m.text, m.list} {
		if u != nil {
			err = errors.Join(err, u.discard(ctx))
		}
	}
	if m.kept != nil {
		err = errors.Join(err, m.kept.Close())
	}
	return err
}
