package sandbox

import (
	"bytes"
	"os"
	"regexp"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLay checks what a file is mapped in place of: whole mappings, nothing else.
func TestLay(t *testing.T) {
	page := os.Getpagesize()
	content := bytes.Repeat([]byte("0123456789abcdef"), 4*page/16)
	f, err := memoryFile("test", content)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := &codeStore{file: f, mapped: content}
	fresh := func(n int) []byte {
		b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Munmap(b); err != nil {
				t.Error(err)
			}
		})
		return b
	}
	whole, odd, large := fresh(2*page), fresh(page+17), fresh(3*page)
	tests := []struct {
		name   string
		memory []byte
		at     int
		want   bool
	}{
		{"whole", whole, page, true},
		{"not whole pages", odd, 2 * page, true},
		{"within a page of the file", large, 8, false},
		{"the beginning of a mapping", large[:2*page], 0, false},
		{"the end of a mapping", large[page:], 0, false},
		{"the heap", make([]byte, 64*page), 0, false},
		{"small", make([]byte, 16), 0, false},
	}
	for _, tt := range tests {
		before := bytes.Clone(tt.memory)
		if got := s.lay(tt.memory, tt.at); got != tt.want {
			t.Errorf("%s: %t; want %t", tt.name, got, tt.want)
		}
		want := before
		if tt.want {
			want = content[tt.at : tt.at+len(before)]
		}
		if !bytes.Equal(tt.memory, want) {
			t.Errorf("%s: holds something else", tt.name)
		}
	}
	whole[0] = 'X' // ours alone
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, int64(page)); err != nil || b[0] != content[page] {
		t.Errorf("the file was written to: %q, %v", b, err)
	}
}

// TestCodeIsMapped checks that the machine code of a guest is the file's: not so after a change of the engine, it would still be right, and slower.
func TestCodeIsMapped(t *testing.T) {
	programOf(t, "look").open(t)
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^\S+ r-xp \S+ \S+ \d+ +/memfd:compiled`).Match(maps) {
		t.Errorf("no machine code is mapped:\n%s", maps)
	}
}
