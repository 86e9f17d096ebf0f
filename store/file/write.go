//go:build linux

package file

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/store"
)

// idLength is that of rand.Text, of which the names of staged files are made.
const idLength = 26

func checkID(id string) error {
	if len(id) != idLength || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return fmt.Errorf("pending object %.40q: not a handle of this store", id)
	}
	return nil
}

// A writer fills one staged file. Until its first byte that has no name, where the file system has such files: a process that is killed before
// it could write the handle down leaves nothing.
type writer struct {
	b     *Bucket
	h     store.Handle
	dir   int // descriptor of the staging directory
	fd    int
	named bool
	sum   hash.Hash
	size  int64
	err   error // why it takes no more bytes
	done  bool  // sealed or aborted
}

// Create makes an empty staged file.
func (b *Bucket) Create(ctx context.Context, key store.Key, _ *store.CreateOptions) (store.Writer, error) {
	w, err := b.create(ctx, key)
	if err != nil {
		return nil, b.wrap(key, err)
	}
	return w, nil
}

func (b *Bucket) create(ctx context.Context, key store.Key) (*writer, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	root, err := b.makeRoot()
	if err != nil {
		return nil, err
	}
	h := store.Handle{Key: key, ID: rand.Text()}
	for {
		dir, err := makeDirs(root, staging)
		if err != nil {
			return nil, err
		}
		fd, err := retry(func() (int, error) {
			return unix.Openat(dir, ".", unix.O_WRONLY|unix.O_TMPFILE|unix.O_CLOEXEC, 0o666)
		})
		named := err == unix.EOPNOTSUPP || err == unix.EISDIR // a file system, or a kernel, that knows only files with names
		if named {
			fd, err = retry(func() (int, error) {
				return unix.Openat(dir, h.ID, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o666)
			})
		}
		if err == nil {
			b.staged.Store(true)
			return &writer{b: b, h: h, dir: dir, fd: fd, named: named, sum: sha256.New()}, nil
		}
		unix.Close(dir)
		if err != unix.ENOENT { // somebody's Close took the directory away in between
			return nil, err
		}
	}
}

func (w *writer) Handle() store.Handle { return w.h }

func (w *writer) Write(p []byte) (int, error) {
	if w.err == nil {
		w.err = w.name()
	}
	if w.err != nil {
		return 0, w.b.wrap(w.h.Key, w.err)
	}
	n, err := w.write(p)
	if err != nil {
		return n, w.b.wrap(w.h.Key, err)
	}
	return n, nil
}

// name gives the staged file its name.
func (w *writer) name() error {
	if w.named {
		return nil
	}
	root, err := w.b.rootFD()
	if err != nil {
		return err
	}
	for range 100 { // somebody's Close may take the directory away again in between
		if err = w.link(w.dir, w.h.ID); err != unix.ENOENT {
			break
		}
		dir, err := makeDirs(root, staging)
		if err != nil {
			return err
		}
		unix.Close(w.dir)
		w.dir = dir
	}
	w.named = err == nil
	return err
}

// link gives the file a name.
func (w *writer) link(dir int, name string) error {
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", w.fd), dir, name, unix.AT_SYMLINK_FOLLOW)
}

func (w *writer) write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n, err := retry(func() (int, error) { return unix.Write(w.fd, p[written:]) })
		if err != nil {
			w.err = err
			return written, err
		}
		w.sum.Write(p[written : written+n])
		w.size += int64(n)
		written += n
	}
	return written, nil
}

// Seal makes the staged file and its name durable.
func (w *writer) Seal(ctx context.Context) (store.Pending, error) {
	p, err := w.seal(ctx)
	if err != nil {
		return p, w.b.wrap(w.h.Key, err)
	}
	return p, nil
}

func (w *writer) seal(ctx context.Context) (store.Pending, error) {
	if w.err != nil {
		return store.Pending{}, w.err
	}
	if ctx.Err() != nil {
		return store.Pending{}, context.Cause(ctx)
	}
	if w.err = w.name(); w.err != nil {
		return store.Pending{}, w.err
	}
	if err := unix.Fsync(w.fd); err != nil {
		w.err = err // a second fsync could succeed without the bytes
		return store.Pending{}, err
	}
	if err := syncDir(w.dir); err != nil {
		w.err = err
		return store.Pending{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(w.fd, &st); err != nil {
		w.err = err
		return store.Pending{}, err
	}
	if st.Size != w.size {
		w.err = store.ErrShort
		return store.Pending{}, w.err
	}
	w.release()
	return store.Pending{
		Handle: w.h, Size: w.size, SHA256: hex.EncodeToString(w.sum.Sum(nil)),
		Parts: []store.Part{{Number: 1, ETag: string(appendContent(nil, &st)), Size: w.size}},
	}, nil
}

// release closes the descriptors: the writer is done.
func (w *writer) release() {
	w.done = true
	w.err = errors.New("writer has ended")
	unix.Close(w.fd)
	unix.Close(w.dir)
}

func (w *writer) Abort(context.Context) error {
	if w.done {
		return nil
	}
	var err error
	if w.named {
		err = unlink(w.dir, w.h.ID)
	}
	w.release()
	if err != nil {
		return w.b.wrap(w.h.Key, err)
	}
	return nil
}

// Publish renames the staged file to its key and makes the new name durable.
func (b *Bucket) Publish(ctx context.Context, p store.Pending) (store.Object, error) {
	o, err := b.publish(ctx, p)
	if err != nil {
		return store.Object{}, b.wrap(p.Key, err)
	}
	return o, nil
}

func (b *Bucket) publish(ctx context.Context, p store.Pending) (store.Object, error) {
	var none store.Object
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	if err := checkKey(p.Key); err != nil {
		return none, err
	}
	if err := checkID(p.ID); err != nil {
		return none, err
	}
	if len(p.Parts) != 1 {
		return none, fmt.Errorf("pending object %s has %d parts, want 1", p.ID, len(p.Parts))
	}
	root, err := b.rootFD()
	if err != nil {
		return none, err
	}
	fd, err := openBeneath(root, staging+"/"+p.ID, unix.O_PATH)
	if err == nil {
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		unix.Close(fd)
		if err == nil && (!isRegular(&st) || string(appendContent(nil, &st)) != p.Parts[0].ETag) {
			err = fmt.Errorf("pending object %s: %w since it was sealed", p.ID, store.ErrChanged)
		}
		if err == nil {
			err = place(root, p.ID, p.Key)
		}
	}
	if err != nil && err != unix.ENOENT {
		return none, err
	}
	// Published now, or before: in either case the file under the key must be the one that was sealed.
	st, err := b.stat(ctx, p.Key)
	if errors.Is(err, store.ErrNotExist) || err == nil && string(appendContent(nil, &st)) != p.Parts[0].ETag {
		return none, fmt.Errorf("pending object %s: %w", p.ID, store.ErrNotExist)
	}
	if err != nil {
		return none, err
	}
	return object(p.Key, &st), nil
}

// place renames the staged file id to key. It returns ENOENT if there is no such staged file.
func place(root int, id string, key store.Key) error {
	dir, name := split(string(key))
	from, err := openBeneath(root, staging, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	for range 100 { // a Delete may take the directory away again in between
		var to int
		if to, err = makeDirs(root, dir); err != nil {
			return err
		}
		if err = unix.Renameat(from, id, to, name); err == nil {
			err = syncDir(to)
		}
		unix.Close(to)
		if err != unix.ENOENT || unix.Faccessat(from, id, unix.F_OK, unix.AT_SYMLINK_NOFOLLOW) != nil {
			break
		}
	}
	switch err {
	case unix.EISDIR, unix.ENOTDIR, unix.ENOTEMPTY, unix.EEXIST:
		return fmt.Errorf("%w: there is a directory of that name", store.ErrKey)
	}
	return err
}

// Discard removes the staged file.
func (b *Bucket) Discard(ctx context.Context, h store.Handle) error {
	if err := b.discard(ctx, h); err != nil {
		return b.wrap(h.Key, err)
	}
	return nil
}

func (b *Bucket) discard(ctx context.Context, h store.Handle) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := checkID(h.ID); err != nil {
		return err
	}
	root, err := b.rootFD()
	if err == nil {
		var dir int
		if dir, err = openBeneath(root, staging, unix.O_PATH|unix.O_DIRECTORY); err == nil {
			defer unix.Close(dir)
			err = unlink(dir, h.ID)
		}
	}
	if absent(err) {
		return nil
	}
	return err
}

// Put writes a file and gives it the name of key.
func (b *Bucket) Put(ctx context.Context, key store.Key, body []byte) (store.Object, error) {
	o, err := b.put(ctx, key, body)
	if err != nil {
		return store.Object{}, b.wrap(key, err)
	}
	return o, nil
}

func (b *Bucket) put(ctx context.Context, key store.Key, body []byte) (o store.Object, err error) {
	w, err := b.create(ctx, key)
	if err != nil {
		return o, err
	}
	defer func() { _ = w.Abort(ctx) }() // what was renamed is not there any more
	if _, err = w.write(body); err == nil {
		err = unix.Fsync(w.fd)
	}
	if err == nil {
		err = w.putAt(key)
	}
	if err != nil {
		return o, err
	}
	st, err := b.stat(ctx, key) // this file, or that of a Put that came right after
	return object(key, &st), err
}

// putAt gives the file the name of key. Only where there is a file of that name already does it have another one before, for a moment.
func (w *writer) putAt(key store.Key) error {
	root, err := w.b.rootFD()
	if err != nil {
		return err
	}
	if !w.named {
		done, err := w.linkTo(root, key)
		if done || err != nil {
			return err
		}
	}
	if err := w.name(); err != nil {
		return err
	}
	return place(root, w.h.ID, key)
}

// linkTo gives the file the name of key, and reports false if there is something of that name.
func (w *writer) linkTo(root int, key store.Key) (bool, error) {
	parent, name := split(string(key))
	for range 100 { // a Delete may take the directory away again in between
		dir, err := makeDirs(root, parent)
		if err != nil {
			return false, err
		}
		if err = w.link(dir, name); err == nil {
			err = syncDir(dir)
		}
		unix.Close(dir)
		switch err {
		case nil:
			return true, nil
		case unix.EEXIST:
			return false, nil
		case unix.ENOENT:
		default:
			return false, err
		}
	}
	return false, unix.ENOENT
}

// Delete removes the file under key, and the directories that it leaves empty.
func (b *Bucket) Delete(ctx context.Context, key store.Key) error {
	if err := b.delete(ctx, key); err != nil {
		return b.wrap(key, err)
	}
	return nil
}

func (b *Bucket) delete(ctx context.Context, key store.Key) error {
	_, err := b.stat(ctx, key)
	if errors.Is(err, store.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	root, err := b.rootFD()
	if err != nil {
		return err
	}
	path, flags := string(key), 0
	for path != "" {
		parent, name := split(path)
		dir, err := openBeneath(root, parent, unix.O_PATH|unix.O_DIRECTORY)
		if absent(err) {
			return nil
		}
		if err != nil {
			return err
		}
		err = unix.Unlinkat(dir, name, flags)
		if err == nil && flags == 0 {
			err = syncDir(dir)
		}
		unix.Close(dir)
		switch {
		case err == unix.ENOENT, err == unix.EISDIR, err != nil && flags != 0:
			return nil
		case err != nil:
			return err
		}
		path, flags = parent, unix.AT_REMOVEDIR
	}
	return nil
}

// makeDirs opens the directory path beneath root and makes what is missing of it.
func makeDirs(root int, path string) (int, error) {
	for range 100 { // a Delete may take a directory away again in between
		fd, err := openBeneath(root, path, unix.O_PATH|unix.O_DIRECTORY)
		if err != unix.ENOENT {
			if err == unix.ENOTDIR || err == unix.ELOOP {
				err = fmt.Errorf("%w: there is a file in place of a directory", store.ErrKey)
			}
			return fd, err
		}
		for i := 0; i <= len(path); i++ {
			if i < len(path) && path[i] != '/' {
				continue
			}
			if err := makeDir(root, path[:i]); err != nil {
				return -1, err
			}
		}
	}
	return -1, unix.ENOENT
}

// makeDir makes one directory beneath root, if there is none, and its name durable. If its parent has gone it does nothing.
func makeDir(root int, path string) error {
	parent, name := split(path)
	dir, err := openBeneath(root, parent, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		if absent(err) {
			return nil // the caller finds out
		}
		return err
	}
	defer unix.Close(dir)
	switch err := unix.Mkdirat(dir, name, 0o777); err {
	case nil:
		return syncDir(dir)
	case unix.EEXIST, unix.ENOENT:
		return nil
	default:
		return err
	}
}

// syncDir makes the names in a directory durable. dir may be an O_PATH descriptor.
func syncDir(dir int) error {
	fd, err := openBeneath(dir, "", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fsync(fd)
}

func unlink(dir int, name string) error {
	if err := unix.Unlinkat(dir, name, 0); err != unix.ENOENT {
		return err
	}
	return nil
}
