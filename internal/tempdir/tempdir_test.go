package tempdir

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// names returns what lies in the temporary directory.
func names(t *testing.T) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// Directories that somebody has stay, those of the dead go, and others are not touched.
func TestNew(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	a, err := New("mill-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.Path, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"mill-dead/sub", "other"} {
		if err := os.MkdirAll(filepath.Join(os.TempDir(), dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	b, err := New("mill-")
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t); len(got) != 3 {
		t.Errorf("got %q, want two directories and the other one", got)
	}
	if _, err := os.Stat(filepath.Join(a.Path, "f")); err != nil {
		t.Errorf("what somebody has: %v", err)
	}
	for _, d := range []*Dir{a, b} {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := names(t); len(got) != 1 || got[0] != "other" {
		t.Errorf("got %q after Close", got)
	}
}

// Many make directories at once, and each keeps its own.
func TestNewAtOnce(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				d, err := New("mill-")
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(filepath.Join(d.Path, "f"), nil, 0o600); err != nil {
					t.Error(err)
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := names(t); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}
