package coordinator

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/job"
)

// firstFailures is how many objects must fail at the start of a job, without one success, for it to stop at once.
const firstFailures = 100

func (m *Machine) progressed(e Progressed) []Effect {
	if _, why := m.admit(e.Beat.Sender, time.Time{}); why != "" {
		return nil
	}
	for _, r := range e.Beat.Running {
		if t, why := m.current(r.Attempt, e.Beat.Node); why == "" {
			t.running = r
		}
	}
	if err := m.hopeless(); err != nil {
		return m.fail(err)
	}
	return nil
}

// hopeless returns an error if the job began with nothing but failures.
func (m *Machine) hopeless() error {
	p := m.Progress()
	if p.Failed < firstFailures || p.Failed < p.Objects || m.conf.Tolerates(1, 1) {
		return nil
	}
	return &job.Error{Err: fmt.Errorf("the first %d objects all failed%s", p.Failed, m.example())}
}

// example names one failed object, if one is known.
func (m *Machine) example() string {
	for _, t := range m.maps {
		n := t.running.Example
		if len(t.result.Names) > 0 {
			n = &t.result.Names[0]
		}
		if n != nil {
			return fmt.Sprintf("; %s: %s", n.URI, n.Reason)
		}
	}
	return ""
}

func (m *Machine) count(c *job.Counters, sign int64) {
	t := &m.total
	t.Objects += sign * c.Objects
	t.Bytes += sign * c.Bytes
	t.Failed += sign * c.Failed
	t.Checked += sign * c.Checked
	t.Unchecked += sign * c.Unchecked
	t.Emitted += sign * c.Emitted
	t.Output += sign * c.Output
	t.Queue += time.Duration(sign) * c.Queue
	t.Run += time.Duration(sign) * c.Run
	t.CPU += time.Duration(sign) * c.CPU
	t.Reads += sign * c.Reads
	t.ReadBytes += sign * c.ReadBytes
	t.Writes += sign * c.Writes
	t.WriteBytes += sign * c.WriteBytes
	t.LogLines += sign * c.LogLines
	t.LogDropped += sign * c.LogDropped
	t.Restored += sign * c.Restored
	for k, v := range c.User {
		t.User[k] += sign * v
	}
	t.Input = t.Input.Plus(c.Input, sign)
	t.Channels = t.Channels.Plus(c.Channels, sign)
}

// Progress describes the job as it stands, without what only the outside knows (listing, publishing, time).
func (m *Machine) Progress() job.Progress {
	p := job.Progress{
		Job: m.conf.Job, Phase: job.Mapping, ListDone: m.sealed,
		Objects: m.total.Objects, Bytes: m.total.Bytes, Failed: m.total.Failed, Records: m.total.Emitted,
		Maps: m.mapsDone, MapTotal: len(m.maps),
		ShuffleBytes: m.shuffle, Reduces: m.redsDone, ReduceTotal: m.conf.Reducers,
		Queue: m.total.Queue, Run: m.total.Run, CPU: m.total.CPU, PeakMemory: m.peak(),
	}
	for _, t := range m.maps {
		if t.state == leased {
			p.Objects += t.running.Objects
			p.Bytes += t.running.Bytes
			p.Failed += t.running.Failed
			p.Records += t.running.Records
		}
	}
	switch {
	case m.over:
		p.Phase = job.Committing
	case m.sealed && m.mapsDone == len(m.maps) && m.conf.Reducers > 0:
		p.Phase = job.Reducing
	}
	return p
}

// peak returns the memory of the largest committed attempt.
func (m *Machine) peak() (n int64) {
	for _, ts := range [][]*task{m.maps, m.reds} {
		for _, t := range ts {
			if t.state == committed {
				n = max(n, t.result.Counters.PeakMemory)
			}
		}
	}
	return n
}
