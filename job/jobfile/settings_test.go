package jobfile

import (
	"reflect"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	known := []string{"clients", "cluster", "labels", "slots", "json"}
	got, err := Settings("serve.yaml", []byte("clients: 10.0.0.1:7741\ncluster: [a, b:7742]\nlabels: {zone: north, rack: \"7\"}\nslots: 8\njson: true\n"), known)
	want := map[string]any{"clients": "10.0.0.1:7741", "cluster": []any{"a", "b:7742"}, "labels": map[string]any{"zone": "north", "rack": "7"}, "slots": "8", "json": "true"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, tt := range []struct{ text, want string }{
		{"clietns: x", `serve.yaml:1:1: unknown setting "clietns" (did you mean clients?)`},
		{"slots: 1\nslots: 2", `serve.yaml:2:1: field "slots" is given twice, first in line 1`},
		{"slots:", "serve.yaml:1:7: slots: want a value, got nothing"},
		{"json: yes", `serve.yaml:1:7: json: write true or false, or put it in quotes: "yes"`},
		{"cluster: [[a]]", "serve.yaml:1:11: cluster[0]: want a value, got a list"},
		{"labels: {zone: [a]}", "serve.yaml:1:16: labels.zone: want a value, got a list"},
		{"slots: &a 1", "serve.yaml:1:8: anchors are not supported"},
		{"slots: 1\n---\nslots: 2", "serve.yaml:2:1: a second document: only one is read"},
		{"- slots", "serve.yaml:1:1: want a mapping of fields, got a list"},
		{"", "serve.yaml: empty"},
		{"a: [", "serve.yaml:"},
	} {
		if _, err := Settings("serve.yaml", []byte(tt.text), known); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want %s", tt.text, err, tt.want)
		}
	}
}

func FuzzSettings(f *testing.F) {
	f.Add([]byte("clients: 10.0.0.1:7741\nlabels: {zone: north}\ncluster: [a, b]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := Settings("x", text, []string{"clients", "labels", "cluster"}); err != nil && !strings.HasPrefix(err.Error(), "x:") {
			t.Errorf("%v does not name its file", err)
		}
	})
}
