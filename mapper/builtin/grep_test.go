package builtin

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/millrace/millrace/mapper"
)

// A recorder keeps what a mapper emits.
type recorder struct {
	text    bytes.Buffer
	records map[string]int64
	order   []string
	counts  map[string]int64
}

func (r *recorder) Text(p []byte) error { r.text.Write(p); return nil }

func (r *recorder) Count(name string, n int64) {
	if r.counts == nil {
		r.counts = make(map[string]int64)
	}
	r.counts[name] += n
}

func (r *recorder) Record(key, value []byte) error {
	if r.records == nil {
		r.records = make(map[string]int64)
	}
	if _, twice := r.records[string(key)]; twice {
		return errors.New("emitted twice: " + string(key))
	}
	r.order = append(r.order, string(key))
	r.records[string(key)] = decodeTotal(value)
	return nil
}

// inMemory and streamed return text as an object.
func inMemory(key string, text []byte) *mapper.Object {
	return &mapper.Object{Key: key, URI: "mem:" + key, Size: int64(len(text)), Data: append([]byte{}, text...), Body: bytes.NewReader(text)}
}

func streamed(key string, text []byte) *mapper.Object {
	return &mapper.Object{Key: key, URI: "mem:" + key, Size: int64(len(text)), Body: iotest.HalfReader(bytes.NewReader(text))}
}

// run maps one object.
func run(t testing.TB, p GrepParams, obj *mapper.Object) *recorder {
	t.Helper()
	program, _ := Lookup("grep")
	m, err := program.New(p.Encode())
	if err != nil {
		t.Fatal(err)
	}
	var r recorder
	if err := m.Map(obj, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

const poem = "Roses are red,\nviolets blue.\n\nInvoice 1234\r\nsugar is sweet\nand so\x00 are you\xff, invoice 77\nlast rose"

func TestGrep(t *testing.T) {
	tests := []struct {
		name string
		p    GrepParams
		text string
		want string
	}{
		{"literal", GrepParams{Patterns: []string{"are"}}, poem, "k:1:Roses are red,\nk:6:and so\x00 are you\xff, invoice 77\n"},
		{"last line gets a line feed", GrepParams{Patterns: []string{"last"}}, poem, "k:7:last rose\n"},
		{"carriage return stays", GrepParams{Patterns: []string{`\d{4}`}}, poem, "k:4:Invoice 1234\r\n"},
		{"carriage return is before the end", GrepParams{Patterns: []string{`4$`, `e$`}}, poem, "k:7:last rose\n"},
		{"ignore case", GrepParams{Patterns: []string{`invoice \d+`}, IgnoreCase: true}, poem,
			"k:4:Invoice 1234\r\nk:6:and so\x00 are you\xff, invoice 77\n"},
		{"word", GrepParams{Patterns: []string{"s", "rose"}, Word: true}, poem, "k:7:last rose\n"},
		{"fixed", GrepParams{Patterns: []string{"e."}, Fixed: true}, poem, "k:2:violets blue.\n"},
		{"empty pattern", GrepParams{Patterns: []string{""}}, "a\n\nb", "k:1:a\nk:2:\nk:3:b\n"},
		{"no text", GrepParams{Patterns: []string{""}}, "", ""},
		{"invert", GrepParams{Patterns: []string{"e"}, Invert: true}, poem, "k:3:\n"},
		{"count", GrepParams{Patterns: []string{"e"}, Count: true}, poem, "k:6\n"},
		{"count inverted", GrepParams{Patterns: []string{"e"}, Count: true, Invert: true}, poem, "k:1\n"},
		{"count without matches", GrepParams{Patterns: []string{"zebra"}, Count: true}, poem, ""},
		{"count to a maximum", GrepParams{Patterns: []string{"e"}, Count: true, MaxCount: 2}, poem, "k:2\n"},
		{"files", GrepParams{Patterns: []string{"e"}, Files: true}, poem, "k\n"},
		{"max count", GrepParams{Patterns: []string{"e"}, MaxCount: 1}, poem, "k:1:Roses are red,\n"},
		{"max count with context", GrepParams{Patterns: []string{"a"}, MaxCount: 1, After: 3}, "a\nb\na\nc\na\n", "k:1:a\nk-2-b\nk:3:a\nk-4-c\n"},
		{"context", GrepParams{Patterns: []string{"1", "5", "9"}, Before: 1, After: 1}, "1\n2\n3\n4\n5\n6\n7\n8\n9",
			"k:1:1\nk-2-2\n--\nk-4-4\nk:5:5\nk-6-6\n--\nk-8-8\nk:9:9\n"},
		{"context that touches", GrepParams{Patterns: []string{"1", "4"}, Before: 1, After: 1}, "1\n2\n3\n4\n", "k:1:1\nk-2-2\nk-3-3\nk:4:4\n"},
		{"no name", GrepParams{Patterns: []string{"last"}, NoName: true}, poem, "7:last rose\n"},
		{"no number", GrepParams{Patterns: []string{"last"}, NoNumber: true}, poem, "k:last rose\n"},
		{"whole name", GrepParams{Patterns: []string{"last"}, URI: true}, poem, "mem:k:7:last rose\n"},
		{"escape", GrepParams{Patterns: []string{"x"}, Escape: true}, "x\x1b[2J\t\u202eé\xff\u009b\r\n", "k:1:x\\x1b[2J\t\\u{202e}é\\xff\\u{9b}\n"},
		{"color", GrepParams{Patterns: []string{"o"}, Color: true}, "foo", "\x1b[0m\x1b[35mk\x1b[0m:\x1b[0m\x1b[32m1\x1b[0m:f\x1b[0m\x1b[1m\x1b[31moo\x1b[0m\n"},
		{"json", GrepParams{Patterns: []string{"s(.)"}, JSON: true}, "ask\"\x01s\tsé\r\nx\n", `{"key":"k","line":1,"text":"ask\"\u0001s\tsé\r","matches":[[1,3],[5,7],[7,10]]}` + "\n"},
		{"json of bytes", GrepParams{Patterns: []string{"s"}, JSON: true}, "s\xff", `{"key":"k","line":1,"bytes":"c/8=","matches":[[0,1]]}` + "\n"},
		{"UTF-16", GrepParams{Patterns: []string{"^é.$"}}, "\xff\xfe\xe9\x00\x3d\xd8\x00\xde\n\x00a\x00\x00\xd8b\x00c", "k:1:é😀\n"},
		{"UTF-16 broken", GrepParams{Patterns: []string{"b"}}, "\xfe\xff\x00a\x00\n\xd8\x00\x00bc", "k:2:\ufffdb\ufffd\n"},
		{"UTF-8 with a mark", GrepParams{Patterns: []string{"^é"}}, "\xef\xbb\xbfé\n", "k:1:é\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for kind, obj := range map[string]*mapper.Object{"in memory": inMemory("k", []byte(tt.text)), "streamed": streamed("k", []byte(tt.text))} {
				if got := run(t, tt.p, obj).text.String(); got != tt.want {
					t.Errorf("%s: got %q, want %q", kind, got, tt.want)
				}
			}
		})
	}
}

func TestGrepCounts(t *testing.T) {
	r := run(t, GrepParams{Patterns: []string{"e"}}, inMemory("k", []byte(poem)))
	if r.counts["matching_lines"] != 6 || r.counts["matching_objects"] != 1 {
		t.Errorf("counts %v, want 6 lines of 1 object", r.counts)
	}
	if r := run(t, GrepParams{Patterns: []string{"zebra"}}, inMemory("k", []byte(poem))); len(r.counts) != 0 {
		t.Errorf("counts %v without a match", r.counts)
	}
}

// aLine is a reader of n bytes that are no line feed.
type aLine int

func (l *aLine) Read(p []byte) (int, error) {
	if *l == 0 {
		return 0, io.EOF
	}
	n := min(len(p), int(*l))
	for i := range p[:n] {
		p[i] = 'x'
	}
	*l -= aLine(n)
	return n, nil
}

func TestGrepLongLines(t *testing.T) {
	program, _ := Lookup("grep")
	m, err := program.New(GrepParams{Patterns: []string{"y|x$"}, Count: true}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	line := aLine(1 << 30)
	err = m.Map(&mapper.Object{Key: "k", Body: io.MultiReader(strings.NewReader("a\nb\n"), &line)}, &recorder{})
	if err == nil || err.Error() != "line at 4: longer than 67108864 bytes" {
		t.Errorf("a line of 1 GiB: got %v", err)
	}
	line = 3 << 20
	var r recorder
	if err := m.Map(&mapper.Object{Key: "k", Body: io.MultiReader(strings.NewReader("y\nb\n"), &line)}, &r); err != nil || r.text.String() != "k:2\n" {
		t.Errorf("a line of 3 MiB: got %q, %v", r.text.String(), err)
	}
}

func TestGrepReadError(t *testing.T) {
	broken := errors.New("broken")
	program, _ := Lookup("grep")
	m, _ := program.New(GrepParams{Patterns: []string{"a"}}.Encode())
	for _, before := range []string{"", "abc", strings.Repeat("a\n", 1<<18)} {
		obj := &mapper.Object{Key: "k", Body: io.MultiReader(strings.NewReader(before), iotest.ErrReader(broken))}
		if err := m.Map(obj, &recorder{}); !errors.Is(err, broken) {
			t.Errorf("after %d bytes: got %v, want %v", len(before), err, broken)
		}
	}
}
