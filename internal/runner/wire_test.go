package runner

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
)

func TestPieceRoundTrip(t *testing.T) {
	slab := make([]byte, 4096)
	want := []Piece{
		{Index: 1, Input: 2, Size: 3, Modified: -5, Key: "a/b", ETag: "\"x\"", First: true, Last: true},
		{Index: 1 << 31, Size: 1 << 40, First: true},
		{Key: "k", Last: true, Unread: true},
	}
	n := 0
	for i := range want {
		p := &want[i]
		copy(p.Put(slab[n:], i), "data")
		n += p.HeadSize() + i
	}
	rest := slab[:n]
	for i := range want {
		var got Piece
		var data []byte
		var err error
		if got, data, rest, err = nextPiece(rest); err != nil || got != want[i] || string(data) != "data"[:i] {
			t.Errorf("got %+v %q, %v, want %+v", got, data, err, want[i])
		}
	}
	if len(rest) > 0 {
		t.Errorf("%d bytes are left", len(rest))
	}
	MarkUnread(slab)
	if got, _, _, _ := nextPiece(slab); !got.Unread || !got.First || !got.Last {
		t.Errorf("got %+v", got)
	}
}

func FuzzNextPiece(f *testing.F) {
	slab := make([]byte, 64)
	p := Piece{Index: 1, Key: "key", ETag: "etag", First: true}
	copy(p.Put(slab, 4), "data")
	f.Add(slab)
	f.Add(slab[:objectHeader])
	f.Add(bytes.Repeat([]byte{255}, 64))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			p, data, rest, err := nextPiece(b)
			if err != nil {
				if !errors.Is(err, ErrProtocol) {
					t.Errorf("got %v", err)
				}
				return
			}
			if p.HeadSize()+len(data)+len(rest) != len(b) {
				t.Fatalf("%d bytes became %d, %d and %d", len(b), p.HeadSize(), len(data), len(rest))
			}
			b = rest
		}
	})
}

func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	fa, fb, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	if a, err = NewConn(fa); err != nil {
		t.Fatal(err)
	}
	if b, err = NewConn(fb); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

func TestConn(t *testing.T) {
	a, b := pair(t)
	for _, n := range []int{0, 1, MaxFrame - 1} {
		want := bytes.Repeat([]byte{'x'}, n)
		if err := a.Send(KindText, want); err != nil {
			t.Fatal(err)
		}
		k, got, file, err := b.Recv()
		if err != nil || k != KindText || file != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %c, %d bytes, %v, %v", n, k, len(got), file, err)
		}
	}
	if err := a.Send(KindText, make([]byte, MaxFrame)); !errors.Is(err, ErrProtocol) {
		t.Errorf("a frame that is too long: %v", err)
	}
	if _, err := a.f.Write(make([]byte, MaxFrame+1)); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := b.Recv(); !errors.Is(err, ErrProtocol) {
		t.Errorf("a packet that is too long: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := b.Recv(); err != io.EOF {
		t.Errorf("got %v", err)
	}
}

func TestConnPassesDescriptors(t *testing.T) {
	a, b := pair(t)
	for n := range 7 {
		var files []*os.File
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			files = append(files, w)
		}
		if err := a.Send(KindMap, []byte("m"), files...); err != nil {
			t.Fatal(err)
		}
		_, _, file, err := b.Recv()
		if n > 4 && !errors.Is(err, ErrProtocol) || n <= 4 && err != nil || (file != nil) != (n > 0 && n <= 4) {
			t.Errorf("%d descriptors: got %v, %v", n, file, err)
		}
		if file != nil {
			if _, err := file.WriteString("hello"); err != nil {
				t.Error(err)
			}
			_ = file.Close()
		}
		_ = w.Close()
		// Nobody has the other end any more: none was forgotten open.
		got, err := io.ReadAll(r)
		if want := map[bool]string{true: "hello"}[n > 0 && n <= 4]; err != nil || string(got) != want {
			t.Errorf("%d descriptors: got %q, %v", n, got, err)
		}
		_ = r.Close()
	}
}
