package file_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/millrace/millrace/store/file"
)

// Somebody closes a reader from which another reads: that one reads what lies there, or an error, and nothing of another file.
func TestCloseWhileReading(t *testing.T) {
	b := file.New(t.TempDir())
	body := bytes.Repeat([]byte("x"), 64<<10)
	o, err := b.Put(t.Context(), "a", body)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		r, err := b.Open(t.Context(), "a", o.ETag, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan []byte)
		go func() {
			var all []byte
			p := make([]byte, 100)
			for {
				n, err := r.Read(p)
				all = append(all, p[:n]...)
				if n > 0 && len(all) == n {
					read <- nil // it has begun
				}
				if err != nil {
					if err == io.EOF && len(all) != len(body) {
						t.Errorf("EOF after %d bytes", len(all))
					}
					read <- all
					return
				}
			}
		}()
		<-read
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if all := <-read; !bytes.HasPrefix(body, all) {
			t.Errorf("read %d bytes that do not lie there", len(all))
		}
	}
}
