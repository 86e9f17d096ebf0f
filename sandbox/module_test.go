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
	if m.minMemory != 2*wasmPage || len(m.functions) != 1 {
		t.Errorf("memory %d, functions %d; want 2 pages, 1", m.minMemory, len(m.functions))
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
