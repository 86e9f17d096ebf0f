package plan

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// everywhere says that objects lie on one node or two, by their names.
type everywhere struct{}

func (everywhere) Locate(_ context.Context, keys []store.Key, nodes [][]string) error {
	for i, k := range keys {
		nodes[i] = []string{fmt.Sprint("n", len(k)%3), fmt.Sprint("m", k[len(k)-1]%2)}
	}
	return nil
}

// What Load returns is what Build announced, from either kind of area.
func TestLoad(t *testing.T) {
	in := mails(5000)
	for name, area := range map[string]Area{"dir": NewDirArea(t.TempDir()), "bucket": BucketArea(in, "work/")} {
		splits, _, sum, err := build(t.Context(), area, []Input{{uri("s3://b/mail/"), in}}, &Options{Split: 7, Locators: []Locator{everywhere{}}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := Load(t.Context(), area, sum.Digest)
		if err != nil || len(got) < 700 || !reflect.DeepEqual(got, splits) {
			t.Errorf("%s: got %d splits, want the %d announced; %v", name, len(got), len(splits), err)
		}
		if _, err := Load(t.Context(), area, strings.Repeat("0", 64)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: another plan: got %v", name, err)
		}
	}
	if _, err := Load(t.Context(), NewDirArea(t.TempDir()), "d"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("not sealed: got %v", err)
	}
	area := NewDirArea(t.TempDir())
	_, _, sum, err := build(t.Context(), area, []Input{{uri("s3://b/none/"), in}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Load(t.Context(), area, sum.Digest); err != nil || len(got) != 0 {
		t.Errorf("empty: got %v, %v", got, err)
	}
}

func testIndex(splits int) ([]byte, string) {
	var x index
	for i := range splits {
		x.add(&job.Split{
			Shard: fmt.Sprint("plan-", i/3), Offset: int64(i), Length: 99, Objects: 1 + i%9, Bytes: int64(i) << 10,
			Nodes: []string{fmt.Sprint("node-", i%5)},
		})
	}
	digest := [32]byte{1, 2, 3}
	b, err := x.seal(digest[:])
	if err != nil {
		panic(err)
	}
	return b, fmt.Sprintf("%x", digest)
}

// No byte of an index can change without notice.
func TestIndexIsChecked(t *testing.T) {
	b, digest := testIndex(20)
	if _, err := parseIndex(b, digest); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		bad := append([]byte(nil), b...)
		bad[i] ^= 0x10
		if _, err := parseIndex(bad, digest); !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d of %d changed: got %v", i, len(b), err)
		}
		if _, err := parseIndex(b[:i], digest); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes of %d: got %v", i, len(b), err)
		}
	}
}

// A million splits are loaded well within the time in which a coordinator has to be back.
func TestLoadMany(t *testing.T) {
	const many = 1_000_000
	b, digest := testIndex(many)
	began := time.Now()
	splits, err := parseIndex(b, digest)
	if err != nil || len(splits) != many || splits[many-1].Bytes != (many-1)<<10 {
		t.Fatalf("got %d splits, %v", len(splits), err)
	}
	t.Logf("%d bytes, in %v", len(b), time.Since(began))
}

func FuzzHeaders(f *testing.F) {
	var x index
	x.add(&job.Split{Shard: "plan-00000", Length: 40, Objects: 2, Bytes: 9, Nodes: []string{"a", "b"}})
	x.add(&job.Split{Shard: "plan-00000", Offset: 40, Length: 40, Objects: 2, Nodes: []string{"b"}})
	f.Add(x.raw, 2)
	f.Fuzz(func(t *testing.T, raw []byte, count int) {
		if count < 0 || 6*count > len(raw) {
			return
		}
		splits, err := parseHeaders(raw, count)
		if err != nil {
			return
		}
		var x index
		for i := range splits {
			x.add(&splits[i])
		}
		again, err := parseHeaders(x.raw, count)
		if err != nil || !reflect.DeepEqual(again, splits) {
			t.Errorf("got %+v, want %+v; %v", again, splits, err)
		}
	})
}
