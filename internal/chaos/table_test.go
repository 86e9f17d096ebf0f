package chaos

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFaultsTable checks that the tables of docs/faults.md name tests that are there, and say of each fault what becomes of it.
func TestFaultsTable(t *testing.T) {
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, "docs/faults.md"))
	if err != nil {
		t.Fatal(err)
	}
	phases := []string{"list", "lease", "shuffle", "reduce", "commit", "clean-up"}
	seen := make(map[string]bool)
	rows, proofs := 0, 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| ---") || strings.HasSuffix(line, "| shown by |\n") {
			continue
		}
		shown := cells[len(cells)-1]
		if len(cells) == 4 {
			rows++
			for phase := range strings.SplitSeq(cells[1], ",") {
				phase = strings.TrimSpace(phase)
				if fault := cells[0] + phase; !slices.Contains(phases, phase) || seen[fault] {
					t.Errorf("phase %q, or it stands there twice: %s", phase, line)
				} else {
					seen[fault] = true
				}
			}
			if strings.TrimSpace(cells[2]) == "" {
				t.Errorf("no outcome: %s", line)
			}
			if strings.HasPrefix(shown, "not shown: ") {
				continue
			}
		}
		names := strings.Split(shown, "`")
		if len(names) < 3 {
			t.Errorf("no test: %s", line)
		}
		for i := 1; i < len(names); i += 2 {
			proofs++
			dir, test, ok := strings.Cut(names[i], " ")
			if !ok || !declared(t, filepath.Join(root, dir), test) {
				t.Errorf("no test %q", names[i])
			}
		}
	}
	if rows < 40 || proofs < 60 {
		t.Errorf("%d rows and %d tests: the tables are read wrongly", rows, proofs)
	}
}

// declared reports whether a test is declared in a directory.
func declared(t *testing.T, dir, test string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "\nfunc "+test+"(t *testing.T)") {
			return true
		}
	}
	return false
}
