package coordinator

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/job"
)

// firstFailures is how many objects must fail at the start of a job, without one success, for it to stop at once.
const firstFailures = 100

func (m *Machine) progressed(e Progressed) []Effect {
	effects, why := m.admit(e.Beat.Sender)
	if why != "" {
		return nil
	}
	for _, r := range e.Beat.Running {
		if a, why := m.current(r.Attempt, e.Beat.Node); why == "" {
			m.progress(a.task, -1)
			a.running = r
			m.progress(a.task, 1)
		}
	}
	if err := m.hopeless(); err != nil {
		return append(effects, m.fail(err)...)
	}
	return effects
}

// progress adds what the first of the attempts of a map task has done so far.
func (m *Machine) progress(t *task, sign int64) {
	if len(t.live) == 0 || t.id.IsReduce() {
		return
	}
	r := &t.live[0].running
	m.under.Objects += sign * r.Objects
	m.under.Bytes += sign * r.Bytes
	m.under.Failed += sign * r.Failed
	m.under.Records += sign * r.Records
}

// hopeless returns an error if the job began with nothing but failures.
func (m *Machine) hopeless() error {
	failed, objects := m.total.Failed+m.under.Failed, m.total.Objects+m.under.Objects
	if failed < firstFailures || failed < objects || m.conf.Tolerates(1, 1) {
		return nil
	}
	return &job.Error{Err: fmt.Errorf("the first %d objects all failed%s", failed, m.example())}
}

// example names one failed object, if one is known.
func (m *Machine) example() string {
	for _, t := range m.maps {
		var n *job.FailedObject
		if len(t.live) > 0 {
			n = t.live[0].running.Example
		}
		if t.result != nil && len(t.result.Names) > 0 {
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
		Objects: m.total.Objects + m.under.Objects, Bytes: m.total.Bytes + m.under.Bytes,
		Failed: m.total.Failed + m.under.Failed, Records: m.total.Emitted + m.under.Records,
		Maps: m.mapsDone, MapTotal: len(m.maps),
		ShuffleBytes: m.shuffle, Reduces: m.redsDone, ReduceTotal: m.conf.Reducers,
		Queue: m.total.Queue, Run: m.total.Run, CPU: m.total.CPU, PeakMemory: m.peak,
	}
	switch {
	case m.over:
		p.Phase = job.Committing
	case m.sealed && m.mapsDone == len(m.maps) && m.conf.Reducers > 0:
		p.Phase = job.Reducing
	}
	return p
}
