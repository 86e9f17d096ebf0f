package swifttest

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// A Swift answers to its user alone, and leaves no process behind.
func TestRun(t *testing.T) {
	c := Run(t, nil)
	ask := func(key string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.AuthURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Auth-User", c.User)
		req.Header.Set("X-Auth-Key", key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("X-Storage-Url")
	}
	if status, url := ask(c.Key); status != http.StatusOK || !strings.Contains(url, c.Nodes[0]) {
		t.Errorf("login: got %d, %q", status, url)
	}
	if status, _ := ask("another"); status != http.StatusUnauthorized {
		t.Errorf("login with another key: got %d, want 401", status)
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
