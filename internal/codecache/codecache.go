// Package codecache keeps compiled code from one process to the next: files in a directory that nobody but its owner can reach.
//
// Whoever can change a file there can have his code run in the jails of jobs, so that each is authenticated, by a key that lies beside them.
// That keeps out what strays in: half-written files, bit rot, files that were copied from elsewhere or renamed. Who can read the
// key owns the account, and needs no cache.
//
// A file is
//
//	0                  16          48
//	| "millrace code 1" LF | HMAC | content |
//
// the HMAC-SHA-256 of its name, a NUL and its content.
package codecache

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of a cache. What was not used for longest goes first.
const (
	maxFiles = 64
	maxBytes = 1 << 30
)

const (
	magic   = "millrace code 1\n"
	keyName = "key"
	suffix  = ".code"
)

// A Cache is one directory. Its methods may be called concurrently, also by several processes.
type Cache struct {
	dir string
	key []byte

	mu     sync.Mutex
	recent []recent // what Get has returned, latest first
}

// A recent is a file that was authenticated once and cannot change any more.
type recent struct {
	name string
	file *os.File
}

// maxRecent is how many files a Cache keeps open.
const maxRecent = 8

// Open opens the cache in dir, which it makes if need be. It refuses a directory that others than its owner can reach.
func Open(dir string) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if err := private(info); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	c := &Cache{dir: dir}
	c.key, err = c.readKey()
	if errors.Is(err, fs.ErrNotExist) {
		if err := c.makeKey(); err != nil {
			return nil, err
		}
		c.key, err = c.readKey()
	}
	return c, err
}

// private returns an error unless the file is ours alone.
func private(info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return errors.New("is a symbolic link")
	case !ok || int(st.Uid) != os.Geteuid():
		return errors.New("belongs to another user")
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("others can reach it (mode %v)", info.Mode().Perm())
	}
	return nil
}

func (c *Cache) readKey() ([]byte, error) {
	path := filepath.Join(c.dir, keyName)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(path)
	if err == nil {
		err = private(info)
	}
	if err == nil && len(key) != sha256.Size {
		err = fmt.Errorf("holds %d bytes", len(key))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// makeKey makes a key, unless somebody else is quicker.
func (c *Cache) makeKey() error {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return c.write(keyName, func(f *os.File) error {
		_, err := f.Write(key)
		return err
	}, func(from, to string) error {
		err := os.Link(from, to)
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
		return errors.Join(err, os.Remove(from))
	})
}

// Get returns what was put under name, as a file in memory that cannot be changed; the caller closes it. The error is
// fs.ErrNotExist if there is nothing, or nothing that is authentic.
func (c *Cache) Get(name string) (*os.File, error) {
	path, err := c.path(name)
	if err != nil {
		return nil, err
	}
	if f, err := c.again(name); f != nil || err != nil {
		return f, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var head [len(magic) + sha256.Size]byte
	if _, err := io.ReadFull(f, head[:]); err != nil || string(head[:len(magic)]) != magic {
		return nil, c.drop(path)
	}
	content, err := newMemory()
	if err != nil {
		return nil, err
	}
	mac := c.mac(name)
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(content, mac)}, struct{ io.Reader }{f}, make([]byte, 1<<20)); err != nil {
		return nil, errors.Join(err, content.Close())
	}
	if !hmac.Equal(mac.Sum(nil), head[len(magic):]) {
		return nil, errors.Join(c.drop(path), content.Close())
	}
	if err := seal(content); err != nil {
		return nil, errors.Join(err, content.Close())
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // else it is only forgotten earlier
	return content, c.remember(name, content)
}

// again returns a file that was returned before, nil if it was not.
func (c *Cache) again(name string) (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.recent, func(r recent) bool { return r.name == name })
	if i < 0 {
		return nil, nil
	}
	r := c.recent[i]
	c.recent = slices.Insert(slices.Delete(c.recent, i, i+1), 0, r)
	return dup(r.file)
}

func (c *Cache) remember(name string, f *os.File) error {
	kept, err := dup(f)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recent = slices.Insert(c.recent, 0, recent{name, kept})
	if n := len(c.recent); n > maxRecent {
		err = c.recent[n-1].file.Close()
		c.recent = c.recent[:n-1]
	}
	return err
}

// dup returns another descriptor of a file in memory. Its readers use no offset but their own.
func dup(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// forget makes the next Get look at the directory.
func (c *Cache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, r := range c.recent {
		if r.name == name {
			_ = r.file.Close() // a file in memory has nothing to lose
			c.recent = slices.Delete(c.recent, i, i+1)
			return
		}
	}
}

// Close closes what is kept open.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	for _, r := range c.recent {
		err = errors.Join(err, r.file.Close())
	}
	c.recent = nil
	return err
}

// drop removes a file that is not what it says.
func (c *Cache) drop(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return &fs.PathError{Op: "authenticate", Path: path, Err: fs.ErrNotExist}
}

// Put keeps the content of a file, from its beginning, under name.
func (c *Cache) Put(name string, content *os.File) error {
	path, err := c.path(name)
	if err != nil {
		return err
	}
	c.forget(name)
	err = c.write(filepath.Base(path), func(f *os.File) error {
		if _, err := f.Seek(int64(len(magic)+sha256.Size), io.SeekStart); err != nil {
			return err
		}
		mac := c.mac(name)
		if _, err := io.Copy(io.MultiWriter(f, mac), io.NewSectionReader(content, 0, maxBytes)); err != nil {
			return err
		}
		_, err := f.WriteAt(append([]byte(magic), mac.Sum(nil)...), 0)
		return err
	}, os.Rename)
	return errors.Join(err, c.evict())
}

// write makes a file whole or not at all. Place gives it its name, which another process may be doing as well.
func (c *Cache) write(name string, fill func(*os.File) error, place func(from, to string) error) error {
	f, err := os.CreateTemp(c.dir, "new-*")
	if err != nil {
		return err
	}
	if err := errors.Join(fill(f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return place(f.Name(), filepath.Join(c.dir, name))
}

func (c *Cache) mac(name string) hash.Hash {
	mac := hmac.New(sha256.New, c.key)
	_, _ = io.WriteString(mac, name+"\x00") // a hash takes everything
	return mac
}

func (c *Cache) path(name string) (string, error) {
	if name == "" || len(name) > 200 || strings.Trim(name, "0123456789abcdefghijklmnopqrstuvwxyz-") != "" {
		return "", fmt.Errorf("code cache: name %q", name)
	}
	return filepath.Join(c.dir, name+suffix), nil
}

// evict removes what was not used for longest, and what writers left behind that died long ago.
func (c *Cache) evict() error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	var files []fs.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // somebody else removed it
		}
		switch {
		case strings.HasSuffix(e.Name(), suffix):
			files = append(files, info)
		case strings.HasPrefix(e.Name(), "new-") && time.Since(info.ModTime()) > time.Hour:
			_ = os.Remove(filepath.Join(c.dir, e.Name()))
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	var sum int64
	for i, info := range files {
		if sum += info.Size(); i < maxFiles && sum <= maxBytes {
			continue
		}
		if err := os.Remove(filepath.Join(c.dir, info.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func newMemory() (*os.File, error) {
	fd, err := unix.MemfdCreate("code", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "code"), nil
}

const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL

func seal(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	return os.NewSyscallError("seal", err)
}
