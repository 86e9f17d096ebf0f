package sandbox

import (
	"bytes"
	"testing"
)

// minimal is a command that does nothing, with a custom section.
var minimal = []byte("\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x00\x05\x04name" + "\x03\x02\x01\x00" + "\x05\x03\x01\x00\x02" +
	"\x07\x0a\x01\x06_start\x00\x00" + "\x0a\x04\x01\x02\x00\x0b")

func TestCheckModule(t *testing.T) {
	m, err := checkModule(minimal)
	if err != nil {
		t.Fatal(err)
	}
	if m.minMemory != 2*wasmPage || m.declared != 1 {
		t.Errorf("memory %d, functions %d; want 2 pages, 1", m.minMemory, m.declared)
	}
	if want := bytes.Replace(minimal, []byte("\x00\x05\x04name"), nil, 1); !bytes.Equal(m.code, want) {
		t.Errorf("code %q; want it without the custom section: %q", m.code, want)
	}
	for n := range len(minimal) {
		if _, err := checkModule(minimal[:n]); err == nil {
			t.Errorf("the first %d bytes pass", n)
		}
	}
}

func FuzzCheckModule(f *testing.F) {
	f.Add(minimal)
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, code []byte) {
		m, err := checkModule(code)
		if err != nil {
			return
		}
		if len(m.code) > len(code) || !m.start {
			t.Errorf("%d bytes became %d, start %t", len(code), len(m.code), m.start)
		}
		again, err := checkModule(m.code)
		if err != nil || !bytes.Equal(again.code, m.code) {
			t.Errorf("its own answer does not pass: %v", err)
		}
	})
}
