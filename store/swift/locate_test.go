package swift

import (
	"path/filepath"
	"reflect"
	"testing"

	"github.com/millrace/millrace/store"
)

// The ring and the proxy name the same nodes, under the default policy and under another one.
func (s *cluster) locator(t *testing.T) {
	if err := s.c.MakeContainer(t.Context(), "sp read", "spread"); err != nil {
		t.Fatal(err)
	}
	keys := []store.Key{"a", "b", "a b/ü", "x%20y", "a+b", "2026/01/02/000123.eml", "?#", "c//d"}
	for _, name := range []string{s.container(t), "sp read"} {
		b := s.open(t, name)
		defer b.Close()
		var found [2][][]string
		for i, rings := range []string{filepath.Join(s.c.Dir, "etc"), "endpoints"} {
			l, err := b.Locator(t.Context(), rings)
			if err != nil {
				t.Fatal(err)
			}
			found[i] = make([][]string, len(keys))
			if err := l.Locate(t.Context(), keys, found[i]); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(found[0], found[1]) {
			t.Errorf("%s: the ring says %q, the proxy %q", name, found[0], found[1])
		}
		if n := len(found[0][0]); name == "sp read" && n != 3 || name != "sp read" && (n != 1 || found[0][0][0] != s.c.Nodes[0]) {
			t.Errorf("%s: %q lies on %q", name, keys[0], found[0][0])
		}
	}
	if _, err := s.open(t, "sp read").Locator(t.Context(), t.TempDir()); err == nil {
		t.Error("rings in an empty directory: no error")
	}
}
