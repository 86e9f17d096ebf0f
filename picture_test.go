package millrace

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/millrace/millrace/"

// A picture is what the package comment of doc.go says.
type picture struct {
	level     map[string]int      // of each package, counted from the bottom
	only      map[string][]string // packages that import no others of this module
	libraries map[string][]string // packages that import a library, by its prefix
}

// readPicture reads the three blocks of the comment: levels, exceptions, libraries.
func readPicture(doc string) (*picture, error) {
	var blocks [][][]string
	inside := false
	for line := range strings.Lines(doc) {
		if !strings.HasPrefix(line, "\t") {
			inside = false
			continue
		}
		if !inside {
			blocks = append(blocks, nil)
			inside = true
		}
		blocks[len(blocks)-1] = append(blocks[len(blocks)-1], strings.Fields(line))
	}
	if len(blocks) != 3 {
		return nil, fmt.Errorf("%d indented blocks, want 3", len(blocks))
	}
	p := &picture{level: map[string]int{}, only: map[string][]string{}, libraries: map[string][]string{}}
	for i, line := range blocks[0] {
		for _, name := range line {
			if _, twice := p.level[name]; twice {
				return nil, fmt.Errorf("%s stands there twice", name)
			}
			p.level[name] = len(blocks[0]) - i
		}
	}
	for _, line := range blocks[1] {
		p.only[line[0]] = line[1:]
	}
	for _, line := range blocks[2] {
		p.libraries[line[0]] = line[1:]
	}
	return p, nil
}

// name returns the name that stands for a package in the picture, "" if none does.
func (p *picture) name(pkg string) string {
	for pkg != "" {
		if _, ok := p.level[pkg]; ok {
			return pkg
		}
		pkg = pkg[:max(strings.LastIndexByte(pkg, '/'), 0)]
	}
	return ""
}

// check returns what is wrong with the imports of pkg, which is named without the module.
func (p *picture) check(pkg string, imports []string) (faults []string) {
	from := p.name(pkg)
	if from == "" {
		return []string{pkg + " is not in the picture"}
	}
	for _, path := range imports {
		if own, ok := strings.CutPrefix(path, module); ok {
			to := p.name(own)
			switch only, limited := p.only[from]; {
			case to == from:
			case to == "":
				faults = append(faults, pkg+" imports "+own+", which is not in the picture")
			case p.level[to] >= p.level[from]:
				faults = append(faults, pkg+" imports "+own+", which does not lie below it")
			case limited && !slices.Contains(only, to):
				faults = append(faults, pkg+" imports "+own+", not one of "+strings.Join(only, ", "))
			}
			continue
		}
		for library, owners := range p.libraries {
			if (path == library || strings.HasPrefix(path, library+"/")) && !slices.Contains(owners, from) {
				faults = append(faults, pkg+" imports "+path+", which belongs to "+strings.Join(owners, ", "))
			}
		}
	}
	return faults
}

func TestPicture(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	p, err := readPicture(file.Doc.Text())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "list", "-e", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg, ok := strings.CutPrefix(fields[0], module)
		if !ok {
			continue // the root itself
		}
		seen[p.name(pkg)] = true
		for _, fault := range p.check(pkg, fields[1:]) {
			t.Error(fault)
		}
	}
	for name := range p.level {
		if !seen[name] {
			t.Errorf("%s is in the picture, and nowhere else", name)
		}
	}
}

func TestPictureFinds(t *testing.T) {
	p, err := readPicture("x\n\n\ttop\n\tguest mid\n\tlow\n\nx\n\n\tguest low/sub\n\nx\n\n\texample.org/lib low\n")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		pkg, path string
		want      string
	}{
		{"top", module + "low", ""},
		{"mid/deeper", module + "mid", ""},
		{"mid", module + "low/below", ""},
		{"mid", module + "top", "mid imports top, which does not lie below it"},
		{"mid", module + "guest", "mid imports guest, which does not lie below it"},
		{"mid", module + "other", "mid imports other, which is not in the picture"},
		{"other", "fmt", "other is not in the picture"},
		{"guest", module + "low", "guest imports low, not one of low/sub"},
		{"low", "example.org/lib/v2", ""},
		{"top", "example.org/lib/v2", "top imports example.org/lib/v2, which belongs to low"},
		{"top", "example.org/library", ""},
	}
	for _, tt := range tests {
		if got := strings.Join(p.check(tt.pkg, []string{tt.path}), "; "); got != tt.want {
			t.Errorf("%s imports %s: got %q, want %q", tt.pkg, tt.path, got, tt.want)
		}
	}
}
