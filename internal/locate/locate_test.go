package locate

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace/millrace/store"
)

func rules(t *testing.T, texts ...string) (all []Rule) {
	t.Helper()
	for _, s := range texts {
		r, err := ParseRule(s)
		if err != nil {
			t.Fatal(err)
		}
		if r.String() != s {
			t.Errorf("rule %s is written %s", s, r)
		}
		all = append(all, r)
	}
	return all
}

func TestRules(t *testing.T) {
	c := &Config{Rules: rules(t,
		"file:///srv/mail/a/=node-a", "file:///srv/mail/b=node-b", "file:///srv/shared=*", "file:///srv/mail/a/both/=node-b,node-a", "s3://archive/2026/=cache-1,10.0.0.7"), Node: "here"}
	tests := []struct {
		input string
		keys  []store.Key
		want  [][]string // nil: there is no locator
	}{
		{"file:///srv/mail", []store.Key{"a/x", "b/x", "bc/x", "a/both/x", "x"}, [][]string{{"node-a"}, {"node-b"}, {"here"}, {"node-b", "node-a"}, {"here"}}},
		{"file:///srv/mail/a", []store.Key{"x", "both/x"}, [][]string{{"node-a"}, {"node-b", "node-a"}}},
		{"file:///srv/mail/*/x.eml", []store.Key{"a/x.eml", "c/x.eml"}, [][]string{{"node-a"}, {"here"}}},
		{"file:///srv/shared/mail", []store.Key{"x"}, [][]string{nil}},
		{"file:///", []store.Key{"srv/mail/a/x", "etc"}, [][]string{{"node-a"}, {"here"}}},
		{"s3://archive/", []store.Key{"2026/x", "2025/x"}, [][]string{{"cache-1", "10.0.0.7"}, nil}},
		{"s3://archive/2025/", nil, nil},
		{"s3://other/", nil, nil},
	}
	for _, tt := range tests {
		u, err := store.ParseURI(tt.input)
		if err != nil {
			t.Fatal(err)
		}
		l, err := c.Locator(t.Context(), u, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if l == nil || tt.want == nil {
			if (l == nil) != (tt.want == nil) {
				t.Errorf("%s: locator %v", tt.input, l)
			}
			continue
		}
		got := make([][]string, len(tt.keys))
		if err := l.Locate(t.Context(), tt.keys, got); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %q, %v, want %q", tt.input, got, err, tt.want)
		}
	}
	if l, err := new(Config).Locator(t.Context(), store.URI{Scheme: "file", Bucket: "/srv"}, nil, nil); l != nil || err != nil {
		t.Errorf("without a configuration: %v, %v", l, err)
	}
}

func TestRulesRefused(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"s3://a/", "want PREFIX=NODE"},
		{"s3://a/*.eml=n", "not of a pattern"},
		{"s3://a/=", "a node without a name"},
		{"s3://a/=n,,m", "a node without a name"},
		{"archive=n", "neither a URI"},
		{"file:///srv/../etc=n", `".."`},
	} {
		if _, err := ParseRule(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want %s", tt.text, err, tt.want)
		}
	}
}

// A fixed is a Locator that says the same of all keys.
type fixed struct {
	nodes []string
	err   error
}

func (f fixed) Locate(_ context.Context, keys []store.Key, nodes [][]string) error {
	for i := range keys {
		nodes[i] = f.nodes
	}
	return f.err
}

// Addresses become names of members; who is none is left out, and one node is named once.
func TestMembers(t *testing.T) {
	names := Names(map[string][]string{"a": {"10.0.0.1:7742", "10.1.0.1"}, "b": {"[2001:db8::2]:7742", "b.example"}})
	for _, tt := range []struct{ say, want []string }{
		{[]string{"10.1.0.1", "10.0.0.9", "10.0.0.1", "2001:DB8:0::2"}, []string{"a", "b"}},
		{[]string{"B.example", "a"}, []string{"b", "a"}},
		{[]string{"10.0.0.9"}, []string{}},
	} {
		got := [][]string{nil}
		m := &members{fixed{nodes: tt.say}, names}
		if err := m.Locate(t.Context(), []store.Key{"k"}, got); err != nil || !reflect.DeepEqual(got[0], tt.want) {
			t.Errorf("%q: got %q, %v, want %q", tt.say, got[0], err, tt.want)
		}
	}
	lost := errors.New("no ring")
	if err := (&members{fixed{err: lost}, names}).Locate(t.Context(), nil, nil); !errors.Is(err, lost) {
		t.Errorf("got %v, want %v", err, lost)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []Config{{Devices: "/srv/node"}, {Devices: "/srv/node", Rings: "endpoints"}, {Addresses: []string{"10.0.0.1"}, Rings: "/etc/swift"}} {
		if c.Check() == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	if err := (&Config{Devices: "/srv/node", Rings: "/etc/swift", Addresses: []string{"10.0.0.1"}}).Check(); err != nil {
		t.Error(err)
	}
}
