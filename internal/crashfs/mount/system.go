package main

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A system answers the kernel out of a disk.
type system struct {
	fuse.RawFileSystem // what it does not know

	mu    sync.Mutex
	disk  *disk
	off   bool
	lists map[uint64][]string // names that a directory had when it was last read from its beginning, by handle
	next  uint64              // handle
}

const entryTime = time.Second // how long the kernel may keep names, which it changes itself

func (s *system) cut(off bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.off = off
}

// crash drops what is not durable, and is there again.
func (s *system) crash(r *rand.Rand) loss {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.off = false
	return s.disk.crash(r)
}

// do calls f with an inode, by its number.
func (s *system) do(id uint64, f func(n *inode) fuse.Status) fuse.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.off {
		return fuse.EIO
	}
	n := s.disk.inodes[id]
	if n == nil {
		return fuse.Status(syscall.ESTALE)
	}
	return f(n)
}

// doIn calls f with a directory and what it has under a name; nil: nothing.
func (s *system) doIn(id uint64, name string, f func(dir, n *inode) fuse.Status) fuse.Status {
	return s.do(id, func(dir *inode) fuse.Status {
		if !dir.isDir() {
			return fuse.ENOTDIR
		}
		if dir.links == 0 && dir.id != rootID {
			return fuse.ENOENT
		}
		return f(dir, s.disk.inodes[dir.entries[name]])
	})
}

func (n *inode) attr(a *fuse.Attr) {
	*a = fuse.Attr{Ino: n.id, Mode: n.mode, Nlink: uint32(n.links), Size: uint64(len(n.now.data)), Blksize: page}
	a.Blocks = (a.Size + sector - 1) / sector
	a.SetTimes(&n.now.mtim, &n.now.mtim, &n.now.ctim)
	if n.isDir() {
		a.Nlink, a.Size = 2, page
	}
}

func (n *inode) entry(out *fuse.EntryOut) fuse.Status {
	out.NodeId, out.Generation = n.id, 1
	n.attr(&out.Attr)
	out.SetEntryTimeout(entryTime)
	return fuse.OK
}

func (s *system) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return s.doIn(h.NodeId, name, func(_, n *inode) fuse.Status {
		if n == nil {
			return fuse.ENOENT
		}
		return n.entry(out)
	})
}

func (s *system) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return s.do(in.NodeId, func(n *inode) fuse.Status { n.attr(&out.Attr); return fuse.OK })
}

func (s *system) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	return s.do(in.NodeId, func(n *inode) fuse.Status {
		if mode, ok := in.GetMode(); ok {
			n.mode = n.mode&syscall.S_IFMT | mode&0o7777
		}
		if size, ok := in.GetSize(); ok {
			n.write(write{at: int64(size)})
		}
		if t, ok := in.GetMTime(); ok {
			n.now.mtim = t
		}
		n.attr(&out.Attr)
		return fuse.OK
	})
}

// create makes an inode with a name.
func (s *system) create(dir uint64, name string, mode uint32, out *fuse.EntryOut) fuse.Status {
	return s.doIn(dir, name, func(dir, n *inode) fuse.Status {
		if n != nil {
			return fuse.Status(syscall.EEXIST)
		}
		n = s.disk.make(mode)
		s.disk.name(change{dir.id, name, n.id})
		return n.entry(out)
	})
}

func (s *system) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if in.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return fuse.EPERM
	}
	return s.create(in.NodeId, name, in.Mode, out)
}

func (s *system) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return s.create(in.NodeId, name, syscall.S_IFDIR|in.Mode&0o7777, out)
}

func (s *system) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return s.create(in.NodeId, name, syscall.S_IFREG|in.Mode&0o7777, &out.EntryOut)
}

func (s *system) Tmpfile(_ <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	return s.do(in.NodeId, func(*inode) fuse.Status { return s.disk.make(syscall.S_IFREG | in.Mode&0o7777).entry(&out.EntryOut) })
}

func (s *system) Symlink(_ <-chan struct{}, h *fuse.InHeader, to, name string, out *fuse.EntryOut) fuse.Status {
	if status := s.create(h.NodeId, name, syscall.S_IFLNK|0o777, out); status != fuse.OK {
		return status
	}
	return s.do(out.NodeId, func(n *inode) fuse.Status {
		n.now.data, n.kept.data = []byte(to), []byte(to)
		return n.entry(out)
	})
}

func (s *system) Readlink(_ <-chan struct{}, h *fuse.InHeader) (to []byte, status fuse.Status) {
	status = s.do(h.NodeId, func(n *inode) fuse.Status { to = slices.Clone(n.now.data); return fuse.OK })
	return to, status
}

func (s *system) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	return s.doIn(in.NodeId, name, func(dir, there *inode) fuse.Status {
		n := s.disk.inodes[in.Oldnodeid]
		switch {
		case there != nil:
			return fuse.Status(syscall.EEXIST)
		case n == nil:
			return fuse.ENOENT
		}
		s.disk.name(change{dir.id, name, n.id})
		return n.entry(out)
	})
}

// remove takes a name away from what is or is no directory.
func (s *system) remove(h *fuse.InHeader, name string, isDir bool) fuse.Status {
	return s.doIn(h.NodeId, name, func(dir, n *inode) fuse.Status {
		switch {
		case n == nil:
			return fuse.ENOENT
		case n.isDir() && !isDir:
			return fuse.Status(syscall.EISDIR)
		case !n.isDir() && isDir:
			return fuse.ENOTDIR
		case len(n.entries) > 0:
			return fuse.Status(syscall.ENOTEMPTY)
		}
		s.disk.name(change{dir.id, name, 0})
		return fuse.OK
	})
}

func (s *system) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return s.remove(h, name, false)
}

func (s *system) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return s.remove(h, name, true)
}

func (s *system) Rename(_ <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	const noReplace = 1
	return s.doIn(in.NodeId, from, func(dir, n *inode) fuse.Status {
		target := s.disk.inodes[in.Newdir]
		if n == nil || target == nil {
			return fuse.ENOENT
		}
		old := s.disk.inodes[target.entries[to]]
		switch {
		case in.Flags&^noReplace != 0:
			return fuse.EINVAL
		case old == nil:
		case in.Flags&noReplace != 0:
			return fuse.Status(syscall.EEXIST)
		case old == n:
			return fuse.OK
		case old.isDir() && !n.isDir():
			return fuse.Status(syscall.EISDIR)
		case !old.isDir() && n.isDir():
			return fuse.ENOTDIR
		case len(old.entries) > 0:
			return fuse.Status(syscall.ENOTEMPTY)
		}
		s.disk.name(change{dir.id, from, 0}, change{target.id, to, n.id})
		return fuse.OK
	})
}

func (s *system) Open(_ <-chan struct{}, in *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	return s.do(in.NodeId, func(n *inode) fuse.Status {
		if in.Flags&syscall.O_TRUNC != 0 {
			n.write(write{})
		}
		return fuse.OK
	})
}

func (s *system) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return s.do(in.NodeId, func(*inode) fuse.Status {
		s.next++
		out.Fh = s.next
		return fuse.OK
	})
}

func (s *system) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (r fuse.ReadResult, status fuse.Status) {
	status = s.do(in.NodeId, func(n *inode) fuse.Status {
		at := min(in.Offset, uint64(len(n.now.data)))
		r = fuse.ReadResultData(buf[:copy(buf, n.now.data[at:])])
		return fuse.OK
	})
	return r, status
}

func (s *system) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (written uint32, status fuse.Status) {
	status = s.do(in.NodeId, func(n *inode) fuse.Status {
		if len(data) == 0 {
			return fuse.OK
		}
		n.write(write{int64(in.Offset), slices.Clone(data)})
		if in.Flags&syscall.O_DSYNC != 0 {
			s.disk.sync(n)
		}
		written = uint32(len(data))
		return fuse.OK
	})
	return written, status
}

func (s *system) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return s.do(in.NodeId, func(n *inode) fuse.Status { s.disk.sync(n); return fuse.OK })
}

func (s *system) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return s.do(in.NodeId, func(n *inode) fuse.Status { s.disk.syncDir(n); return fuse.OK })
}

func (s *system) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

func (s *system) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return s.do(in.NodeId, func(n *inode) fuse.Status {
		if in.Offset == 0 {
			s.lists[in.Fh] = slices.Sorted(maps.Keys(n.entries))
		}
		names := s.lists[in.Fh]
		for i := min(in.Offset, uint64(len(names))); i < uint64(len(names)); i++ {
			e := s.disk.inodes[n.entries[names[i]]]
			if e != nil && !out.AddDirEntry(fuse.DirEntry{Name: names[i], Ino: e.id, Mode: e.mode, Off: i + 1}) {
				break
			}
		}
		return fuse.OK
	})
}

func (s *system) ReleaseDir(in *fuse.ReleaseIn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lists, in.Fh)
}

// StatFs says that there is much room.
func (s *system) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	const blocks = 8 << 30 / page
	*out = fuse.StatfsOut{Blocks: blocks, Bfree: blocks, Bavail: blocks, Files: 1 << 20, Ffree: 1 << 20, Bsize: page, Frsize: page, NameLen: 255}
	return fuse.OK
}
