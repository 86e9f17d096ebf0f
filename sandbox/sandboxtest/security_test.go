package sandboxtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A proof is what a row of the table in docs/security.md points to: a test, its subtest if it has one, and its package if it is another than this.
type proof struct{ dir, test, name string }

// parseProof reads a proof as the table has it: [DIR ]TEST[/NAME].
func parseProof(s string) proof {
	p := proof{dir: "sandbox/sandboxtest", test: s}
	if dir, test, ok := strings.Cut(s, " Test"); ok {
		p.dir, p.test = dir, "Test"+test
	}
	p.test, p.name, _ = strings.Cut(p.test, "/")
	return p
}

// TestSecurityTable checks that the table of attacks in docs/security.md names each attack of the tests with what it says, and tests that are there.
func TestSecurityTable(t *testing.T) {
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, "docs/security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "\n## Every attack\n")
	if !ok {
		t.Fatal("no heading")
	}
	says := map[proof]string{} // of attacks that have a name
	for _, a := range NativeAttacks() {
		says[proof{"sandbox/sandboxtest", "TestNativeAttacks", a.Name}] = a.Says
	}
	for _, a := range WasmAttacks() {
		says[proof{"sandbox/sandboxtest", "TestWasmAttacks", a.Name}] = a.Says
	}
	missing := map[proof]bool{}
	for p := range says {
		missing[p] = true
	}
	for _, b := range behaviours() { // those need no row
		says[proof{"sandbox/sandboxtest", "TestWasm", b.name}] = b.says
		says[proof{"sandbox/sandboxtest", "TestNative", b.name}] = b.says
	}
	for _, verb := range guestAttacks {
		says[proof{"sandbox/sandboxtest", "TestWasmGuestAttacks", verb}] = ""
	}
	rows := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) != 3 || strings.Contains(line, "---") || strings.Contains(line, "| proof |") {
			continue
		}
		rows++
		outcome := strings.TrimSpace(cells[1])
		if outcome == "" {
			t.Errorf("no outcome: %s", line)
		}
		fields := strings.Split(cells[2], "`")
		if len(fields) < 3 {
			t.Errorf("no proof: %s", line)
		}
		for i := 1; i < len(fields); i += 2 {
			p := parseProof(fields[i])
			want, named := says[p]
			switch {
			case named && !strings.Contains(strings.ReplaceAll(outcome, "`", ""), want):
				t.Errorf("%s: outcome %q; the test wants %q", fields[i], outcome, want)
			case !named && p.name != "":
				t.Errorf("no attack %q", fields[i])
			case !named && !declared(t, filepath.Join(root, p.dir), p.test):
				t.Errorf("no test %q", fields[i])
			}
			delete(missing, p)
		}
	}
	for p := range missing {
		t.Errorf("%s/%s has no row", p.test, p.name)
	}
	if rows < len(NativeAttacks())+len(WasmAttacks())/2 {
		t.Errorf("%d rows", rows)
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
