package placement

// A backlog orders nodes by how long they will be at the tasks that lie on them, longest first: a heap. What it knows of a node may be too
// much, for that shrinks with each task that anybody takes; it is looked at again when the node is come upon.
type backlog struct {
	which int // of a node's places is this heap's
	heap  []*node
}

// A place is that of a node in a backlog.
type place struct {
	at   int // counted from 1; 0: it is not there
	load float64
}

// load is how long n will be at the tasks that lie on it, measured by what it has done so far: slow nodes, those with few slots, and those that
// are busy otherwise have done little.
func (n *node) load() float64 { return float64(n.todo) / float64(n.done+1) }

// most returns the node with the longest backlog, nil if none has any.
func (b *backlog) most() *node {
	for len(b.heap) > 0 {
		n := b.heap[0]
		if n.waiting == 0 {
			b.remove(n)
			continue
		}
		p := &n.places[b.which]
		if load := n.load(); load < p.load {
			p.load = load
			b.down(0)
			continue
		}
		return n
	}
	return nil
}

// raise says that more waits for n than before.
func (b *backlog) raise(n *node) {
	p := &n.places[b.which]
	if p.at == 0 {
		b.heap = append(b.heap, n)
		p.at = len(b.heap)
	}
	p.load = n.load()
	b.up(p.at - 1)
}

func (b *backlog) remove(n *node) {
	at := n.places[b.which].at - 1
	if at < 0 {
		return
	}
	end := len(b.heap) - 1
	b.swap(at, end)
	b.heap[end] = nil
	b.heap = b.heap[:end]
	n.places[b.which] = place{}
	if at < end {
		b.up(at)
		b.down(at)
	}
}

func (b *backlog) up(i int) {
	for i > 0 && b.load(i) > b.load((i-1)/2) {
		b.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (b *backlog) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(b.heap) {
			return
		}
		if child+1 < len(b.heap) && b.load(child+1) > b.load(child) {
			child++
		}
		if b.load(child) <= b.load(i) {
			return
		}
		b.swap(i, child)
		i = child
	}
}

func (b *backlog) load(i int) float64 { return b.heap[i].places[b.which].load }

func (b *backlog) swap(i, j int) {
	b.heap[i], b.heap[j] = b.heap[j], b.heap[i]
	b.heap[i].places[b.which].at, b.heap[j].places[b.which].at = i+1, j+1
}
