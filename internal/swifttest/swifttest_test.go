package swifttest

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// A Swift of two nodes answers to its user alone, and leaves no process behind.
func TestRun(t *testing.T) {
	c := Run(t, &Options{Nodes: 2})
	if err := c.MakeContainer(t.Context(), "c", ""); err != nil {
		t.Error(err)
	}
	if _, err := c.ask(t.Context(), http.MethodGet, c.AuthURL, http.Header{"X-Auth-User": {c.User}, "X-Auth-Key": {"another"}}); err == nil {
		t.Error("a login with another key succeeded")
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	if ps := below(t, c.Dir); len(ps) > 0 {
		t.Errorf("left processes: %q", ps)
	}
}

// below returns the command lines of processes that name dir.
func below(t *testing.T, dir string) (found []string) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline"); err == nil && strings.Contains(string(line), dir) {
			found = append(found, string(line))
		}
	}
	return found
}
