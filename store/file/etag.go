//go:build linux

package file

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/store"
)

// appendETag appends the ETag of the version that st describes: inode, size, modification and change time, in base 36.
func appendETag(dst []byte, st *unix.Stat_t) []byte {
	dst = appendContent(dst, st)
	dst = append(dst, '-')
	return strconv.AppendInt(dst, st.Ctim.Nano(), 36)
}

// appendContent appends the part of an ETag that a rename keeps: without the change time.
func appendContent(dst []byte, st *unix.Stat_t) []byte {
	dst = strconv.AppendUint(dst, st.Ino, 36)
	dst = append(dst, '-')
	dst = strconv.AppendInt(dst, st.Size, 36)
	dst = append(dst, '-')
	return strconv.AppendInt(dst, st.Mtim.Nano(), 36)
}

// maxETag is the length of the longest ETag.
const maxETag = 4*13 + 3 + 2

func hasETag(st *unix.Stat_t, etag string) bool {
	var buf [maxETag]byte
	return string(appendETag(buf[:0], st)) == etag
}

// sameContent reports whether two states of one inode have the same content, by size and modification time. (The
// change time also moves when the last name of an inode goes, which alters no byte of it.)
func sameContent(a, b *unix.Stat_t) bool {
	return a.Size == b.Size && a.Mtim == b.Mtim
}

func isRegular(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFREG }

func object(key store.Key, st *unix.Stat_t) store.Object {
	return store.Object{Key: key, Size: st.Size, ETag: string(appendETag(make([]byte, 0, maxETag), st)), Modified: time.Unix(st.Mtim.Unix())}
}
