package guest

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// nothing is a Handler that drops everything.
type nothing struct{}

func (nothing) Records(_, _ []byte, _ int64) error { return nil }
func (nothing) Text([]byte) error                  { return nil }
func (nothing) Count(string, int64)                {}
func (nothing) Fail(string)                        {}
func (nothing) OK()                                {}

// One operation is one record of a word and a 1.
func BenchmarkReplies(b *testing.B) {
	const records = 1000
	var buf bytes.Buffer
	a := NewAnswers(&buf)
	for range records {
		a.Record([]byte("millrace"), []byte{2})
	}
	a.OK()
	a.Flush()
	b.ReportAllocs()
	for n := 0; n < b.N; n += records {
		r := NewReplies(nothing{}, 1, Bounds{})
		if _, err := r.Write(buf.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}

// One operation is one record of a word and a 1.
func BenchmarkAnswers(b *testing.B) {
	key, value := []byte("millrace"), []byte{2}
	a := NewAnswers(io.Discard)
	b.ReportAllocs()
	for b.Loop() {
		a.Record(key, value)
	}
}

func BenchmarkObjectStream(b *testing.B) {
	body := strings.Repeat("x", 4096)
	m := &Meta{Key: "2026/01/a.eml", URI: "s3://mail/2026/01/a.eml", Size: 4096}
	p := make([]byte, 64<<10)
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		r := ObjectStream(nil, m, strings.NewReader(body), nil)
		for {
			if _, err := r.Read(p); err != nil {
				break
			}
		}
	}
}
