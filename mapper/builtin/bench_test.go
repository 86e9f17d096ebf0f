package builtin

import (
	"testing"

	"github.com/millrace/millrace/internal/mailgen"
	"github.com/millrace/millrace/mapper"
)

// discard takes what is emitted and drops it.
type discard struct{}

func (discard) Record(key, value []byte) error { return nil }
func (discard) Text([]byte) error              { return nil }
func (discard) Count(string, int64)            {}

// mails returns generated mails as objects, and their size.
func mails(n int) (objs []*mapper.Object, size int64) {
	g := mailgen.New(1, nil)
	for i := range n {
		key, b := g.Mail(i)
		objs = append(objs, &mapper.Object{Key: key, Size: int64(len(b)), Data: b})
		size += int64(len(b))
	}
	return objs, size
}

// benchmark maps mails, one an operation.
func benchmark(b *testing.B, program string, params map[string]string) {
	const n = 2000
	objs, size := mails(n)
	p, _ := Lookup(program)
	m, err := p.New(params)
	if err != nil {
		b.Fatal(err)
	}
	for _, obj := range objs { // to the steady state
		if err := m.Map(obj, discard{}); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(size / n)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Map(objs[i%n], discard{})
	}
}

func BenchmarkGrep(b *testing.B) {
	for _, c := range []struct {
		name string
		p    GrepParams
	}{
		{"literal", GrepParams{Patterns: []string{"invoice 12"}}},
		{"rare", GrepParams{Patterns: []string{"zzqzz"}}},
		{"regexp", GrepParams{Patterns: []string{`invoice \d+`}}},
		{"nocase", GrepParams{Patterns: []string{`invoice \d+`}, IgnoreCase: true}},
		{"word", GrepParams{Patterns: []string{"energy"}, Word: true}},
		{"alternation", GrepParams{Patterns: []string{"invoice [0-9]|viagra|lottery|wire transfer"}}},
		{"class", GrepParams{Patterns: []string{`\d{4}-\d{2}-\d{2}`}}},
		{"letters", GrepParams{Patterns: []string{`\w{17} \w{3} `}}},
		{"from", GrepParams{Patterns: []string{`^From: .*@acme\.com`}, IgnoreCase: true}},
		{"count", GrepParams{Patterns: []string{"e"}, Count: true}},
		{"invert", GrepParams{Patterns: []string{"e"}, Invert: true}},
	} {
		b.Run(c.name, func(b *testing.B) { benchmark(b, "grep", c.p.Encode()) })
	}
}

func BenchmarkWords(b *testing.B) { benchmark(b, "words", nil) }
