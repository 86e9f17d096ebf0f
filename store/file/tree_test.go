package file_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/file"
)

// Only regular files beneath the root are objects, whatever lies in the tree.
func TestNothingButRegularFiles(t *testing.T) {
	dir := t.TempDir()
	root, outside := filepath.Join(dir, "root"), filepath.Join(dir, "outside")
	for _, d := range []string{root + "/sub", root + "/_millrace/staging", outside} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{root + "/sub/mail", root + "/_millrace/job.json", root + "/_millrace/staging/x", outside + "/secret"} {
		if err := os.WriteFile(f, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"link": "../outside/secret", "dirlink": "../outside", "inner": "sub/mail"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(root+"/fifo", 0o644); err != nil {
		t.Fatal(err)
	}
	b := file.New(root)
	defer b.Close()
	var got []store.Key
	for o, err := range b.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, o.Key)
	}
	if want := []store.Key{"_millrace/job.json", "sub/mail"}; !slices.Equal(got, want) {
		t.Errorf("List = %q, want %q", got, want)
	}
	for _, key := range []store.Key{"link", "dirlink/secret", "inner", "fifo", "../outside/secret", "sub/../../outside/secret", "/etc/passwd", "_millrace/staging/x"} {
		if r, err := b.Open(t.Context(), key, "", 0, -1); !errors.Is(err, store.ErrNotExist) {
			t.Errorf("Open(%q) = %v, %v, want ErrNotExist", key, r, err)
		}
		if err := b.ReadWhole(t.Context(), store.Object{Key: key, Size: 1}, make([]byte, 1)); !errors.Is(err, store.ErrNotExist) {
			t.Errorf("ReadWhole(%q) = %v, want ErrNotExist", key, err)
		}
	}
	for _, key := range []store.Key{"dirlink/new", "../new", "_millrace/staging/new"} {
		if _, err := b.Put(t.Context(), key, nil); !errors.Is(err, store.ErrKey) {
			t.Errorf("Put(%q) = %v, want ErrKey", key, err)
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside holds %v, %v, want what it held before", entries, err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.eml"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	b, u, err := file.Open(t.Context(), store.URI{Scheme: "file", Bucket: dir + "/a.eml"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if want := (store.URI{Scheme: "file", Bucket: dir, Prefix: "a.eml", Exact: true}); u != want {
		t.Errorf("Open of a file = %+v, want %+v", u, want)
	}
	missing, _, err := file.Open(t.Context(), store.URI{Scheme: "file", Bucket: dir + "/none"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer missing.Close()
	for _, err := range missing.List(t.Context(), "", "") {
		if !errors.Is(err, store.ErrNotExist) {
			t.Errorf("List of a missing directory = %v, want ErrNotExist", err)
		}
	}
}

func Example() {
	dir, err := os.MkdirTemp("", "mail")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	b := file.New(dir)
	defer b.Close()
	ctx := context.Background()
	if _, err := b.Put(ctx, "2026/a.eml", []byte("Subject: hello")); err != nil {
		fmt.Println(err)
		return
	}
	r, err := b.Open(ctx, "2026/a.eml", "", 9, -1)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	fmt.Println(string(body), err)
	// Output: hello <nil>
}
