package main

import (
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

// A disk is what is there, and what of it would be there after a loss of power. Inodes have numbers that are never used again; 1 is the root.
type disk struct {
	strict bool
	inodes map[uint64]*inode
	last   uint64   // number given
	names  []naming // not yet durable, in order
}

// An inode is a file, a directory or a symbolic link.
type inode struct {
	id    uint64
	mode  uint32 // with its type
	links int    // names that are there
	named bool   // it has, or had, a durable name

	now, kept content
	writes    []write           // to what is kept, in order, for what is there
	entries   map[string]uint64 // of a directory
	durable   map[string]uint64 // of a directory: those kept
}

type content struct {
	data       []byte
	mtim, ctim time.Time
}

// A write changes the bytes of a file; without data it is a change of its size, to at.
type write struct {
	at   int64
	data []byte
}

// A naming is a change of names that happens as a whole: a creation, a link, a removal, a rename.
type naming struct {
	changes []change
	time    time.Time
}

// A change gives a name in a directory to an inode; to 0: takes it away.
type change struct {
	dir  uint64
	name string
	to   uint64
}

const (
	rootID = 1
	page   = 4096
	sector = 512
)

func newDisk(strict bool) *disk {
	d := &disk{strict: strict, inodes: map[uint64]*inode{}}
	root := d.make(syscall.S_IFDIR | 0o755)
	root.named = true
	return d
}

// make makes an inode without a name.
func (d *disk) make(mode uint32) *inode {
	d.last++
	now := time.Now()
	n := &inode{id: d.last, mode: mode, now: content{mtim: now, ctim: now}, kept: content{mtim: now, ctim: now}}
	if n.isDir() {
		n.entries, n.durable = map[string]uint64{}, map[string]uint64{}
	}
	d.inodes[n.id] = n
	return n
}

func (n *inode) isDir() bool { return n.mode&syscall.S_IFMT == syscall.S_IFDIR }

// name makes changes, which become durable together.
func (d *disk) name(changes ...change) {
	now := time.Now()
	for _, c := range changes {
		dir := d.inodes[c.dir]
		if old := d.inodes[dir.entries[c.name]]; old != nil {
			old.links--
			old.now.ctim = now
		}
		if delete(dir.entries, c.name); c.to != 0 {
			dir.entries[c.name] = c.to
			d.inodes[c.to].links++
			d.inodes[c.to].now.ctim = now
		}
		dir.now.mtim, dir.now.ctim = now, now
	}
	d.names = append(d.names, naming{changes, now})
}

// write does what w says to a file.
func (n *inode) write(w write) {
	n.writes = append(n.writes, w)
	n.now.apply(w)
	n.now.mtim = time.Now()
	n.now.ctim = n.now.mtim
}

func (c *content) apply(w write) {
	end := w.at + int64(len(w.data))
	if w.data == nil && end < int64(len(c.data)) {
		c.data = c.data[:end:end]
	}
	if grow := end - int64(len(c.data)); grow > 0 {
		c.data = append(c.data, make([]byte, grow)...)
	}
	copy(c.data[w.at:], w.data)
}

// sync makes what is in a file durable, and, unless names are only what their directories sync, a first name of it.
func (d *disk) sync(n *inode) {
	for _, w := range n.writes {
		n.kept.apply(w)
	}
	n.writes = nil
	n.kept.mtim, n.kept.ctim = n.now.mtim, n.now.ctim
	if !n.named && !d.strict {
		d.settle(func(c change) bool { return c.to == n.id })
	}
}

// syncDir makes the names in a directory durable.
func (d *disk) syncDir(n *inode) {
	d.sync(n)
	d.settle(func(c change) bool { return c.dir == n.id })
}

// settle makes some changes of names durable, with those that they need: of the same names before, and of the directories that they are in.
func (d *disk) settle(which func(change) bool) {
	type place struct {
		dir  uint64
		name string
	}
	places, dirs := map[place]bool{}, map[uint64]bool{}
	settled := make([]bool, len(d.names))
	for i, o := range slices.Backward(d.names) {
		for _, c := range o.changes {
			if which(c) || places[place{c.dir, c.name}] || !d.strict && c.to != 0 && dirs[c.to] {
				settled[i] = true
			}
		}
		if settled[i] {
			for _, c := range o.changes {
				places[place{c.dir, c.name}] = true
				dirs[c.dir] = true
			}
		}
	}
	var rest []naming
	for i, o := range d.names {
		if settled[i] {
			d.keep(o)
		} else {
			rest = append(rest, o)
		}
	}
	d.names = rest
}

// keep makes one change of names durable. The times of what it concerns go with it.
func (d *disk) keep(o naming) {
	for _, c := range o.changes {
		dir := d.inodes[c.dir]
		dir.kept.mtim, dir.kept.ctim = o.time, o.time
		if delete(dir.durable, c.name); c.to != 0 {
			dir.durable[c.name] = c.to
			to := d.inodes[c.to]
			to.named = true
			if o.time.After(to.kept.ctim) {
				to.kept.ctim = o.time
			}
		}
	}
}

// A loss counts what was dropped.
type loss struct{ writes, names int }

// crash drops what is not durable: all of it, or all after a moment, or, of the bytes, pages by chance.
func (d *disk) crash(r *rand.Rand) (l loss) {
	kind := r.IntN(3)
	if kind > 0 { // names stay in order, as a journal has them
		n := r.IntN(len(d.names) + 1)
		for _, o := range d.names[:n] {
			d.keep(o)
		}
		d.names = d.names[n:]
	}
	l.names = len(d.names)
	d.names = nil
	for _, id := range slices.Sorted(maps.Keys(d.inodes)) {
		n := d.inodes[id]
		if len(n.writes) > 0 {
			l.writes += n.lose(r, kind)
		}
		n.now = n.kept
		n.now.data = slices.Clone(n.kept.data)
		n.entries = maps.Clone(n.durable)
		n.links = 0
	}
	d.sweep()
	return l
}

// lose applies to what is kept of a file some of what was written since, and returns how much is lost.
func (n *inode) lose(r *rand.Rand, kind int) (lost int) {
	cut := r.IntN(len(n.writes) + 1)
	before := len(n.writes)
	kept := 0
	for i, w := range n.writes {
		switch {
		case kind == 0, kind == 1 && i > cut:
		case kind == 1 && i < cut, w.data == nil && r.IntN(2) == 0:
			n.kept.apply(w)
			kept++
		case w.data == nil:
		case kind == 1: // torn
			n.kept.apply(write{w.at, w.data[:r.IntN(len(w.data)/sector+1)*sector]})
		default:
			whole := true
			for at := int64(0); at < int64(len(w.data)); {
				end := min((w.at+at)/page*page+page-w.at, int64(len(w.data)))
				if r.IntN(2) == 0 {
					n.kept.apply(write{w.at + at, w.data[at:end]})
				} else {
					whole = false
				}
				at = end
			}
			if whole {
				kept++
			}
		}
	}
	if kept > 0 {
		n.kept.mtim = n.now.mtim
	}
	n.writes = nil
	return before - kept
}

// sweep counts names, and forgets what has none.
func (d *disk) sweep() {
	reached := map[uint64]bool{rootID: true}
	todo := []uint64{rootID}
	for len(todo) > 0 {
		n := d.inodes[todo[0]]
		todo = todo[1:]
		for _, id := range n.entries {
			d.inodes[id].links++
			if !reached[id] {
				reached[id] = true
				todo = append(todo, id)
			}
		}
	}
	maps.DeleteFunc(d.inodes, func(id uint64, _ *inode) bool { return !reached[id] })
}
