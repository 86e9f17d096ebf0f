package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/sandbox/sandboxtest"
)

// A module is compiled once. What lies in the cache is used only if it is authentic.
func TestCompiledOnce(t *testing.T) {
	t.Parallel()
	in, cache := t.TempDir(), t.TempDir()
	place(t, in, "a", "an object\n")
	module := filepath.Join(t.TempDir(), "telling.wasm")
	if err := os.WriteFile(module, sandboxtest.Telling(), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func() string {
		t.Helper()
		o := runIn(t, os.Geteuid(), []string{"XDG_CACHE_HOME=" + cache}, "run", module, "-i", in, "--progress=none")
		if o.code != 0 {
			t.Fatalf("%+v", o)
		}
		return o.stdout
	}
	want := run()
	files, err := filepath.Glob(filepath.Join(cache, "millrace", "code", "*.code"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the cache holds %q, %v", files, err)
	}
	compiled, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if got := run(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	again, err := os.Stat(files[0])
	if err != nil || !os.SameFile(compiled, again) {
		t.Errorf("compiled again (%v)", err)
	}

	// Machine code of somebody else: it would crash the guest, or worse.
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := len(text) / 2; i < len(text); i++ {
		text[i] = 0xcc
	}
	if err := os.WriteFile(files[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(); got != want {
		t.Errorf("from a poisoned cache: got %q, want %q", got, want)
	}
	// Not by os.SameFile: a new file may have the number of one that was removed.
	if healed, err := os.ReadFile(files[0]); err != nil || string(healed) == string(text) {
		t.Errorf("the poison is still there (%v)", err)
	}

	// Without a cache it works as well.
	cache = "/dev/null"
	if got := run(); got != want {
		t.Errorf("without a cache: got %q, want %q", got, want)
	}
}
