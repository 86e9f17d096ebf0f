package builtin

import (
	"maps"
	"reflect"
	"strings"
	"testing"
)

func TestParamsRoundTrip(t *testing.T) {
	tests := []GrepParams{
		{Patterns: []string{"a"}},
		{Patterns: []string{"", "b c"}, Fixed: true, IgnoreCase: true, Word: true, Invert: true, MaxCount: 3, Before: 1, After: 2},
		{Patterns: []string{"a"}, Count: true, Color: true, Escape: true, NoName: true, NoNumber: true, URI: true},
		{Patterns: []string{"a"}, Files: true},
		{Patterns: []string{"a"}, JSON: true},
	}
	for _, want := range tests {
		got, err := ParseGrepParams(want.Encode())
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("got %+v (%v), want %+v", got, err, want)
		}
	}
}

func TestParamsRefused(t *testing.T) {
	with := func(name, value string) map[string]string {
		return map[string]string{"patterns": "a", name: value}
	}
	tests := []struct {
		params map[string]string
		want   string
	}{
		{map[string]string{}, "parameter patterns: no pattern"},
		{with("patterns", "\xff"), `pattern "\xff" is not valid UTF-8`},
		{with("patterns", strings.Repeat("a", 64<<10+1)), "parameter patterns: 65537 bytes of patterns, at most 65536 are allowed"},
		{with("patterns", "ok\na("), `pattern "a(" at 1: unclosed group`},
		{with("word", "yes"), `parameter word: "yes" is neither true nor false`},
		{with("after", "-1"), `parameter after: "-1" is not a number of lines`},
		{with("before", "99999999999"), `parameter before: "99999999999" is not a number of lines`},
		{with("after", "10001"), "at most 10000 lines of context are allowed"},
		{with("wrod", "true"), `parameter "wrod": grep has none of that name`},
		{map[string]string{"patterns": "a", "count": "true", "json": "true"}, "only one of count, files-with-matches and json is possible"},
	}
	program, _ := Lookup("grep")
	for _, tt := range tests {
		if _, err := program.New(tt.params); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
	if err := (&GrepParams{Patterns: []string{"a\nb"}}).Check(); err == nil {
		t.Error("a line feed in a pattern was taken")
	}
	if err := (&GrepParams{Patterns: []string{"a+"}}).Check(); err != nil {
		t.Error(err)
	}
	words, _ := Lookup("words")
	if _, err := words.New(map[string]string{"x": "1"}); err == nil || err.Error() != `parameter "x": words has none` {
		t.Errorf("words took a parameter: %v", err)
	}
}

func TestLookup(t *testing.T) {
	for _, p := range All() {
		if got, ok := Lookup(p.Name); !ok || got.Name != p.Name {
			t.Errorf("%s is not found", p.Name)
		}
	}
	if _, ok := Lookup("cat"); ok {
		t.Error("cat was found")
	}
}

func FuzzParseGrepParams(f *testing.F) {
	f.Add("a\nb", "word", "true", "after", "3")
	f.Add("", "color", "1", "json", "false")
	f.Fuzz(func(t *testing.T, patterns, n1, v1, n2, v2 string) {
		p, err := ParseGrepParams(map[string]string{"patterns": patterns, n1: v1, n2: v2})
		if err != nil {
			return
		}
		again, err := ParseGrepParams(p.Encode())
		if err != nil || !maps.Equal(again.Encode(), p.Encode()) {
			t.Errorf("%+v: encoded and parsed %+v (%v)", p, again, err)
		}
	})
}
