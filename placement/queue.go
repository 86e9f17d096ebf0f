package placement

import (
	"math"
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
	nodes    map[string]*node
	all      []*node // by number
	zones    map[string]*backlog
	whole    *backlog // of all zones

	// Tasks for everybody. What one of its nodes can do again meanwhile stays here until it is come upon.
	retried, nowhere list
}

// An entry is a task that waits, or the zero value.
type entry struct {
	id    job.TaskID
	nodes []int32
}

// A node is what the Queue knows of one.
type node struct {
	number  int32
	name    string
	zone    string
	present bool

	retried list // tasks that lie here and were tried before
	alone   list // others, which lay nowhere else
	shared  list // those that lay on several nodes that were present

	waiting int       // tasks in these lists
	taken   int       // tasks given to its slots, wherever they lay
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
	e := entry{id: t.ID}
	for _, name := range t.Nodes {
		if n := q.node(name); !slices.Contains(e.nodes, n.number) {
			e.nodes = append(e.nodes, n.number)
		}
	}
	at := int32(len(q.tasks))
	q.tasks = append(q.tasks, e)
	q.waiting++
	present := q.present(&e)
	for _, number := range e.nodes {
		n := q.all[number]
		n.waiting++
		switch {
		case retried:
			n.retried.push(at)
		case present > 1:
			n.shared.push(at)
		default:
			n.alone.push(at)
		}
		q.raise(n)
	}
	if present == 0 {
		q.everybody(at, retried)
	}
	return present == 0
}

func (q *Queue) everybody(at int32, retried bool) {
	if retried {
		q.retried.push(at)
	} else {
		q.nowhere.push(at)
	}
}

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
// Tasks that were tried before come first. Of those that lie on the node and on others, those come first that the others would come to last, so that
// something near is left for everybody to the end; and who takes a task from afar takes it of the node that would be longest at what waits for it.
func (q *Queue) Take(name string, now time.Time) (job.TaskID, bool) {
	n := q.node(name)
	q.enter(n, n.zone)
	if q.waiting == 0 {
		n.since = time.Time{}
		return "", false
	}
	at := q.near(n)
	if at >= 0 {
		n.since = time.Time{}
	} else if at = q.far(n, now); at < 0 {
		return "", false
	}
	e := q.tasks[at]
	q.tasks[at] = entry{}
	q.waiting--
	n.taken++
	for _, number := range e.nodes {
		q.all[number].waiting--
	}
	return e.id, true
}

// near takes a task off a list that lies on n or is for everybody; -1: there is none.
func (q *Queue) near(n *node) int32 {
	if at := n.retried.last(q.waits); at >= 0 {
		return at
	}
	if at := q.retried.last(q.abandoned); at >= 0 {
		return at
	}
	if at := n.alone.first(q.waits); at >= 0 {
		return at
	}
	if at := q.contested(n); at >= 0 {
		return at
	}
	return q.nowhere.first(q.abandoned)
}

// contestants is how many tasks that others hold as well are looked at for one.
const contestants = 8

// contested takes a task off n's that other nodes hold as well: of the first few the one that these would come to last.
func (q *Queue) contested(n *node) int32 {
	head := n.shared.first(q.waits)
	if head < 0 {
		return -1
	}
	rest := n.shared.items[n.shared.begin:]
	most := q.others(head, n)
	for i := range min(contestants-1, len(rest)) {
		if !q.waits(rest[i]) {
			continue
		}
		if load := q.others(rest[i], n); load > most {
			head, rest[i], most = rest[i], head, load
		}
	}
	return head
}

// others returns the backlog of that node which, beside n, would come to a task first.
func (q *Queue) others(at int32, n *node) float64 {
	least := math.Inf(1) // what nobody else would do
	for _, number := range q.tasks[at].nodes {
		if o := q.all[number]; o != n && o.present {
			least = min(least, o.load())
		}
	}
	return least
}

// far takes a task off a list that lies on other nodes than n, if n has waited long enough for one: that which its own nodes would come to last.
// Otherwise it returns -1.
func (q *Queue) far(n *node, now time.Time) int32 {
	if n.since.IsZero() || now.Before(n.since) { // clocks are set back
		n.since = now
	}
	waited := now.Sub(n.since)
	if waited < q.patience {
		return -1
	}
	victim := q.zones[n.zone].most()
	if victim == nil && waited >= 2*q.patience {
		victim = q.whole.most()
	}
	if victim == nil {
		return -1
	}
	for _, l := range []*list{&victim.alone, &victim.shared, &victim.retried} {
		if at := l.last(q.waits); at >= 0 {
			return at
		}
	}
	panic("placement: a node has tasks on none of its lists")
}

func (q *Queue) waits(at int32) bool { return q.tasks[at].id != "" }

// abandoned reports whether a task waits and no node that holds it is present.
func (q *Queue) abandoned(at int32) bool { return q.waits(at) && q.present(&q.tasks[at]) == 0 }
