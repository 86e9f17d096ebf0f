package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSystemd has systemd read the units.
func TestSystemd(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skipf("no systemd here: %v", err)
	}
	units, err := filepath.Glob("../systemd/*.service")
	if err != nil || len(units) < 2 {
		t.Fatalf("units %q, %v", units, err)
	}
	verify := func(dir string, edit func(string) string) (string, error) {
		args := []string{"verify", "--man=no", "--recursive-errors=no"}
		for _, u := range units {
			text, err := os.ReadFile(u)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(dir, filepath.Base(u))
			// It looks for the program as well, which is not installed here.
			changed := strings.ReplaceAll(edit(string(text)), "/usr/local/bin/millrace", "/bin/true")
			if err := os.WriteFile(name, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, name)
		}
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", args...).CombinedOutput()
		return string(out), err
	}
	out, err := verify(t.TempDir(), func(s string) string { return s })
	if err != nil || strings.Contains(out, "millrace-") {
		t.Errorf("%v\n%s", err, out)
	}
	out, _ = verify(t.TempDir(), func(s string) string { return strings.Replace(s, "LimitNOFILE=", "LimitNOFIEL=", 1) })
	if !strings.Contains(out, "LimitNOFIEL") {
		t.Errorf("a misspelt setting was not found: %s", out)
	}
}
