package sandboxtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// TestHostFunctions checks that attacks know every function that a module may import.
func TestHostFunctions(t *testing.T) {
	for _, tt := range []struct {
		file, table string
		types       map[string]string
	}{
		{"../wasi_host.go", "wasiCalls", wasiTypes},
		{"../millrace_host.go", "millraceCalls", millraceTypes},
	} {
		found := declaredCalls(t, tt.file, tt.table)
		for name := range found {
			if _, ok := tt.types[name]; !ok {
				t.Errorf("%s has no attacks", name)
			}
		}
		for name := range tt.types {
			if !found[name] {
				t.Errorf("%s is no host function", name)
			}
		}
	}
}

// declaredCalls returns the first string of each element of a table in a file of Go.
func declaredCalls(t *testing.T, path, table string) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != table {
			return true
		}
		for _, e := range spec.Values[0].(*ast.CompositeLit).Elts {
			found[strings.Trim(e.(*ast.CompositeLit).Elts[0].(*ast.BasicLit).Value, `"`)] = true
		}
		return false
	})
	return found
}
