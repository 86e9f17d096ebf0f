package placement

// node returns what is known of a node, at first nothing.
func (q *Queue) node(name string) *node {
	n := q.nodes[name]
	if n == nil {
		n = &node{number: int32(len(q.all)), name: name, slots: 1}
		q.nodes[name] = n
		q.all = append(q.all, n)
	}
	return n
}

// Present says that a node may ask for tasks, for that number of slots, and in which zone it is.
func (q *Queue) Present(name, zone string, slots int) {
	n := q.node(name)
	n.slots = max(slots, 1)
	q.enter(n, zone)
}

func (q *Queue) enter(n *node, zone string) {
	if n.present && n.zone == zone {
		return
	}
	q.leave(n)
	n.present, n.zone = true, zone
	if q.zones[zone] == nil {
		q.zones[zone] = new(backlog)
	}
	q.raise(n)
}

// Absent says that a node will not ask for tasks: it is gone, or drains, or is kept from working. What waits for it alone is for everybody
// from now on.
func (q *Queue) Absent(name string) {
	n := q.node(name)
	if !n.present {
		return
	}
	q.leave(n)
	n.present = false
	for _, at := range n.retried.items {
		if q.abandoned(at) {
			q.retried.push(at)
		}
	}
	for _, at := range append(n.alone.all(), n.shared.all()...) {
		if !q.waits(at) {
			continue
		}
		switch e := &q.tasks[at]; q.present(e) {
		case 0:
			q.orphans.put(at, sizeOf(e.weight))
		case 1:
			for _, number := range e.nodes {
				if o := q.all[number]; o.present {
					o.alone.put(at, sizeOf(e.weight))
				}
			}
		}
	}
}

// raise puts a node into the backlogs, if it has one, or further ahead in them.
func (q *Queue) raise(n *node) {
	if n.present && n.waiting > 0 {
		q.zones[n.zone].raise(n)
		q.whole.raise(n)
	}
}

// leave takes a node out of the backlogs.
func (q *Queue) leave(n *node) {
	if n.present {
		q.zones[n.zone].remove(n)
		q.whole.remove(n)
	}
}
