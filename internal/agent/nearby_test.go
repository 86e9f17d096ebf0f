package agent

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/locate"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A disk has some objects of a bucket as files.
type disk struct {
	dir string
	not func(store.Key) bool // these it has not
}

func (d *disk) Open(o store.Object) (*os.File, error) {
	if d.not(o.Key) {
		return nil, errors.New("not here")
	}
	return os.Open(filepath.Join(d.dir, filepath.Base(string(o.Key))))
}

// Objects are read from the node's disks where they lie there, small ones and large ones, and from the store where they do not, or where a disk breaks off.
func TestDisks(t *testing.T) {
	sizes := []int{100, 0, 100, 3 << 20, 3 << 20, 100, 3 << 20, 100}
	body := func(i int) string { return strings.Repeat(fmt.Sprint(i), sizes[i]) }
	const short, shortLarge = 5, 6
	d := &disk{dir: t.TempDir(), not: func(k store.Key) bool { return k == objectKey(2) || k == objectKey(4) }}
	for i := range sizes {
		text := body(i)
		if i == short || i == shortLarge {
			text = text[:len(text)/2]
		}
		if err := os.WriteFile(filepath.Join(d.dir, filepath.Base(string(objectKey(i)))), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, readers := range []int{0, 4} {
		l := newLab(t, len(sizes), body)
		l.disks = []locate.Disk{d}
		l.scheme = "s3"
		l.open(t, sums(), readers)
		l.splits[0].Nodes, l.splits[1].Nodes = []string{"m", "n"}, []string{"m"}
		for _, s := range l.splits {
			l.lease(1, s.Task, 0)
		}
		l.work(t)
		if len(l.commits) != len(l.splits) {
			t.Fatalf("%d commits of %d splits, failures %+v", len(l.commits), len(l.splits), l.failures)
		}
		got, want := "", ""
		var read job.Reading
		for _, c := range l.commits {
			got += l.text(t, c.Result.Part)
			read = read.Plus(c.Result.Counters.Input, 1)
		}
		for i := range sizes {
			want += sum(fmt.Sprintf("%04d", i), int64(len(body(i))), crc32.ChecksumIEEE([]byte(body(i)))) + "\n"
		}
		if got != want {
			t.Errorf("%d readers: got\n%swant\n%s", readers, got, want)
		}
		half := int64(sizes[shortLarge] / 2)
		if want := (job.Reading{
			Local: 4, LocalBytes: 200 + 3<<20 + half, Remote: 4, RemoteBytes: 200 + 6<<20 - half, Placed: 2, Near: 1,
		}); read != want {
			t.Errorf("%d readers: got %+v, want %+v", readers, read, want)
		}
	}
}
