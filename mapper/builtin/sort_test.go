package builtin

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/mapper"
)

// pairs keeps what is emitted.
type pairs [][2]string

func (p *pairs) Record(key, value []byte) error {
	*p = append(*p, [2]string{string(key), string(value)})
	return nil
}
func (p *pairs) Text([]byte) error   { return nil }
func (p *pairs) Count(string, int64) {}

func TestSortTakesLinesApart(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	program, _ := Lookup("sort")
	m, err := program.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]pairs{
		"":                             nil,
		"\n":                           {{"", ""}},
		"b\t2\na\t1":                   {{"b", "2"}, {"a", "1"}},
		"key alone\nk\ttwo\ttabs\n":    {{"key alone", ""}, {"k", "two\ttabs"}},
		`a\tb` + "\t" + `c\n\\` + "\n": {{"a\tb", "c\n\\"}},
		long + "\t" + long + "\nend\n": {{long, long}, {"end", ""}},
	} {
		for name, obj := range map[string]*mapper.Object{"in memory": inMemory("k", []byte(text)), "streamed": streamed("k", []byte(text))} {
			var got pairs
			if err := m.Map(obj, &got); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %.40q: got %.80q, %v", name, text, fmt.Sprint(got), err)
			}
		}
	}
	if err := m.Map(streamed("k", bytes.Repeat([]byte("x"), maxLine+1)), new(pairs)); err == nil || err.Error() != "line 1: longer than 67108864 bytes" {
		t.Errorf("a line that is too long: %v", err)
	}
	if _, err := program.New(map[string]string{"x": "1"}); err == nil || err.Error() != `parameter "x": sort has none` {
		t.Errorf("sort took a parameter: %v", err)
	}
}
