package commit

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/file"
)

// The protocol on a directory tree: a job that dies after its decision, and one that finishes it.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	open := func() store.Bucket {
		t.Helper()
		b, _, err := file.Open(t.Context(), store.URI{Scheme: "file", Bucket: dir}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	}
	w := newWorld()
	m := &mortal{Bucket: open()}
	o := w.options(1)
	o.Step = func(name string) {
		if name == "decide: written" {
			m.die()
		}
	}
	if err := runJob(t.Context(), m, "job1", o); err == nil {
		t.Fatal("the job did not die")
	}
	w.bury(1)
	if err := runJob(t.Context(), open(), "job2", w.options(2)); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			got = append(got, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	want := "out/_failed/part-00000.jsonl out/_manifest.json out/part-00000 out/part-00001"
	if strings.Join(got, " ") != want {
		t.Errorf("got files %s\nwant %s", strings.Join(got, " "), want)
	}
	body, err := os.ReadFile(filepath.Join(dir, "out/part-00001"))
	if err != nil || string(body) != "job1" {
		t.Errorf("got %q, %v, want what job1 wrote", body, err)
	}
}
