//go:build linux

package file

import (
	"context"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/store"
)

// Stat describes the file under key.
func (b *Bucket) Stat(ctx context.Context, key store.Key) (store.Object, error) {
	st, err := b.stat(ctx, key)
	if err != nil {
		return store.Object{}, b.wrap(key, err)
	}
	return object(key, &st), nil
}

// stat returns the state of the regular file under key, without opening it.
func (b *Bucket) stat(ctx context.Context, key store.Key) (st unix.Stat_t, err error) {
	if ctx.Err() != nil {
		return st, context.Cause(ctx)
	}
	root, err := b.rootFD()
	if err != nil {
		return st, err
	}
	if !cleanPath(string(key)) {
		return st, store.ErrNotExist
	}
	fd, err := openBeneath(root, string(key), unix.O_PATH)
	if absent(err) {
		return st, store.ErrNotExist
	}
	if err != nil {
		return st, err
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return st, err
	}
	if !isRegular(&st) {
		return st, store.ErrNotExist
	}
	return st, nil
}

// openFile opens the file under key for reading and returns its state. It never opens what it has seen to be no regular file;
// should one take the place of a regular file in that very moment, it is closed again unread.
func openFile(root int, key store.Key) (fd int, st unix.Stat_t, err error) {
	fd, err = openBeneath(root, string(key), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if absent(err) {
		err = store.ErrNotExist
	}
	if err != nil {
		return -1, st, err
	}
	err = unix.Fstat(fd, &st)
	if err == nil && !isRegular(&st) {
		err = store.ErrNotExist
	}
	if err != nil {
		unix.Close(fd)
		return -1, st, err
	}
	return fd, st, nil
}

// ReadWhole implements store.Whole. It makes four system calls and allocates nothing.
//
// The file is looked at once, after it was read: if it has the ETag of o then, it had it all the while, for the ETag tells of
// inode, size and time of the last change.
func (b *Bucket) ReadWhole(ctx context.Context, o store.Object, dst []byte) error {
	if err := b.readWhole(ctx, o, dst); err != nil {
		return b.wrap(o.Key, err)
	}
	return nil
}

func (b *Bucket) readWhole(ctx context.Context, o store.Object, dst []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	root, err := b.rootFD()
	if err != nil {
		return err
	}
	if !cleanPath(string(o.Key)) {
		return store.ErrNotExist
	}
	if o.ETag == "" { // any version: the one that is there now
		st, err := b.stat(ctx, o.Key)
		if err != nil {
			return err
		}
		o.ETag = string(appendETag(nil, &st))
	}
	if o.Size != int64(len(dst)) {
		return store.ErrChanged
	}
	fd, err := openBeneath(root, string(o.Key), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if absent(err) {
		return store.ErrNotExist
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for len(dst) > 0 {
		n, err := unix.Read(fd, dst)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return store.ErrChanged
		}
		dst = dst[n:]
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if !isRegular(&st) || st.Size != o.Size || !hasETag(&st, o.ETag) {
		return store.ErrChanged
	}
	return nil
}

// Open opens the file under key.
func (b *Bucket) Open(ctx context.Context, key store.Key, etag string, off, n int64) (io.ReadCloser, error) {
	r, err := b.open(ctx, key, etag, off, n)
	if err != nil {
		return nil, b.wrap(key, err)
	}
	return r, nil
}

func (b *Bucket) open(ctx context.Context, key store.Key, etag string, off, n int64) (*reader, error) {
	if off < 0 {
		return nil, fmt.Errorf("negative offset %d", off)
	}
	if _, err := b.stat(ctx, key); err != nil {
		return nil, err
	}
	root, err := b.rootFD()
	if err != nil {
		return nil, err
	}
	fd, st, err := openFile(root, key)
	if err != nil {
		return nil, err
	}
	if etag != "" && !hasETag(&st, etag) {
		unix.Close(fd)
		return nil, store.ErrChanged
	}
	rest := max(st.Size-off, 0)
	if n >= 0 {
		rest = min(rest, n)
	}
	return &reader{ctx: ctx, b: b, key: key, fd: fd, st: st, off: off, rest: rest}, nil
}

// A reader reads a range of one file and ends in ErrChanged if the file was written to meanwhile.
type reader struct {
	ctx       context.Context
	b         *Bucket
	key       store.Key
	mu        sync.Mutex // who closes may be another than who reads: the descriptor must not become another file's meanwhile
	fd        int        // -1 once closed
	st        unix.Stat_t
	off, rest int64
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.read(p)
	if err != nil && err != io.EOF {
		err = r.b.wrap(r.key, err)
	}
	return n, err
}

func (r *reader) read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rest == 0 {
		return 0, r.end()
	}
	if int64(len(p)) > r.rest {
		p = p[:r.rest]
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := retry(func() (int, error) { return unix.Pread(r.fd, p, r.off) })
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, store.ErrChanged // shorter than when it was opened
	}
	r.off += int64(n)
	r.rest -= int64(n)
	return n, nil
}

// end returns io.EOF if the file is still as it was opened.
func (r *reader) end() error {
	var now unix.Stat_t
	if err := unix.Fstat(r.fd, &now); err != nil {
		return err
	}
	if !sameContent(&r.st, &now) {
		return store.ErrChanged
	}
	return io.EOF
}

func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fd < 0 {
		return nil
	}
	fd := r.fd
	r.fd = -1
	return unix.Close(fd)
}
