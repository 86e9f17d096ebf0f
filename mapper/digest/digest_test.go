package digest

import (
	"fmt"
	"testing"
)

// TestDigests compares with values that others publish for "123456789" and for nothing.
func TestDigests(t *testing.T) {
	b := []byte("123456789")
	if got := CRC32C(0, b); got != 0xe3069283 {
		t.Errorf("CRC-32C %x", got)
	}
	if got := CRC32C(CRC32C(0, b[:4]), b[4:]); got != 0xe3069283 {
		t.Errorf("CRC-32C in two parts %x", got)
	}
	if got := XXH3(nil); got != 0x2d06800538d394c2 {
		t.Errorf("XXH3 %x", got)
	}
}

func ExampleSHA256() {
	fmt.Printf("%x\n", SHA256([]byte("abc")))
	// Output: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
}
