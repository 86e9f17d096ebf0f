package coordinator

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A Replay is what the log of a job says, taken record by record. Whoever goes on with the job leads its log first: what is read after
// that is all that any coordinator before has decided, and ever will have.
type Replay struct {
	Spec    *job.Spec
	Term    int    // coordinators that have led the log, the one that reads it included
	Begun   uint64 // the epoch that names the plan; 0: none was begun
	Listed  Listed // with Plan
	Plan    string // digest of the sealed plan; "": it was not sealed, and is to be begun again
	Cuts    [][]byte
	Decided bool // the decision may have been written

	counts  map[job.TaskID]*Committed
	last    map[job.TaskID]Run // of each map task that was ever committed
	reduced bool               // a reduce was: what it merged must not change
	nodes   map[string]uint64  // incarnation of each
	void    []store.Handle     // pending output of what does not count any more

	attempts, retries int64
}

// Take takes the next record of the log, or, if lead is true, the first entry of a coordinator, which has none.
func (r *Replay) Take(lead bool, record []byte) error {
	if lead {
		r.Term++
		return nil
	}
	var e Record
	if err := json.Unmarshal(record, &e); err != nil {
		return fmt.Errorf("job log: %w", err)
	}
	if err := r.take(&e); err != nil {
		return fmt.Errorf("job log: %w", err)
	}
	return nil
}

func (r *Replay) take(e *Record) error {
	switch {
	case e.Spec != nil:
		r.Spec = e.Spec
	case e.Begun != 0:
		r.begin(e.Begun)
	case e.Plan != "":
		r.Plan, r.Listed = e.Plan, e.Listed
	case e.Cuts != nil:
		r.Cuts = e.Cuts
	case e.Committed != nil:
		return r.commit(e.Committed)
	case e.Lost != "":
		c := r.counts[e.Lost]
		if c == nil {
			return fmt.Errorf("%s is lost and was not committed", e.Lost)
		}
		delete(r.counts, e.Lost)
		r.void = append(r.void, c.Result.handles()...)
		r.retries++
	case e.Decided:
		r.Decided = true
	}
	return nil
}

// begin forgets what belongs to a plan that was never sealed.
func (r *Replay) begin(epoch uint64) {
	for _, c := range r.counts {
		r.void = append(r.void, c.Result.handles()...)
	}
	*r = Replay{Spec: r.Spec, Term: r.Term, Begun: epoch, nodes: r.nodes, void: r.void}
}

func (r *Replay) commit(c *Committed) error {
	id := c.Attempt.Task
	if by := r.counts[id]; by != nil {
		return fmt.Errorf("%s is committed after %s was", c.Attempt, by.Attempt)
	}
	if r.counts == nil {
		r.counts, r.last = make(map[job.TaskID]*Committed), make(map[job.TaskID]Run)
	}
	if r.nodes == nil {
		r.nodes = make(map[string]uint64)
	}
	r.counts[id] = c
	r.attempts++
	r.nodes[c.Node] = max(r.nodes[c.Node], c.Incarnation)
	if id.IsReduce() {
		r.reduced = true
	} else {
		r.last[id] = Run{c.Attempt, c.Node, c.Result.Vector, c.Incarnation}
	}
	return nil
}

// Resume returns a Machine that goes on with a job where its log ends, with conf.Term from there; splits are those of its plan, none if it was not
// sealed. It takes what r holds. The first event of the Machine is Started.
//
// What is committed does not run again. Runs on a node count from when it is heard of in the new epoch; one of which nothing is heard
// is among those of [Machine.Away], until it is told as Lost.
func Resume(conf Config, r *Replay, splits []job.Split) (*Machine, error) {
	conf.Term = r.Term
	m := New(conf)
	for name, i := range r.nodes {
		m.host(name).incarnation = i
	}
	m.void = r.void
	if r.Plan == "" {
		for _, c := range r.counts {
			m.void = append(m.void, c.Result.handles()...)
		}
		return m, nil
	}
	m.sealed, m.digest, m.cuts = true, r.Plan, r.Cuts
	m.attempts, m.retries = r.attempts, r.retries
	for i := range splits {
		if want := job.MapTask(i); splits[i].Task != want {
			return nil, fmt.Errorf("job log: the plan has %s in the place of %s", splits[i].Task, want)
		}
		t := m.add(&splits[i])
		if run, ok := r.last[t.id]; ok && r.reduced {
			m.show(t, run)
		}
		if c := r.counts[t.id]; c != nil {
			m.restore(t, c)
		} else {
			m.queue.Push(t.wants())
		}
	}
	if r.reduced {
		if err := m.restoreReduces(r); err != nil {
			return nil, err
		}
	}
	if n := m.mapsDone + m.redsDone; n != len(r.counts) {
		return nil, fmt.Errorf("job log: %d tasks of %d that are committed are none of the plan's", len(r.counts)-n, len(r.counts))
	}
	return m, nil
}

// restoreReduces makes the reduce tasks, of which some are committed.
func (m *Machine) restoreReduces(r *Replay) error {
	for i := range m.conf.Reducers {
		t := &task{id: job.ReduceTask(i), part: i, since: m.now, try: m.base}
		m.reds = append(m.reds, t)
		c := r.counts[t.id]
		if c == nil {
			m.later.Push(t.id)
			continue
		}
		if c.Result.Vector != m.merged {
			return fmt.Errorf("job log: %s has merged other runs than those that count", c.Attempt)
		}
		m.restore(t, c)
	}
	return nil
}

// restore has a task count as the log says.
func (m *Machine) restore(t *task, c *Committed) {
	t.state, t.try, t.counts, t.host, t.result = committed, c.Attempt.Try, c.Attempt.Try, m.host(c.Node), &c.Result
	if len(c.Skip) > 0 {
		t.pain().skip = c.Skip
	}
	m.counted(t)
}

// started begins a plan, or goes on with one.
func (m *Machine) started() (effects []Effect) {
	if !m.sealed {
		effects = append(effects, Append{Record{Begun: m.conf.Epoch}})
	}
	if len(m.void) > 0 {
		effects = append(effects, Discard{m.void})
		m.void = nil
	}
	if !m.sealed {
		return effects
	}
	return append(effects, m.advance()...)
}

// back has the runs of a node count that is heard of again.
func (m *Machine) back(h *host) []Effect {
	if m.away == 0 {
		return nil
	}
	for _, t := range h.done {
		if t.away && t.host == h {
			t.away = false
			m.away--
			m.runs = append(m.runs, run{t, t.counts})
		}
	}
	if m.mapped() {
		return m.tellAll()
	}
	return nil
}

// Away returns the nodes, by name, whose runs of committed tasks do not count yet, for nothing was heard of them since a coordinator took over.
func (m *Machine) Away() (nodes []string) {
	if m.away == 0 {
		return nil
	}
	for name, h := range m.hosts {
		if !h.heard && slices.ContainsFunc(h.done, func(t *task) bool { return t.away && t.host == h }) {
			nodes = append(nodes, name)
		}
	}
	slices.Sort(nodes)
	return nodes
}
