package codecache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func open(t *testing.T, dir string) *Cache {
	t.Helper()
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func put(t *testing.T, c *Cache, name, content string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "content"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	if err := c.Put(name, f); err != nil {
		t.Fatal(err)
	}
}

// get returns what is kept under name, "" and false if there is nothing.
func get(t *testing.T, c *Cache, name string) (string, bool) {
	t.Helper()
	f, err := c.Get(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	return string(b), true
}

func TestCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	c := open(t, dir)
	if got, ok := get(t, c, "x"); ok {
		t.Errorf("an empty cache has %q", got)
	}
	put(t, c, "x", "one")
	put(t, c, "y", strings.Repeat("long ", 1<<20))
	put(t, c, "x", "two")
	c = open(t, dir) // another process, later
	if got, _ := get(t, c, "x"); got != "two" {
		t.Errorf("got %q, want two", got)
	}
	if got, _ := get(t, c, "y"); got != strings.Repeat("long ", 1<<20) {
		t.Errorf("got %d bytes", len(got))
	}
	if err := os.Remove(filepath.Join(dir, "y.code")); err != nil {
		t.Fatal(err)
	}
	if got, _ := get(t, c, "y"); len(got) != 5<<20 {
		t.Errorf("got %d bytes of what was there before", len(got))
	}
	f, err := c.Get("x")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("evil"), 0); err == nil {
		t.Error("what Get returns can be changed")
	}
	for _, name := range []string{"", "../x", "a/b", "A", strings.Repeat("a", 300)} {
		if err := c.Put(name, f); err == nil {
			t.Errorf("name %q is allowed", name)
		}
	}
}

// What is not authentic is not there, and is removed.
func TestPoisoned(t *testing.T) {
	for name, poison := range map[string]func(b []byte) []byte{
		"bit flip":      func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"mac":           func(b []byte) []byte { b[20] ^= 1; return b },
		"magic":         func(b []byte) []byte { b[0] ^= 1; return b },
		"truncated":     func(b []byte) []byte { return b[:len(b)-1] },
		"header only":   func(b []byte) []byte { return b[:48] },
		"empty":         func([]byte) []byte { return nil },
		"longer":        func(b []byte) []byte { return append(b, 0) },
		"somebody else": func([]byte) []byte { return append([]byte(magic), bytes.Repeat([]byte{7}, 100)...) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			c := open(t, dir)
			put(t, c, "x", "content")
			path := filepath.Join(dir, "x.code")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, poison(b), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, ok := get(t, c, "x"); ok {
				t.Errorf("got %q", got)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("it is still there")
			}
		})
	}
	t.Run("another name", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "c")
		c := open(t, dir)
		put(t, c, "x", "content")
		if err := os.Rename(filepath.Join(dir, "x.code"), filepath.Join(dir, "y.code")); err != nil {
			t.Fatal(err)
		}
		if got, ok := get(t, c, "y"); ok {
			t.Errorf("got %q", got)
		}
	})
}

// A directory that others can reach is refused.
func TestOpenToOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	open(t, dir)
	for _, step := range []struct {
		name string
		do   func() error
		undo func() error
	}{
		{"mode", func() error { return os.Chmod(dir, 0o750) }, func() error { return os.Chmod(dir, 0o700) }},
		{"key mode", func() error { return os.Chmod(filepath.Join(dir, keyName), 0o640) }, func() error { return os.Chmod(filepath.Join(dir, keyName), 0o600) }},
		{"short key", func() error { return os.WriteFile(filepath.Join(dir, keyName), []byte("x"), 0o600) }, func() error { return os.Remove(filepath.Join(dir, keyName)) }},
		{"link", func() error { return errors.Join(os.Rename(dir, dir+"2"), os.Symlink(dir+"2", dir)) }, func() error { return os.Remove(dir) }},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil {
			t.Errorf("%s: opened", step.name)
		}
		if err := step.undo(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEvict(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	c := open(t, dir)
	put(t, c, "old", "x")
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "old.code"), past, past); err != nil {
		t.Fatal(err)
	}
	for i := range maxFiles {
		put(t, c, fmt.Sprint("n", i), "x")
	}
	if _, ok := get(t, c, "old"); ok {
		t.Error("the oldest is still there")
	}
	if _, ok := get(t, c, "n0"); !ok {
		t.Error("a newer one is gone")
	}
}

// Many may open, write and read at once.
func TestConcurrent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c, err := Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			put(t, c, "x", "content")
			defer c.Close()
			for range 20 {
				put(t, c, "x", "content")
				if got, ok := get(t, c, "x"); !ok || got != "content" {
					t.Errorf("got %q, %t", got, ok)
				}
			}
		})
	}
	wg.Wait()
}
