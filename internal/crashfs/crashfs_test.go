package crashfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What programs do reaches the file system as what it is: what they sync stays, what they do not is lost by at least one of a few crashes.
func TestCrash(t *testing.T) {
	for _, tt := range []struct {
		name   string
		do     func(t *testing.T, dir string)
		stays  string // file and text
		passes string // file and text that must be there before a crash, and not after each
	}{
		{"sync of a file", func(t *testing.T, dir string) {
			write(t, dir+"/a/b/f", os.O_WRONLY|os.O_CREATE, "one", true)
			write(t, dir+"/a/b/f", os.O_WRONLY|os.O_APPEND, "two", false)
		}, "a/b/f=one", "a/b/f=onetwo"},
		{"O_SYNC", func(t *testing.T, dir string) {
			write(t, dir+"/f", os.O_WRONLY|os.O_CREATE|os.O_SYNC, "one", false)
			write(t, dir+"/g", os.O_WRONLY|os.O_CREATE, "one", false)
		}, "f=one", "g=one"},
		{"rename", func(t *testing.T, dir string) {
			write(t, dir+"/f", os.O_WRONLY|os.O_CREATE, "one", true)
			write(t, dir+"/t", os.O_WRONLY|os.O_CREATE, "two", true)
			if err := os.Rename(dir+"/t", dir+"/f"); err != nil {
				t.Fatal(err)
			}
		}, "f=", "f=two"},
		{"rename and sync of the directory", func(t *testing.T, dir string) {
			write(t, dir+"/t", os.O_WRONLY|os.O_CREATE, "two", true)
			if err := os.Rename(dir+"/t", dir+"/f"); err != nil {
				t.Fatal(err)
			}
			syncDir(t, dir)
			write(t, dir+"/g", os.O_WRONLY|os.O_CREATE, "", false)
		}, "f=two", "g="},
		{"a file without a name", func(t *testing.T, dir string) {
			fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			f := os.NewFile(uintptr(fd), "")
			defer f.Close()
			if _, err := f.WriteString("one"); err != nil {
				t.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"/f", "/g"} {
				if err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, dir+name, unix.AT_SYMLINK_FOLLOW); err != nil {
					t.Fatal(err)
				}
				if name == "/f" {
					syncDir(t, dir)
				}
			}
		}, "f=one", "g=one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const crashes = 40
			fs := Mount(t, nil)
			gone := 0
			for seed := range uint64(crashes) {
				dir := filepath.Join(fs.Dir, "round")
				if err := os.MkdirAll(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				syncDir(t, fs.Dir)
				tt.do(t, dir)
				if !holds(t, dir, tt.passes) {
					t.Fatalf("%s is not there", tt.passes)
				}
				fs.Cut()
				if _, err := os.ReadDir(dir); err == nil {
					t.Error("a directory can be read without power")
				}
				fs.Crash(seed)
				if !holds(t, dir, tt.stays) {
					t.Errorf("seed %d: %s is gone", seed, tt.stays)
				}
				if !holds(t, dir, tt.passes) {
					gone++
				}
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
			if gone == 0 || gone == crashes {
				t.Errorf("%s was gone after %d of %d crashes", tt.passes, gone, crashes)
			}
		})
	}
}

// holds reports whether a file is there and its text begins so.
func holds(t *testing.T, dir, file string) bool {
	t.Helper()
	name, text, _ := strings.Cut(file, "=")
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return err == nil && strings.HasPrefix(string(got), text)
}

func write(t *testing.T, path string, flags int, text string, sync bool) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if sync {
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
}

func syncDir(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}
