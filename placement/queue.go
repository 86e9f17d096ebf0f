package placement

import (
	"slices"
	"time"

	"github.com/millrace/millrace/job"
)

// A Queue holds the tasks that wait for a slot. A task takes some hundred bytes; to push or take one
// costs the same however many wait.
//
// It waits for a node only if that is present: it was said to be, or asked for a task itself, and was not said to be absent since. A task none of whose
// nodes is present is for everybody.
type Queue struct {
	patience time.Duration
	tasks    []entry // of all that were ever pushed
	waiting  int
	todo     int64     // weight of what waits
	done     int64     // weight of what was given away
	workers  int64     // nodes that were given some
	began    time.Time // when it was asked for a task first
	nodes    map[string]*node
	all      []*node // by number
	zones    map[string]*backlog
	whole    *backlog // of all zones

	// Tasks for everybody. What one of its nodes can do again meanwhile stays here until it is come upon.
	retried  list
	orphans  pile // whose nodes are absent
	anywhere list // that lie nowhere
}

// An entry is a task that waits, or the zero value.
type entry struct {
	id     job.TaskID
	nodes  []int32
	weight int64
}

// A node is what the Queue knows of one.
type node struct {
	number  int32
	name    string
	zone    string
	slots   int
	present bool

	retried list // tasks that lie here and were tried before
	alone   pile // others, which lay nowhere else
	shared  pile // those that lay on several nodes that were present

	waiting int       // tasks in these lists
	todo    int64     // its part of their weight, if all that hold a task have the same part
	done    int64     // weight of what was given to its slots, wherever it lay
	since   time.Time // when its slots first found nothing near while tasks waited; zero: they do
	places  [2]place  // in the backlogs of its zone and of all
}

// New returns an empty queue. A slot that finds nothing near goes without work for patience before it takes a task of another node in its zone, and for as
// long again before it takes one of another zone.
func New(patience time.Duration) *Queue {
	return &Queue{patience: patience, nodes: make(map[string]*node), zones: make(map[string]*backlog), whole: &backlog{which: 1}}
}

// Len returns how many tasks wait.
func (q *Queue) Len() int { return q.waiting }

// Push adds t at the end, and reports whether it is for everybody.
func (q *Queue) Push(t Task) bool { return q.push(t, false) }

// PushFront adds t, which was tried before, ahead of all others, and reports whether it is for everybody.
func (q *Queue) PushFront(t Task) bool { return q.push(t, true) }

func (q *Queue) push(t Task, retried bool) bool {
	e := entry{id: t.ID, weight: t.Weight + 1} // that of nothing is not nothing
	for _, name := range t.Nodes {
		if n := q.node(name); !slices.Contains(e.nodes, n.number) {
			e.nodes = append(e.nodes, n.number)
		}
	}
	at := int32(len(q.tasks))
	q.tasks = append(q.tasks, e)
	q.waiting++
	q.todo += e.weight
	present := q.present(&e)
	for _, number := range e.nodes {
		n := q.all[number]
		n.waiting++
		n.todo += e.part()
		switch {
		case retried:
			n.retried.push(at)
		case present > 1:
			n.shared.put(at, sizeOf(e.weight))
		default:
			n.alone.put(at, sizeOf(e.weight))
		}
		q.raise(n)
	}
	if present == 0 {
		q.everybody(at, retried)
	}
	return present == 0
}

func (q *Queue) everybody(at int32, retried bool) {
	switch {
	case retried:
		q.retried.push(at)
	case len(q.tasks[at].nodes) > 0:
		q.orphans.put(at, sizeOf(q.tasks[at].weight))
	default:
		q.anywhere.push(at)
	}
}

// part is what each of the nodes of e would do of it.
func (e *entry) part() int64 { return max(e.weight/int64(len(e.nodes)), 1) }

func (q *Queue) waits(at int32) bool { return q.tasks[at].id != "" }

// abandoned reports whether a task waits and no node that holds it is present.
func (q *Queue) abandoned(at int32) bool { return q.waits(at) && q.present(&q.tasks[at]) == 0 }

// present returns how many of the nodes of e are.
func (q *Queue) present(e *entry) (n int) {
	for _, number := range e.nodes {
		if q.all[number].present {
			n++
		}
	}
	return n
}

// Take removes and returns the best task for a slot of a node at the time now. It reports false if there is none, or none yet.
//
// Tasks that were tried before come first. Of others that lie on the node those come first that lie nowhere else, then those that the others would come to last, so
// that something near is left for everybody to the end; and of these those that have most to do, so that all are done at about the same time. A node with nothing near waits, unless
// the tasks elsewhere would wait longer than it; it takes one of the node that would be longest at what waits there. A node that is ahead of the others does so even while
// something is near, if that is smaller. Tasks that lie nowhere are taken as they come.
func (q *Queue) Take(name string, now time.Time) (job.TaskID, bool) {
	n := q.node(name)
	q.enter(n, n.zone)
	if q.waiting == 0 {
		n.since = time.Time{}
		return "", false
	}
	at := q.choose(n, now)
	if at < 0 {
		return "", false
	}
	e := q.tasks[at]
	q.tasks[at] = entry{}
	q.waiting--
	q.todo -= e.weight
	if n.done == 0 {
		q.workers++
	}
	n.done += e.weight
	q.done += e.weight
	for _, number := range e.nodes {
		q.all[number].waiting--
		q.all[number].todo -= e.part()
	}
	return e.id, true
}
