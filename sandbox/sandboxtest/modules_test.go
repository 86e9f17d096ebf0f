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
	file, err := parser.ParseFile(token.NewFileSet(), "../wasi_host.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "wasiCalls" {
			return true
		}
		for _, e := range spec.Values[0].(*ast.CompositeLit).Elts {
			found[strings.Trim(e.(*ast.CompositeLit).Elts[0].(*ast.BasicLit).Value, `"`)] = true
		}
		return false
	})
	for name := range found {
		if _, ok := wasiTypes[name]; !ok {
			t.Errorf("%s has no attacks", name)
		}
	}
	for name := range wasiTypes {
		if !found[name] {
			t.Errorf("%s is no host function", name)
		}
	}
}
