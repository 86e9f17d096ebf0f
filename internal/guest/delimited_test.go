package guest

import (
	"bytes"
	"testing"
)

func TestDelimited(t *testing.T) {
	for _, tt := range []struct {
		key  string
		want string
	}{{"", "\x00\x01"}, {"ab", "ab\x00\x01"}, {"a\x00b", "a\x00\xffb\x00\x01"}, {"\x00", "\x00\xff\x00\x01"}, {"\x00\x00\x01", "\x00\xff\x00\xff\x01\x00\x01"}} {
		if got := AppendDelimited(nil, String, []byte(tt.key)); string(got) != tt.want {
			t.Errorf("%q: got %q, want %q", tt.key, got, tt.want)
		}
	}
	n := AppendInt(nil, -3)
	if enc, rest, err := CutDelimited(Int, append(AppendDelimited(nil, Int, n), "rest"...)); err != nil || !bytes.Equal(enc, n) || string(rest) != "rest" {
		t.Errorf("got %x, %q, %v", enc, rest, err)
	}
	for _, bad := range []string{"", "a", "a\x00", "a\x00\x02", "a\x00\xff", "a\x00\xffb"} {
		if enc, _, err := CutDelimited(String, []byte(bad)); err == nil {
			t.Errorf("%q: got %q", bad, enc)
		}
	}
	if _, _, err := CutDelimited(Uint, n[:7]); err == nil {
		t.Error("a number of 7 bytes was taken")
	}
}

// Delimited keys come back, with what follows them, and are ordered as the keys and then as that.
func FuzzDelimited(f *testing.F) {
	f.Add([]byte("a"), []byte("x"), []byte("a\x00b"), []byte("\xff"))
	f.Add([]byte(""), []byte("\x01"), []byte("\x00"), []byte(""))
	f.Add([]byte("\x00\xff"), []byte(""), []byte("\x00"), []byte("\xff"))
	f.Fuzz(func(t *testing.T, a, av, b, bv []byte) {
		whole := make([][]byte, 0, 2)
		for _, r := range [][2][]byte{{a, av}, {b, bv}} {
			d := append(AppendDelimited(nil, String, r[0]), r[1]...)
			key, rest, err := CutDelimited(String, d)
			if err != nil || !bytes.Equal(key, r[0]) || !bytes.Equal(rest, r[1]) {
				t.Fatalf("%q, %q: got %q, %q, %v", r[0], r[1], key, rest, err)
			}
			whole = append(whole, d)
		}
		want := bytes.Compare(a, b)
		if want == 0 {
			want = bytes.Compare(av, bv)
		}
		if got := bytes.Compare(whole[0], whole[1]); got != want {
			t.Errorf("%q, %q against %q, %q: got %d, want %d", a, av, b, bv, got, want)
		}
		if key, rest, err := CutDelimited(String, a); err == nil && !bytes.Equal(append(AppendDelimited(nil, String, key), rest...), a) {
			t.Errorf("%q: %q and %q are something else", a, key, rest)
		}
	})
}
