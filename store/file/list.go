//go:build linux

package file

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/store"
)

const (
	// listWorkers read ahead of one listing. They mostly wait where the disk is slow, and share the cores where it is not.
	listWorkers = 8
	// chunk is how many files one unit of work describes. A larger directory is described by several.
	chunk = 1024
	// ahead bounds the objects that wait to be yielded.
	ahead = 32 * chunk
)

// List walks the tree. The names of one directory are held in memory at a time for each directory being read; what lies ahead of the
// caller is bounded. Directories that go meanwhile are passed over.
func (b *Bucket) List(ctx context.Context, prefix, after store.Key) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		if err := b.list(ctx, string(prefix), string(after), yield); err != nil {
			yield(store.Object{}, b.wrap(prefix, err))
		}
	}
}

// list returns the error that ended the listing, and nil if yield did.
func (b *Bucket) list(ctx context.Context, prefix, after string, yield func(store.Object, error) bool) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	root, err := b.rootFD()
	if err != nil {
		return err
	}
	dir, _ := split(prefix)
	if dir == "" && strings.HasPrefix(prefix, "/") || dir != "" && !cleanPath(dir) {
		return nil
	}
	if dir != "" {
		dir += "/"
	}
	w := &walk{ctx: ctx, root: root, prefix: prefix, after: after}
	w.cond.L = &w.mu
	first := &node{path: dir, done: make(chan struct{})}
	w.todo = nodes{first}

	var wg sync.WaitGroup
	for range b.workers {
		wg.Go(w.work)
	}
	defer wg.Wait()
	defer w.stop()
	stop := context.AfterFunc(ctx, w.stop)
	defer stop()
	_, err = w.yield(first, yield)
	return err
}

// A node is one unit of work: a directory, or some files of a large one. Once done is closed its results do not change.
type node struct {
	path  string   // of the directory: "" or with a slash at its end
	names []string // the files to describe; nil: the directory is to be read first
	done  chan struct{}

	items []item
	err   error
}

// An item is a result in its place: an object, or a node whose results stand here.
type item struct {
	store.Object
	sub *node
}

// first returns a key that orders nodes as their results are.
func (n *node) first() string {
	if len(n.names) > 0 {
		return n.path + n.names[0]
	}
	return n.path
}

// nodes is a heap of those that nobody has begun.
type nodes []*node

func (h nodes) Len() int           { return len(h) }
func (h nodes) Less(i, j int) bool { return h[i].first() < h[j].first() }
func (h nodes) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *nodes) Push(x any)        { *h = append(*h, x.(*node)) }
func (h *nodes) Pop() any {
	old := *h
	n := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return n
}

// A walk is one listing under way. Its workers always take the node that comes next in key order; the caller of the
// listing does the one it needs itself if nobody has begun it, so that the bound on what is ahead cannot stop it.
type walk struct {
	ctx           context.Context
	root          int
	prefix, after string

	mu      sync.Mutex
	cond    sync.Cond
	todo    nodes
	waiting int // objects found and not yet yielded
	stopped bool
}

func (w *walk) stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.cond.Broadcast()
}

func (w *walk) work() {
	b := newBuffers()
	for {
		w.mu.Lock()
		for !w.stopped && (len(w.todo) == 0 || w.waiting >= ahead) {
			w.cond.Wait()
		}
		if w.stopped {
			w.mu.Unlock()
			return
		}
		n := heap.Pop(&w.todo).(*node)
		w.mu.Unlock()
		w.do(n, b)
	}
}

// claim takes n out of those to do, if nobody has begun it.
func (w *walk) claim(n *node) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	// What the caller needs next is the least of all that are left, or begun.
	if len(w.todo) > 0 && w.todo[0] == n {
		heap.Pop(&w.todo)
		return true
	}
	return false
}

// yield passes on the results of n, and reports whether more are wanted.
func (w *walk) yield(n *node, yield func(store.Object, error) bool) (bool, error) {
	if w.claim(n) {
		w.do(n, newBuffers())
	}
	select {
	case <-n.done:
	case <-w.ctx.Done():
		return false, context.Cause(w.ctx)
	}
	if n.err != nil {
		return false, n.err
	}
	items := n.items
	n.items = nil
	objects := 0
	for i := range items {
		it := &items[i]
		if it.sub != nil {
			sub := it.sub
			it.sub = nil
			if more, err := w.yield(sub, yield); !more || err != nil {
				return more, err
			}
			continue
		}
		if i%64 == 0 && w.ctx.Err() != nil {
			return false, context.Cause(w.ctx)
		}
		objects++
		if !yield(it.Object, nil) {
			return false, nil
		}
	}
	w.mu.Lock()
	full := w.waiting >= ahead
	w.waiting -= objects
	w.mu.Unlock()
	if full {
		w.cond.Broadcast()
	}
	return true, nil
}

// do reads or describes n and queues what follows from it.
func (w *walk) do(n *node, b *buffers) {
	subs, err := w.fill(n, b)
	if err != nil {
		n.err = err
		if absent(err) {
			n.err = nil // it has gone meanwhile
		}
	}
	objects := len(n.items) - len(subs)
	w.mu.Lock()
	w.waiting += objects
	for _, sub := range subs {
		heap.Push(&w.todo, sub)
	}
	w.mu.Unlock()
	if len(subs) > 0 {
		w.cond.Broadcast()
	}
	close(n.done)
}

// fill sets n.items and returns the nodes among them.
func (w *walk) fill(n *node, b *buffers) (subs []*node, err error) {
	if w.ctx.Err() != nil {
		return nil, context.Cause(w.ctx)
	}
	fd, err := openBeneath(w.root, strings.TrimSuffix(n.path, "/"), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if n.names != nil {
		n.items, err = describe(fd, n.path, n.names, b)
		n.names = nil
		return nil, err
	}
	entries, err := w.entries(fd, n.path, b)
	if err != nil {
		return nil, err
	}
	small := len(entries) <= chunk
	for len(entries) > 0 {
		if entries[0].dir {
			sub := &node{path: n.path + entries[0].name + "/", done: make(chan struct{})}
			subs = append(subs, sub)
			n.items = append(n.items, item{sub: sub})
			entries = entries[1:]
			continue
		}
		files := 1
		for files < len(entries) && files < chunk && !entries[files].dir {
			files++
		}
		names := b.names[:0]
		if !small {
			names = make([]string, 0, files)
		}
		for _, e := range entries[:files] {
			names = append(names, e.name)
		}
		entries = entries[files:]
		if !small {
			sub := &node{path: n.path, names: names, done: make(chan struct{})}
			subs = append(subs, sub)
			n.items = append(n.items, item{sub: sub})
			continue
		}
		b.names = names
		items, err := describe(fd, n.path, names, b)
		if err != nil {
			return subs, err
		}
		if n.items == nil {
			n.items = items
		} else {
			n.items = append(n.items, items...)
		}
	}
	return subs, nil
}

// An entry is a name in a directory, of a regular file or of a directory.
type entry struct {
	name string
	dir  bool
}

// order compares entries as the keys that come of them: a directory as its name with a slash.
func order(a, b entry) int {
	if a.dir == b.dir && !a.dir {
		return strings.Compare(a.name, b.name)
	}
	n := min(len(a.name), len(b.name))
	if c := strings.Compare(a.name[:n], b.name[:n]); c != 0 {
		return c
	}
	return cmp.Compare(a.at(n), b.at(n))
}

// at returns byte i of the key: that of the name, the slash of a directory, or less than all for the end.
func (e entry) at(i int) int {
	switch {
	case i < len(e.name):
		return int(e.name[i])
	case e.dir:
		return '/'
	}
	return -1
}

// entries returns the sorted entries of the directory fd at path that the listing wants.
func (w *walk) entries(fd int, path string, b *buffers) ([]entry, error) {
	entries := b.entries[:0]
	b.raw = b.raw[:0]
	for {
		n, err := retry(func() (int, error) { return unix.Getdents(fd, b.dents) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		for dents := b.dents[:n]; len(dents) > 0; {
			name, kind, rest := nextDent(dents)
			dents = rest
			if name == nil {
				continue
			}
			b.raw = append(b.raw, rawEntry{start: len(b.text), end: len(b.text) + len(name), kind: kind})
			b.text = append(b.text, name...)
		}
	}
	text := string(b.text)
	b.text = b.text[:0]
	for _, r := range b.raw {
		e := entry{name: text[r.start:r.end]}
		kind := r.kind
		if kind == unix.DT_UNKNOWN {
			var st unix.Stat_t
			if err := unix.Fstatat(fd, e.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				continue
			}
			switch st.Mode & unix.S_IFMT {
			case unix.S_IFREG:
				kind = unix.DT_REG
			case unix.S_IFDIR:
				kind = unix.DT_DIR
			}
		}
		e.dir = kind == unix.DT_DIR
		if (e.dir || kind == unix.DT_REG) && w.wants(path, e) {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, order)
	b.entries = entries
	return entries, nil
}

// wants reports whether e, or something below it, belongs to the listing.
func (w *walk) wants(path string, e entry) bool {
	if e.dir && e.name == "staging" && (path == "_millrace/" || strings.HasSuffix(path, "/_millrace/")) {
		return false
	}
	if len(w.prefix) <= len(path) && w.after <= path {
		return true
	}
	key := path + e.name
	if e.dir {
		key += "/"
		if !strings.HasPrefix(key, w.prefix) && !strings.HasPrefix(w.prefix, key) {
			return false
		}
		return key > w.after || strings.HasPrefix(w.after, key)
	}
	return key > w.after && strings.HasPrefix(key, w.prefix)
}

// describe returns the objects of the files called names in the directory fd at path. Those that have gone, or are no regular
// files any more, are left out.
func describe(fd int, path string, names []string, b *buffers) ([]item, error) {
	items := make([]item, 0, len(names))
	for _, name := range names {
		var st unix.Stat_t
		err := fstatat(fd, name, &st)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return nil, errors.Join(err)
		}
		if !isRegular(&st) {
			continue
		}
		// One string for key and ETag: an allocation per object instead of two.
		b.line = append(append(b.line[:0], path...), name...)
		b.line = appendETag(b.line, &st)
		line := string(b.line)
		n := len(path) + len(name)
		items = append(items, item{Object: store.Object{
			Key: store.Key(line[:n]), Size: st.Size, ETag: line[n:], Modified: time.Unix(st.Mtim.Unix()),
		}})
	}
	return items, nil
}
