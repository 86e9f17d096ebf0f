// Package replica reads objects of Swift from the disks of a node that holds them, past its servers: where a file is the object. Where it is not, or
// where that is not certain, it says why, and the object is to be had from a proxy.
//
// An object lies in DEVICES/DEVICE/objects[-POLICY]/PARTITION/SUFFIX/HASH/ as a file TIMESTAMP.data. Its metadata are a pickle in the extended attributes
// user.swift.metadata, user.swift.metadata1 and so on, whose MD5 may be in user.swift.metadata_checksum. Metadata that were changed later are those of files
// TIMESTAMP.meta beside it.
package replica

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/store/swift/ring"
)

// A Reason says why a file on this node is not the object.
type Reason string

func (r Reason) Error() string { return "not read from this node's disk: " + string(r) }

// The reasons.
const (
	NotHere      Reason = "it does not lie here"
	Unclear      Reason = "more than one file" // a tombstone, versions not cleaned up yet
	ErasureCoded Reason = "its policy is erasure-coded"
	Manifest     Reason = "it is a large object"
	Link         Reason = "it is a symbolic link"
	Encrypted    Reason = "it is encrypted"
	Expired      Reason = "it has expired"
	OtherVersion Reason = "another version lies here"
	Damaged      Reason = "its file or metadata are damaged"
)

// A Node is what lies on this machine of the objects of one policy. Its fields do not change.
type Node struct {
	Devices   string   // the directory of the devices
	Addresses []string // by which the ring knows this node
	Conf      *ring.Conf
	Ring      *ring.Ring
	Policy    ring.Policy
}

// A File is the open file of an object, positioned at its beginning. It belongs to the caller. The file does not change, but may have rotted: ETag is the
// MD5 of what was written to it.
type File struct {
	*os.File
	Size int64
	ETag string
}

// Open opens the object as it was at etag. Its error is a Reason, unless the system failed otherwise.
func (n *Node) Open(account, container, object, etag string) (*File, error) {
	return n.open(account, container, object, etag, time.Now())
}

func (n *Node) open(account, container, object, etag string, now time.Time) (*File, error) {
	if n.Policy.Type != "replication" {
		return nil, ErasureCoded
	}
	hash := n.Conf.Hash(account, container, object)
	partition := n.Ring.Partition(hash)
	name := hex.EncodeToString(hash[:])
	top := "objects"
	if n.Policy.Index > 0 {
		top += "-" + strconv.Itoa(n.Policy.Index)
	}
	err := error(NotHere)
	for _, d := range n.Ring.Replicas(nil, partition) {
		if !slices.Contains(n.Addresses, d.IP) || !filepath.IsLocal(d.Device) {
			continue
		}
		dir := filepath.Join(n.Devices, d.Device, top, strconv.FormatUint(uint64(partition), 10), name[len(name)-3:], name)
		var f *File
		if f, err = openIn(dir, "/"+account+"/"+container+"/"+object, etag, now); err == nil {
			return f, nil
		}
	}
	return nil, err
}

// openIn opens the object of that path in its directory.
func openIn(dir, path, etag string, now time.Time) (*File, error) {
	names, err := readDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, NotHere
	}
	if err != nil {
		return nil, err
	}
	timestamp, changes, err := only(names)
	if err != nil {
		return nil, err
	}
	for _, name := range changes {
		if err := checkChange(filepath.Join(dir, name), path, now); err != nil {
			return nil, err
		}
	}
	fd, err := unix.Open(filepath.Join(dir, timestamp+".data"), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, Unclear // it was replaced this moment
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	f := &File{File: os.NewFile(uintptr(fd), filepath.Join(dir, timestamp+".data"))}
	if err := f.check(fd, timestamp, path, etag, now); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// maxNames bounds what is read of a directory: there are one or two files in it.
const maxNames = 16

func readDir(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(maxNames)
}

// only returns the timestamp of the only file that holds an object's data, and the files that hold changes of its metadata.
func only(names []string) (timestamp string, changes []string, err error) {
	for _, name := range names {
		stamp, data := strings.CutSuffix(name, ".data")
		switch {
		case strings.HasSuffix(name, ".meta"):
			changes = append(changes, name)
		case strings.Contains(name, "#"):
			return "", nil, ErasureCoded
		case strings.HasSuffix(name, ".ts") && len(names) == 1:
			return "", nil, NotHere
		case !data || timestamp != "":
			return "", nil, Unclear
		default:
			timestamp = stamp
		}
	}
	if timestamp == "" {
		return "", nil, Unclear
	}
	return timestamp, changes, nil
}

// checkChange checks metadata that were changed after the data were written.
func checkChange(name, path string, now time.Time) error {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) {
		return Unclear // it was replaced this moment
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer unix.Close(fd)
	meta, err := metadata(fd)
	if err != nil {
		return err
	}
	if meta["name"] != path {
		return Damaged
	}
	return plain(meta, now)
}

// plain says by its metadata why an object is not what lies in its file.
func plain(meta map[string]string, now time.Time) error {
	for key, value := range meta {
		lower := strings.ToLower(key)
		switch {
		case lower == "x-static-large-object" && !strings.EqualFold(value, "false") && value != "", lower == "x-object-manifest" && value != "",
			strings.HasPrefix(lower, "x-object-sysmeta-slo-"):
			return Manifest
		case strings.HasPrefix(lower, "x-object-sysmeta-symlink-target"):
			return Link
		case strings.HasPrefix(lower, "x-object-sysmeta-ec-"):
			return ErasureCoded
		case strings.Contains(lower, "sysmeta-crypto-"), strings.HasPrefix(lower, "x-object-sysmeta-container-update-override-etag") && strings.Contains(value, "swift_meta"):
			return Encrypted
		case lower == "x-delete-at":
			if at, err := strconv.ParseInt(value, 10, 64); err != nil || at <= now.Unix() {
				return Expired
			}
		}
	}
	return nil
}

// check fills in f, whose descriptor is fd, if it is the object.
func (f *File) check(fd int, timestamp, path, etag string, now time.Time) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return Damaged
	}
	meta, err := metadata(fd)
	if err != nil {
		return err
	}
	if err := plain(meta, now); err != nil {
		return err
	}
	size, err := strconv.ParseInt(meta["Content-Length"], 10, 64)
	if err != nil || size != st.Size || meta["name"] != path || meta["X-Timestamp"] != timestamp || len(meta["ETag"]) != 2*md5.Size {
		return Damaged
	}
	if meta["ETag"] != etag {
		return OtherVersion
	}
	f.Size, f.ETag = size, etag
	return nil
}

const (
	xattr    = "user.swift.metadata"
	checksum = "user.swift.metadata_checksum"
	maxXattr = 64 << 10
)

// metadata reads the metadata of a file.
func metadata(fd int) (map[string]string, error) {
	var pickle []byte
	buf := make([]byte, maxXattr)
	for i := 0; ; i++ {
		name := xattr
		if i > 0 {
			name += strconv.Itoa(i)
		}
		n, err := unix.Fgetxattr(fd, name, buf)
		if errors.Is(err, unix.ENODATA) && i > 0 {
			break
		}
		if err != nil || len(pickle)+n > maxPickle {
			return nil, Damaged
		}
		pickle = append(pickle, buf[:n]...)
	}
	if n, err := unix.Fgetxattr(fd, checksum, buf); err == nil {
		sum := md5.Sum(pickle)
		if string(buf[:n]) != hex.EncodeToString(sum[:]) {
			return nil, Damaged
		}
	}
	meta, err := decode(pickle)
	if err != nil {
		return nil, Damaged
	}
	return meta, nil
}
