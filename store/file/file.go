//go:build linux

// Package file makes a directory tree a bucket, as it lies: the key of a file is its path below the root, with
// slashes, unescaped.
//
// Regular files are objects, and nothing else is. Symbolic links below the root are neither listed nor followed (the root itself may
// be reached through some); fifos, sockets and devices are neither listed nor opened. Every path is resolved beneath the
// root by the kernel, so that no key and no change of the tree at the wrong moment leads out of it.
//
// Keys that are no clean relative path (empty segments, "." and "..", a leading or trailing slash, NUL, segments over 255 bytes) are
// refused with store.ErrKey, and so is a key that would have to be a file and a directory at once.
//
// An ETag is made of inode, size, modification and change time. Pending objects lie in ROOT/_millrace/staging; no listing
// shows them and no key reaches them, there or in an inner directory of that name.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/store"
)

// A Bucket is a directory tree. It holds one descriptor, of its root.
type Bucket struct {
	dir     string // absolute
	workers int    // goroutines of one listing, beside its caller

	root    atomic.Int64 // descriptor of the root, or -1 while there is none
	staged  atomic.Bool  // objects were staged through this Bucket
	opening sync.Mutex
	closed  bool // guarded by opening
}

// Open is the store.Opener of the scheme file. A URI of a regular file comes back as its directory and Exact. A
// directory that does not exist is store.ErrNotExist as soon as something is read, and is made by the first Create or Put.
func Open(_ context.Context, u store.URI, _ *store.Options) (store.Bucket, store.URI, error) {
	if !filepath.IsAbs(u.Bucket) {
		return nil, u, fmt.Errorf("file:%s: not an absolute path", u.Bucket)
	}
	fi, err := os.Stat(u.Bucket)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, u, fmt.Errorf("file://%s: %w", u.Bucket, cause(err))
	case fi.IsDir():
	case !fi.Mode().IsRegular():
		return nil, u, fmt.Errorf("file://%s: neither a directory nor a regular file", u.Bucket)
	case u.Glob != "" || u.Prefix != "":
		return nil, u, fmt.Errorf("file://%s: %w", u.Bucket, unix.ENOTDIR)
	default:
		path, err := filepath.EvalSymlinks(u.Bucket)
		if err != nil {
			return nil, u, fmt.Errorf("file://%s: %w", u.Bucket, cause(err))
		}
		u.Bucket, u.Prefix, u.Exact = filepath.Dir(path), store.Key(filepath.Base(path)), true
	}
	return New(u.Bucket), u, nil
}

// New returns the Bucket of the directory dir, an absolute path, which need not exist yet.
func New(dir string) *Bucket {
	b := &Bucket{dir: dir, workers: listWorkers}
	b.root.Store(-1)
	return b
}

// rootFD returns the descriptor of the root. It is store.ErrNotExist if there is none.
func (b *Bucket) rootFD() (int, error) {
	if fd := b.root.Load(); fd >= 0 {
		return int(fd), nil
	}
	b.opening.Lock()
	defer b.opening.Unlock()
	if fd := b.root.Load(); fd >= 0 {
		return int(fd), nil
	}
	if b.closed {
		return -1, fs.ErrClosed
	}
	fd, err := retry(func() (int, error) {
		return unix.Open(b.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return -1, err
	}
	b.root.Store(int64(fd))
	return fd, nil
}

// makeRoot is rootFD for writing: it makes the directory if need be.
func (b *Bucket) makeRoot() (int, error) {
	fd, err := b.rootFD()
	if !errors.Is(err, fs.ErrNotExist) {
		return fd, err
	}
	if err := makeAll(b.dir); err != nil {
		return -1, cause(err)
	}
	return b.rootFD()
}

// makeAll is os.MkdirAll, with names that are durable.
func makeAll(dir string) error {
	fi, err := os.Stat(dir)
	switch {
	case err == nil && !fi.IsDir():
		return unix.ENOTDIR
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeAll(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	p, err := os.Open(parent)
	if errors.Is(err, fs.ErrPermission) {
		return nil // we may write there, and not read: it will be durable when the system likes
	}
	if err != nil {
		return err
	}
	defer p.Close()
	return p.Sync()
}

// Close closes the descriptor of the root. If objects were staged, and none is now, their directory goes, too.
func (b *Bucket) Close() error {
	b.opening.Lock()
	defer b.opening.Unlock()
	b.closed = true
	if fd := b.root.Swap(-1); fd >= 0 {
		if b.staged.Load() && unix.Unlinkat(int(fd), staging, unix.AT_REMOVEDIR) == nil {
			parent, _ := split(staging)
			_ = unix.Unlinkat(int(fd), parent, unix.AT_REMOVEDIR) // unless there is something else in it
		}
		return unix.Close(int(fd))
	}
	return nil
}

// wrap names the object that err is about.
func (b *Bucket) wrap(key store.Key, err error) error {
	return fmt.Errorf("%s: %w", store.Name("file", b.dir, key), err)
}

// cause takes the path out of an *fs.PathError: the caller names the object itself.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
