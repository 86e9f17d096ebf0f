package replica

import (
	"compress/gzip"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/store/swift/ring"
)

const (
	body      = "hello, world"
	timestamp = "1795288276.12345"
)

var now = time.Unix(1795290000, 0)

// newNode makes a node that is one of two in its ring, and returns the directory of the object /a/c/o on it.
func newNode(t testing.TB) (*Node, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "object.ring.gz")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	head, _ := json.Marshal(map[string]any{"part_shift": 31, "replica_count": 2, "devs": []ring.Device{{ID: 0, IP: "10.0.0.1", Device: "d0"}, {ID: 1, IP: "10.0.0.2", Device: "d1"}}})
	z.Write(append(binary.BigEndian.AppendUint32([]byte("R1NG\x00\x01"), uint32(len(head))), head...))
	z.Write([]byte{0, 0, 0, 0, 1, 0, 1, 0})
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := ring.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{Devices: t.TempDir(), Addresses: []string{"10.0.0.2"}, Conf: &ring.Conf{Suffix: []byte("x")}, Ring: r, Policy: ring.Policy{Index: 2, Type: "replication"}}
	hash := n.Conf.Hash("a", "c", "o")
	h := hex.EncodeToString(hash[:])
	dir := filepath.Join(n.Devices, "d1", "objects-2", fmt.Sprint(r.Partition(hash)), h[len(h)-3:], h)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return n, dir
}

// lay writes a file with metadata, in attributes of 100 bytes.
func lay(t testing.TB, dir, name, text string, meta map[string]string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p := pickle(meta)
	sum := md5.Sum(p)
	attributes := map[string][]byte{checksum: []byte(hex.EncodeToString(sum[:]))}
	for i := 0; len(p) > 0; i++ {
		key, n := xattr, min(100, len(p))
		if i > 0 {
			key += fmt.Sprint(i)
		}
		attributes[key], p = p[:n], p[n:]
	}
	for key, value := range attributes {
		if err := unix.Setxattr(file, key, value, 0); err != nil {
			t.Skipf("no extended attributes here: %v", err)
		}
	}
}

func etagOf(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

// usual returns the metadata of the object, and some more.
func usual(more ...string) map[string]string {
	m := map[string]string{"name": "/a/c/o", "Content-Length": fmt.Sprint(len(body)), "ETag": etagOf(body), "X-Timestamp": timestamp, "Content-Type": "text/plain", "X-Object-Meta-Color": "blue"}
	for i := 0; i < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return m
}

func TestOpen(t *testing.T) {
	n, dir := newNode(t)
	lay(t, dir, timestamp+".data", body, usual("X-Delete-At", "1795290001", "X-Static-Large-Object", "False"))
	f, err := n.open("a", "c", "o", etagOf(body), now)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil || string(got) != body || f.Size != int64(len(body)) || f.ETag != etagOf(body) {
		t.Errorf("got %q of %d bytes, %s, %v", got, f.Size, f.ETag, err)
	}
}

// Metadata that were changed later leave the data what they are.
func TestChangedMetadata(t *testing.T) {
	n, dir := newNode(t)
	lay(t, dir, timestamp+".data", body, usual())
	lay(t, dir, "1795288277.00000.meta", "", map[string]string{"name": "/a/c/o", "X-Timestamp": "1795288277.00000", "X-Object-Meta-Color": "red"})
	lay(t, dir, "1795288277.00000+a.meta", "", map[string]string{"name": "/a/c/o", "Content-Type": "text/html"})
	f, err := n.open("a", "c", "o", etagOf(body), now)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || string(got) != body {
		t.Errorf("got %q, %v", got, err)
	}
}

// Each case in which a file is not the object is told, and which it is.
func TestReasons(t *testing.T) {
	data := timestamp + ".data"
	tests := []struct {
		name string
		lay  func(t *testing.T, n *Node, dir string)
		want Reason
	}{
		{"no directory", func(t *testing.T, _ *Node, dir string) { os.Remove(dir) }, NotHere},
		{"on another node", func(t *testing.T, n *Node, dir string) {
			lay(t, dir, data, body, usual())
			n.Addresses = []string{"10.0.0.9"}
		}, NotHere},
		{"deleted", func(t *testing.T, _ *Node, dir string) { lay(t, dir, timestamp+".ts", "", usual()) }, NotHere},
		{"deleted, not cleaned up", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, data, body, usual())
			lay(t, dir, "1795288277.00000.ts", "", usual())
		}, Unclear},
		{"expiry changed later", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, data, body, usual())
			lay(t, dir, "1795288277.00000.meta", "", usual("X-Delete-At", "1"))
		}, Expired},
		{"made a large object later", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, data, body, usual())
			lay(t, dir, "1795288277.00000.meta", "", usual("X-Object-Manifest", "c/p"))
		}, Manifest},
		{"metadata of another changed later", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, data, body, usual())
			lay(t, dir, "1795288277.00000.meta", "", usual("name", "/a/c/p"))
		}, Damaged},
		{"no metadata changed later", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, data, body, usual())
			os.WriteFile(filepath.Join(dir, "1795288277.00000.meta"), nil, 0o644)
		}, Damaged},
		{"deleted, with metadata", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, "1795288277.00000.ts", "", usual())
			lay(t, dir, timestamp+".meta", "", usual())
		}, Unclear},
		{"two versions", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, data, body, usual())
			lay(t, dir, "1795288277.00000.data", body, usual())
		}, Unclear},
		{"metadata alone", func(t *testing.T, _ *Node, dir string) { lay(t, dir, timestamp+".meta", "", usual()) }, Unclear},
		{"fragment by name", func(t *testing.T, _ *Node, dir string) { lay(t, dir, timestamp+"#3#d.data", body, usual()) }, ErasureCoded},
		{"fragment by metadata", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, data, body, usual("X-Object-Sysmeta-Ec-Frag-Index", "3"))
		}, ErasureCoded},
		{"erasure-coded policy", func(t *testing.T, n *Node, dir string) {
			lay(t, dir, data, body, usual())
			n.Policy.Type = "erasure_coding"
		}, ErasureCoded},
		{"static large object", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, data, body, usual("X-Static-Large-Object", "True"))
		}, Manifest},
		{"static large object by system metadata", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, data, body, usual("X-Object-Sysmeta-Slo-Etag", "x"))
		}, Manifest},
		{"dynamic large object", func(t *testing.T, _ *Node, dir string) { lay(t, dir, data, body, usual("X-Object-Manifest", "c/p")) }, Manifest},
		{"link", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, data, body, usual("X-Object-Sysmeta-Symlink-Target", "c/o2"))
		}, Link},
		{"encrypted", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, data, body, usual("X-Object-Sysmeta-Crypto-Body-Meta", "{}"))
		}, Encrypted},
		{"encrypted metadata", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, data, body, usual("X-Object-Transient-Sysmeta-Crypto-Meta", "{}"))
		}, Encrypted},
		{"expired", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, data, body, usual("X-Delete-At", fmt.Sprint(now.Unix())))
		}, Expired},
		{"expires at nonsense", func(t *testing.T, _ *Node, dir string) { lay(t, dir, data, body, usual("X-Delete-At", "soon")) }, Expired},
		{"another version", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, data, "other", usual("Content-Length", "5", "ETag", etagOf("other")))
		}, OtherVersion},
		{"cut short", func(t *testing.T, _ *Node, dir string) { lay(t, dir, data, body[:5], usual()) }, Damaged},
		{"another name", func(t *testing.T, _ *Node, dir string) { lay(t, dir, data, body, usual("name", "/a/c/p")) }, Damaged},
		{"another time", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, data, body, usual("X-Timestamp", "1795288270.00000"))
		}, Damaged},
		{"no ETag", func(t *testing.T, _ *Node, dir string) { lay(t, dir, data, body, usual("ETag", "")) }, Damaged},
		{"wrong checksum", func(t *testing.T, _ *Node, dir string) {
			lay(t, dir, data, body, usual())
			unix.Setxattr(filepath.Join(dir, data), xattr, []byte("\x80\x02}."), 0)
		}, Damaged},
		{"no metadata", func(t *testing.T, _ *Node, dir string) { os.WriteFile(filepath.Join(dir, data), []byte(body), 0o644) }, Damaged},
		{"a directory", func(t *testing.T, _ *Node, dir string) { os.Mkdir(filepath.Join(dir, data), 0o755) }, Damaged},
		{"a pipe", func(t *testing.T, _ *Node, dir string) { unix.Mkfifo(filepath.Join(dir, data), 0o644) }, Damaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, dir := newNode(t)
			tt.lay(t, n, dir)
			f, err := n.open("a", "c", "o", etagOf(body), now)
			if r, ok := errors.AsType[Reason](err); !ok || r != tt.want {
				t.Errorf("got %v, %v, want %q", f, err, tt.want)
			}
		})
	}
}

// A symbolic link in place of the file is not followed; a system that fails is no reason.
func TestLinkOnDisk(t *testing.T) {
	n, dir := newNode(t)
	lay(t, n.Devices, "elsewhere", body, usual())
	if err := os.Symlink(filepath.Join(n.Devices, "elsewhere"), filepath.Join(dir, timestamp+".data")); err != nil {
		t.Fatal(err)
	}
	_, err := n.open("a", "c", "o", etagOf(body), now)
	if _, reason := errors.AsType[Reason](err); err == nil || reason {
		t.Errorf("got %v, want an error of the system", err)
	}
}

// Files left in the directory in great number are not all read.
func TestManyFiles(t *testing.T) {
	n, dir := newNode(t)
	for i := range 50 {
		lay(t, dir, fmt.Sprintf("%d.data", i), "", usual())
	}
	if _, err := n.open("a", "c", "o", etagOf(body), now); err != Unclear {
		t.Errorf("got %v, want %v", err, Unclear)
	}
}

func BenchmarkOpen(b *testing.B) {
	n, dir := newNode(b)
	lay(b, dir, timestamp+".data", body, usual())
	b.ReportAllocs()
	for b.Loop() {
		f, err := n.open("a", "c", "o", etagOf(body), now)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}
