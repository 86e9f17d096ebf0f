//go:build linux

package file

import (
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/store"
)

// staging is where pending objects lie, below the root.
const staging = "_millrace/staging"

// checkKey says whether a file can lie under key.
func checkKey(key store.Key) error {
	if err := key.Check(); err != nil {
		return err
	}
	if !cleanPath(string(key)) {
		return fmt.Errorf("%w: it is not a clean relative path", store.ErrKey)
	}
	return nil
}

// cleanPath reports whether path is one that a listing could show: clean, relative, and outside of every staging directory.
func cleanPath(path string) bool {
	last := ""
	for rest, more := path, true; more; {
		var seg string
		seg, rest, more = strings.Cut(rest, "/")
		if seg == "" || seg == "." || seg == ".." || len(seg) > 255 || strings.IndexByte(seg, 0) >= 0 {
			return false
		}
		if seg == "staging" && last == "_millrace" {
			return false
		}
		last = seg
	}
	return true
}

// resolve keeps every resolution beneath the directory it begins at, and away from symbolic links.
const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// openBeneath opens path, clean and relative ("" means dir itself), beneath dir. It allocates nothing.
func openBeneath(dir int, path string, flags int) (int, error) {
	var name [store.MaxKey + 1]byte
	if len(path) >= len(name) {
		return -1, unix.ENAMETOOLONG
	}
	copy(name[:], path)
	if path == "" {
		name[0] = '.'
	}
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW), Resolve: resolve}
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT2, uintptr(dir), uintptr(unsafe.Pointer(&name[0])),
			uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR, unix.EAGAIN: // EAGAIN: a rename crossed the resolution
		case unix.ENOSYS, unix.EPERM: // an old kernel, or a container's filter
			return openSteps(dir, path, flags)
		default:
			return -1, errno
		}
	}
}

// openSteps does what openBeneath does, one segment at a time.
func openSteps(dir int, path string, flags int) (int, error) {
	at, owned := dir, false
	if path == "" {
		path = "."
	}
	for {
		seg, rest, more := strings.Cut(path, "/")
		f := flags
		if more {
			f = unix.O_PATH | unix.O_DIRECTORY
		}
		fd, err := retry(func() (int, error) { return unix.Openat(at, seg, f|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0) })
		if owned {
			unix.Close(at)
		}
		if err != nil || !more {
			return fd, err
		}
		at, owned, path = fd, true, rest
	}
}

// retry calls f until it is not interrupted.
func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// absent reports whether err, from resolving a path, says that no object is there: a segment is missing, is not a
// directory, is a symbolic link, or cannot be a name.
func absent(err error) bool {
	switch err {
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENAMETOOLONG, unix.EXDEV, unix.ENXIO:
		return true
	}
	return false
}

// split returns the directory and the name of a clean path.
func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}
