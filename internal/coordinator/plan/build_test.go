package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func keys(objects []Object) string {
	var s []string
	for _, o := range objects {
		s = append(s, fmt.Sprintf("%d:%s", o.Input, o.Key))
	}
	return strings.Join(s, " ")
}

func TestFilters(t *testing.T) {
	archived := object("m/d.eml", 5)
	archived.Archived = true
	old := object("m/old.eml", 5)
	old.Modified = day.Add(-time.Hour)
	in := &listing{objects: []store.Object{
		object("_millrace/claim-1.json", 9), object("m/", 0), object("m/_failed/part-00000.jsonl", 4),
		object("m/_failed/x.eml", 4), object("m/_manifest.json", 7), object("m/a.eml", 1), object("m/b.txt", 2),
		object("m/c/", 0), object("m/c/_millrace/plan/plan-00000", 3), object("m/c/e.eml", 3), archived, object("m/e_/", 8),
		object("m/f_empty", 0), old, object("n.eml", 3),
	}}
	tests := []struct {
		name, uri string
		o         Options
		want      string
		filtered  int64
	}{
		{"all", "s3://b", Options{}, "0:m/_failed/x.eml 0:m/a.eml 0:m/b.txt 0:m/c/e.eml 0:m/e_/ 0:m/f_empty 0:m/old.eml 0:n.eml", 4},
		{"prefix", "s3://b/m/c/", Options{}, "0:m/c/e.eml", 1},
		{"half a name", "s3://b/m/c", Options{}, "0:m/c/e.eml", 1},
		{"failed lists asked for", "s3://b/m/_failed/", Options{}, "0:m/_failed/part-00000.jsonl 0:m/_failed/x.eml", 0},
		{"work files asked for", "s3://b/m/c/_millrace/", Options{}, "", 1},
		{"manifest asked for", "s3://b/m/_manifest.json", Options{}, "", 1},
		{"glob of the URI", "s3://b/m/*.eml", Options{}, "0:m/a.eml 0:m/old.eml", 10},
		{"include by last segment", "s3://b/m/", Options{Include: []string{"*.eml"}}, "0:m/_failed/x.eml 0:m/a.eml 0:m/c/e.eml 0:m/old.eml", 8},
		{"include below the input", "s3://b/m/", Options{Include: []string{"c/*", "b.*"}}, "0:m/b.txt 0:m/c/e.eml", 10},
		{"exclude wins", "s3://b/m/", Options{Include: []string{"*.eml"}, Exclude: []string{"c/**", "x*"}}, "0:m/a.eml 0:m/old.eml", 10},
		{"since", "s3://b/m/", Options{ModifiedSince: day, Include: []string{"a.eml", "old.eml"}}, "0:m/a.eml", 12},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, objects, sum, err := build(t.Context(), NewDirArea(t.TempDir()), []Input{{uri(tt.uri), in}}, &tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if got := keys(objects); got != tt.want {
				t.Errorf("got objects %s\nwant %s", got, tt.want)
			}
			if sum.Filtered != tt.filtered {
				t.Errorf("got %d filtered, want %d", sum.Filtered, tt.filtered)
			}
		})
	}
}

func TestSummary(t *testing.T) {
	a := &listing{}
	for i := range 150 {
		a.objects = append(a.objects, object(fmt.Sprintf("a/%03d/", i), 0))
	}
	cold := object("b/cold", 77)
	cold.Archived = true
	a.objects = append(a.objects, cold, object("b/x", 10), object("b/y", 30))
	inputs := []Input{{uri("s3://b/b/"), a}, {uri("s3://b/none/"), a}, {uri("s3://b/a/"), a}}
	_, _, sum, err := build(t.Context(), BucketArea(a, "out/_millrace/plan/"), inputs, &Options{Reducers: 8, Output: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(sum.Skipped) != maxSkipped || sum.Skipped[0] != (Name{0, "b/cold"}) || sum.Skipped[1] != (Name{2, "a/000/"}) {
		t.Errorf("got %d skipped, first %v", len(sum.Skipped), sum.Skipped[:2])
	}
	got := *sum
	got.Skipped, got.Digest = nil, ""
	want := Summary{Objects: 2, Bytes: 40, Archived: 1, Markers: 150, Splits: 1, Largest: 30, Reducers: 8,
		Requests: 3*2 + 2 + 5*8 + 10, Empty: []int{1, 2}}
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Errorf("got  %s\nwant %s", g, w)
	}
	if len(sum.Digest) != 64 {
		t.Errorf("got digest %q", sum.Digest)
	}
}

func TestManifestIsRead(t *testing.T) {
	b := &listing{objects: []store.Object{object("out/part-00000", 99), object("out/stray", 1)}}
	m := job.Manifest{Version: 1, Job: "4f1c", Created: day, Parts: []job.Part{
		{Key: "part-00001", Size: 20, ETag: "two"}, {Key: "part-00000", Size: 10, ETag: "one"}}}
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), "out/_manifest.json", body); err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{"s3://b/out/", "s3://b/out"} {
		_, objects, sum, err := build(t.Context(), NewDirArea(t.TempDir()), []Input{{uri(in), b}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := []Object{{0, "out/part-00000", 10, "one", day}, {0, "out/part-00001", 20, "two", day}}
		if fmt.Sprint(objects) != fmt.Sprint(want) || sum.Requests != 3 {
			t.Errorf("%s: got %v and %d requests, want %v and 3", in, objects, sum.Requests, want)
		}
	}
	for _, tt := range []struct{ body, want, err string }{
		{`{"version":1,"other":true}`, "0:out/part-00000 0:out/stray", ""},
		{`not JSON`, "0:out/part-00000 0:out/stray", ""},
		{`{"version":2,"job":"x"}`, "", "list: s3://b/out/_manifest.json: manifest of version 2, known is 1"},
		{`{"version":1,"job":"x","parts":[{"key":"p","size":1}]}`, "", `list: s3://b/out/_manifest.json: part "p" without a key, an ETag or a size`},
	} {
		b.put["out/_manifest.json"] = []byte(tt.body)
		_, objects, _, err := build(t.Context(), NewDirArea(t.TempDir()), []Input{{uri("s3://b/out/"), b}}, nil)
		if got := keys(objects); got != tt.want || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("%s: got %q, %v, want %q, %s", tt.body, got, err, tt.want, tt.err)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	tests := []struct {
		name    string
		uris    []string
		objects []store.Object
		o       Options
		want    string
	}{
		{"the same input twice", []string{"s3://b/x/", "s3://b/y/", "s3://b/x/"}, nil, Options{}, "plan: input s3://b/x/ is given twice"},
		{"keys out of order", []string{"s3://b"}, []store.Object{object("b", 1), object("a", 1)}, Options{},
			`list: s3://b/a: listing is inconsistent: it follows "b"`},
		{"a key twice", []string{"s3://b"}, []store.Object{object("a", 1), object("a", 1)}, Options{},
			`list: s3://b/a: listing is inconsistent: it follows "a"`},
		{"a negative size", []string{"s3://b"}, []store.Object{object("a", -1)}, Options{}, "list: s3://b/a: size of -1 bytes"},
		{"a bad glob", []string{"s3://b"}, nil, Options{Include: []string{"[a"}}, "list: include: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var inputs []Input
			for _, u := range tt.uris {
				inputs = append(inputs, Input{uri(u), &listing{objects: tt.objects}})
			}
			_, _, _, err := build(t.Context(), NewDirArea(t.TempDir()), inputs, &tt.o)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got error %v, want %s", err, tt.want)
			}
			var je *job.Error
			if !errors.As(err, &je) {
				t.Errorf("got a %T, want a *job.Error", err)
			}
		})
	}
}

func sortObjects(objects []store.Object) {
	slices.SortFunc(objects, func(a, b store.Object) int { return strings.Compare(string(a.Key), string(b.Key)) })
}

func mails(n int) *listing {
	l := &listing{objects: make([]store.Object, n)}
	for i := range l.objects {
		l.objects[i] = store.Object{
			Key:      store.Key(fmt.Sprintf("mail/2026/%02d/%02d/%016x.eml", i/20000, i/700%28, i*2654435761)),
			Size:     int64(2000 + i%9000),
			ETag:     fmt.Sprintf("%032x", uint64(i)*0x9E3779B97F4A7C15),
			Modified: day.Add(time.Duration(i) * time.Second),
		}
	}
	// Order within a day follows from the numbers above only by chance.
	sortObjects(l.objects)
	return l
}

func TestSplits(t *testing.T) {
	all := 200_000
	if testing.Short() {
		all = 30_000
	}
	in := mails(all)
	in.objects[1000].Size = 70 << 20
	inputs := []Input{{uri("s3://b/mail/"), in}}
	dir, bucket := NewDirArea(t.TempDir()), BucketArea(in, "work/")
	defer dir.Close()
	splits, objects, sum, err := build(t.Context(), dir, inputs, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range objects {
		w := in.objects[i]
		if o.Key != w.Key || o.Size != w.Size || o.ETag != w.ETag || !o.Modified.Equal(w.Modified) {
			t.Fatalf("object %d: got %v, want %v", i, o, w)
		}
	}
	if len(objects) != len(in.objects) {
		t.Fatalf("got %d objects, want %d", len(objects), len(in.objects))
	}
	big := 0
	for i, s := range splits {
		if s.Task != job.MapTask(i) || s.Objects > MaxObjects || s.Bytes > MaxBytes && s.Objects > 1 {
			t.Errorf("split %d is %+v", i, s)
		}
		if s.Bytes > MaxBytes {
			big++
		}
	}
	if big != 1 || splits[0].Objects != leastObjects || len(splits) > 120 || sum.Splits != len(splits) {
		t.Errorf("got %d large splits, %d objects in the first, %d splits in all", big, splits[0].Objects, len(splits))
	}

	// Where blocks lie changes neither cut nor digest; another list or another input changes the digest.
	again, _, sum2, err := build(t.Context(), bucket, inputs, nil)
	if err != nil {
		t.Fatal(err)
	}
	if sum2.Digest != sum.Digest || len(again) != len(splits) {
		t.Errorf("got digest %s of %d splits, want %s of %d", sum2.Digest, len(again), sum.Digest, len(splits))
	}
	in.objects[77].ETag = "changed"
	_, _, sum3, err := build(t.Context(), NewDirArea(t.TempDir()), inputs, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, sum4, err := build(t.Context(), NewDirArea(t.TempDir()), []Input{{uri("s3://c/mail/"), in}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if sum3.Digest == sum.Digest || sum4.Digest == sum3.Digest {
		t.Errorf("got digests %s, %s, %s, want three", sum.Digest, sum3.Digest, sum4.Digest)
	}
}

// No split has more objects than were asked for.
func TestMostObjects(t *testing.T) {
	splits, objects, _, err := build(t.Context(), NewDirArea(t.TempDir()), []Input{{uri("s3://b/mail/"), mails(1000)}}, &Options{Split: 7})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range splits {
		if want := min(7, 1000-7*i); s.Objects != want {
			t.Errorf("split %d has %d objects, want %d", i, s.Objects, want)
		}
	}
	if len(objects) != 1000 {
		t.Errorf("%d objects, want 1000", len(objects))
	}
}

// The last split of a small job must not keep one slot waiting long for the other.
func TestCutIsBalanced(t *testing.T) {
	for _, n := range []int{1, 63, 65, 500, 5000, 49_999, 200_000} {
		var c cut
		var sizes []int64
		for range n {
			if c.before(10_000) {
				sizes = append(sizes, c.openObjects)
				c.close()
			}
			c.add(10_000)
		}
		sizes = append(sizes, c.openObjects)
		var slots [2]int64
		for _, s := range sizes {
			if slots[0] <= slots[1] {
				slots[0] += s
			} else {
				slots[1] += s
			}
		}
		wait := max(slots[0], slots[1]) - min(slots[0], slots[1])
		if limit := int64(max(n/growth, leastObjects)); wait > limit {
			t.Errorf("%d objects: one slot waits for %d objects of the other, want at most %d", n, wait, limit)
		}
	}
}

func TestSinkStopsBuild(t *testing.T) {
	in := mails(5000)
	calls := 0
	_, err := Build(t.Context(), []Input{{uri("s3://b"), in}}, NewDirArea(t.TempDir()), nil, func(job.Split) error {
		calls++
		return errSink
	})
	if err != errSink || calls != 1 {
		t.Errorf("got %v after %d calls, want %v after 1", err, calls, errSink)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("beaten")
	cancel(cause)
	if _, err := Build(ctx, []Input{{uri("s3://b"), in}}, NewDirArea(t.TempDir()), nil, nil); err != cause && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

// onNode is a Locator for which each object lies on three of a number of nodes.
type onNode []string

func (l onNode) Locate(_ context.Context, keys []store.Key, nodes [][]string) error {
	for i, k := range keys {
		if len(l) == 1 {
			nodes[i] = l
			continue
		}
		at := int(crc32.ChecksumIEEE([]byte(k))) % (len(l) - 2)
		nodes[i] = l[at : at+3]
	}
	return nil
}

func BenchmarkBuild(b *testing.B) {
	inputs := []Input{{uri("s3://b/mail/"), mails(200_000)}}
	for _, nodes := range []int{0, 1, 10_000} {
		b.Run(fmt.Sprintf("%d-nodes", nodes), func(b *testing.B) {
			o := &Options{}
			if nodes > 0 {
				l := make(onNode, nodes)
				for i := range l {
					l[i] = fmt.Sprintf("node-%05d", i)
				}
				o.Locators = []Locator{l}
			}
			for b.Loop() {
				area := NewDirArea(b.TempDir())
				if _, err := Build(b.Context(), inputs, area, o, func(job.Split) error { return nil }); err != nil {
					b.Fatal(err)
				}
				if err := area.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(200_000*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}
