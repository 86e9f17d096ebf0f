package placement

import (
	"math"
	"time"
)

// choose takes a task for n off a list; -1: there is none, or none yet.
func (q *Queue) choose(n *node, now time.Time) int32 {
	if q.began.IsZero() || now.Before(q.began) { // clocks are set back
		q.began = now
	}
	if at := q.again(n); at >= 0 {
		n.since = time.Time{}
		return at
	}
	if at := q.help(n, now); at >= 0 {
		return at
	}
	if at := q.near(n); at >= 0 {
		n.since = time.Time{}
		return at
	}
	return q.far(n, now)
}

// again chooses a task that was tried before, of n or for everybody.
func (q *Queue) again(n *node) int32 {
	if at := n.retried.last(q.waits); at >= 0 {
		return at
	}
	return q.retried.last(q.abandoned)
}

// near chooses a task of n, or one for everybody.
func (q *Queue) near(n *node) int32 {
	if l := q.fit(n, &n.alone); l != nil {
		return l.pick(0)
	}
	if l := q.fit(n, &n.shared); l != nil {
		return l.pick(q.contested(n, l))
	}
	if l := q.orphan(); l != nil {
		return l.pick(0)
	}
	return q.anywhere.first(q.waits)
}

// fit returns the largest tasks of a pile of n that a slot of it will have done when all is done; if there are none, the largest, or if
// n is slow the smallest.
func (q *Queue) fit(n *node, p *pile) *layer {
	if l := q.top(p, q.left(n)); l != nil {
		return l
	}
	if q.slow(n) {
		return q.bottom(p)
	}
	return q.top(p, math.MaxUint8)
}

// left is what a slot of n can do until all is done.
func (q *Queue) left(n *node) size {
	if n.done == 0 {
		return math.MaxUint8
	}
	return sizeOf(int64(float64(n.done) / float64(n.slots) * q.mean()))
}

// mean is the load of a node on the average.
func (q *Queue) mean() float64 { return float64(q.todo) / float64(q.done+1) }

// slow reports whether a node has done little beside what others have: it is slow, or has little time for these tasks.
func (q *Queue) slow(n *node) bool { return n.done*q.workers < q.done*3/4 }

// orphan returns the largest tasks whose nodes are absent; nil: there are none.
func (q *Queue) orphan() *layer {
	for l := q.top(&q.orphans, math.MaxUint8); l != nil; l = q.top(&q.orphans, math.MaxUint8) {
		if l.trim(q.abandoned) {
			return l
		}
	}
	return nil
}

// contestants is how many tasks that others hold as well are looked at for one.
const contestants = 8

// contested returns which of the first few tasks of a layer the other nodes that hold it would come to last.
func (q *Queue) contested(n *node, l *layer) int {
	s := l.items[l.begin:]
	best, most := 0, q.others(s[0], n)
	for i := 1; i < min(contestants, len(s)); i++ {
		if q.waits(s[i]) {
			if load := q.others(s[i], n); load > most {
				best, most = i, load
			}
		}
	}
	return best
}

// others returns the load of that node which, beside n, would come to a task first.
func (q *Queue) others(at int32, n *node) float64 {
	least := math.Inf(1) // what nobody else would do
	for _, number := range q.tasks[at].nodes {
		if o := q.all[number]; o != n && o.present {
			least = min(least, o.load())
		}
	}
	return least
}

// behind is by how much a node will be done later than all others, in parts of the time until then, so that it is helped before these are done.
const behind = 0.3

// help chooses a task of a node that is far behind, or for everybody, for one that is not, if it is larger than what is near that.
func (q *Queue) help(n *node, now time.Time) int32 {
	elapsed, mean := now.Sub(q.began), q.mean()
	if q.done == 0 || elapsed <= 0 || n.load() > mean || q.slow(n) || q.anywhere.trim(q.waits) {
		return -1
	}
	own := size(0)
	for _, p := range []*pile{&n.alone, &n.shared} {
		if l := q.top(p, math.MaxUint8); l != nil {
			own = max(own, l.size)
		}
	}
	if l := q.orphan(); l != nil && l.size > own {
		n.since = time.Time{}
		return l.pick(0)
	}
	if own > 0 {
		n.since = time.Time{}
	} else {
		n.waited(now)
	}
	late := mean + behind*(1+mean) + float64(q.patience)/float64(elapsed)
	for _, b := range []*backlog{q.zones[n.zone], q.whole} {
		v := b.most()
		if v == nil || v.done == 0 || v.load() < late {
			continue
		}
		for _, p := range []*pile{&v.alone, &v.shared} {
			if l := q.top(p, math.MaxUint8); l != nil && l.size > own && q.others(l.items[l.begin], nil) > late {
				return l.pick(0)
			}
		}
	}
	return -1
}

// waited returns how long n has found nothing near while tasks waited.
func (n *node) waited(now time.Time) time.Duration {
	if n.since.IsZero() || now.Before(n.since) { // clocks are set back
		n.since = now
	}
	return now.Sub(n.since)
}

// far chooses a task of another node, if n has waited long enough for one or it would wait longer than n: that which its own nodes would come to last.
func (q *Queue) far(n *node, now time.Time) int32 {
	waited := n.waited(now)
	for i, b := range []*backlog{q.zones[n.zone], q.whole} {
		v := b.most()
		patience := time.Duration(i+1) * q.patience
		if v == nil || waited < patience && (v.done == 0 || v.load()*float64(now.Sub(q.began)) < float64(patience)) {
			continue
		}
		for _, p := range []*pile{&v.alone, &v.shared} {
			if l := q.top(p, math.MaxUint8); l != nil {
				return l.pick(0)
			}
		}
		return v.retried.last(q.waits)
	}
	return -1
}
