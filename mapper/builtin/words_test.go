package builtin

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"maps"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/internal/mailgen"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
)

// decodeTotal returns the value of a record of words, which is never negative; -1 is a bad one.
func decodeTotal(b []byte) int64 {
	native, _ := reducer.Lookup("sum:int64")
	enc, err := native.Reduce(nil, b)
	if err != nil {
		return -1
	}
	n, err := guest.DecodeInt(enc)
	if err != nil {
		return -1
	}
	return n
}

// scanWords counts as the mapper of the documentation does.
func scanWords(text []byte) (map[string]int64, error) {
	want := make(map[string]int64)
	sc := bufio.NewScanner(bytes.NewReader(text))
	sc.Split(bufio.ScanWords)
	for sc.Scan() {
		want[sc.Text()]++
	}
	return want, sc.Err()
}

func mapWords(t testing.TB, obj *mapper.Object) (*recorder, error) {
	t.Helper()
	program, _ := Lookup("words")
	m, err := program.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	var r recorder
	return &r, m.Map(obj, &r)
}

func TestWords(t *testing.T) {
	texts := []string{
		"", " ", "a", "a b a\tb\r\na", "\u00a0x\u2003y\u3000\u1680z\u0085", "\xc2 \xe2\x80 \xe2\x80\x83b \xe3\x80",
		"a\x00b \x00", "no-break\u202fspace\u205f", strings.Repeat("x", maxWord), strings.Repeat("x", maxWord) + " y",
	}
	g := mailgen.New(9, &mailgen.Options{Odd: 0.2})
	mails := 300
	if testing.Short() {
		mails = 50
	}
	for i := range mails {
		_, b := g.Mail(i)
		texts = append(texts, string(b))
	}
	for _, text := range texts {
		want, err := scanWords([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for kind, obj := range map[string]*mapper.Object{"in memory": inMemory("k", []byte(text)), "streamed": streamed("k", []byte(text))} {
			r, err := mapWords(t, obj)
			if err != nil || !maps.Equal(r.records, want) && len(want) > 0 {
				t.Errorf("%s: %.40q: got %d words (%v), want %d", kind, text, len(r.records), err, len(want))
			}
		}
	}
}

func TestWordTooLong(t *testing.T) {
	text := []byte("a b " + strings.Repeat("x", maxWord+1) + " c")
	if _, err := scanWords(text); err == nil {
		t.Fatal("bufio.ScanWords takes longer words than this test says")
	}
	for _, obj := range []*mapper.Object{inMemory("k", text), streamed("k", text)} {
		if _, err := mapWords(t, obj); err == nil || err.Error() != "word at 4: longer than 65535 bytes" {
			t.Errorf("got %v", err)
		}
	}
}

// A large object is counted in blocks: a word may be emitted once in each.
type adder map[string]int64

func (a adder) Record(key, value []byte) error { a[string(key)] += decodeTotal(value); return nil }
func (a adder) Text([]byte) error              { return nil }
func (a adder) Count(string, int64)            {}

func TestWordsOfLargeObject(t *testing.T) {
	words, distinct := 400_000, 300_000
	if testing.Short() {
		words, distinct = 80_000, 60_000
	}
	var text []byte
	for i := range words {
		text = binary.AppendUvarint(append(text, 'w'), uint64(i%distinct)|0x40)
		text = append(text, " \n\u2003"[i%3])
		if i%3 == 2 {
			text = append(text, "\x80\x83"...)
		}
	}
	want, err := scanWords(text)
	if err != nil {
		t.Fatal(err)
	}
	program, _ := Lookup("words")
	for _, obj := range []*mapper.Object{inMemory("k", text), streamed("k", text)} {
		m, _ := program.New(nil)
		got := make(adder)
		if err := m.Map(obj, got); err != nil || !maps.Equal(got, want) {
			t.Errorf("got %d words (%v), want %d", len(got), err, len(want))
		}
	}
}
