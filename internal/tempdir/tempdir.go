// Package tempdir makes temporary directories that do not outlive their process for long, however that ends: each is locked while somebody has
// it, and whoever makes another removes those of the same kind that nobody has.
package tempdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A Dir is a temporary directory that only this user may enter.
type Dir struct {
	Path string
	lock *os.File
}

// New makes a directory in os.TempDir whose name begins with prefix. Its directories must not be made by anybody else: what a dead process has left
// under a name with this prefix is removed. The caller closes it.
func New(prefix string) (*Dir, error) {
	sweep(filepath.Join(os.TempDir(), prefix+"*"))
	for {
		path, err := os.MkdirTemp("", prefix)
		if err != nil {
			return nil, err
		}
		lock, err := hold(path)
		if err == nil {
			return &Dir{path, lock}, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(err, os.RemoveAll(path))
		}
		// Somebody took it for one that nobody has, before it was locked.
	}
}

// Close removes the directory with all that it holds.
func (d *Dir) Close() error { return errors.Join(os.RemoveAll(d.Path), d.lock.Close()) }

// hold locks a directory. It returns fs.ErrNotExist if that is gone, and unix.EWOULDBLOCK if somebody has it.
func hold(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var there os.FileInfo
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		there, err = os.Lstat(path)
	}
	if err == nil {
		var locked os.FileInfo
		if locked, err = f.Stat(); err == nil && !os.SameFile(there, locked) {
			err = fs.ErrNotExist
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sweep removes the directories that nobody has. What cannot be removed stays.
func sweep(pattern string) {
	dirs, _ := filepath.Glob(pattern)
	for _, dir := range dirs {
		lock, err := hold(dir)
		if err != nil {
			continue
		}
		_ = os.RemoveAll(dir)
		_ = lock.Close()
	}
}
