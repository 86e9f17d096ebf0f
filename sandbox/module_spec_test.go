package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
)

// specSuites returns the directories of the WebAssembly core tests, versions 1 and 2, compiled as wazero's module holds them.
func specSuites(tb testing.TB) (v1, v2 string, err error) {
	out, err := exec.CommandContext(tb.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	dir := strings.TrimSpace(string(out))
	if err == nil && dir == "" {
		err = errors.New("wazero is not in the module cache")
	}
	dir = filepath.Join(dir, "internal", "integration_test", "spectest")
	return filepath.Join(dir, "v1", "testdata"), filepath.Join(dir, "v2", "testdata"), err
}

// A specCommand is a line of a test script.
type specCommand struct {
	Type       string
	Line       int
	Filename   string
	Text       string // what an implementation may say
	ModuleType string `json:"module_type"`
}

// specCommands yields the commands of all scripts of a suite, with the name of their script.
func specCommands(tb testing.TB, dir string, each func(script string, c specCommand)) {
	scripts, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(scripts) == 0 {
		tb.Fatalf("no scripts in %s: %v", dir, err)
	}
	for _, name := range scripts {
		b, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		var script struct{ Commands []specCommand }
		if err := json.Unmarshal(b, &script); err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		for _, c := range script.Commands {
			each(strings.TrimSuffix(filepath.Base(name), ".json"), c)
		}
	}
}

// allowedSince2 are modules that version 1 calls invalid and version 2 does not.
var allowedSince2 = map[string]string{
	"func:493": "several results", "func:497": "several results", "type:53": "several results", "type:57": "several results",
	"imports:310": "several tables", "imports:314": "several tables", "imports:318": "several tables",
	"unreached-invalid:539": "targets of br_table in dead code with different types",
}

// TestModuleSpec puts all modules of the specification's tests through the validator: it must accept the valid ones, also those that
// cannot be linked or trap when they start, and refuse the others.
func TestModuleSpec(t *testing.T) {
	v1, v2, err := specSuites(t)
	if err != nil {
		t.Skipf("the specification's tests come with the source of wazero: %v", err)
	}
	t.Run("v1", func(t *testing.T) { testSpec(t, v1, allowedSince2) })
	t.Run("v2", func(t *testing.T) { testSpec(t, v2, nil) })
}

func testSpec(t *testing.T, dir string, allowed map[string]string) {
	ctx := context.Background()
	engine := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer engine.Close(ctx)
	accepted, refused, text := 0, 0, 0
	specCommands(t, dir, func(script string, c specCommand) {
		if c.Filename == "" {
			return
		}
		if c.ModuleType == "text" {
			text++
			return
		}
		code, err := os.ReadFile(filepath.Join(dir, c.Filename))
		if err != nil {
			t.Fatal(err)
		}
		_, err = validateModule(code)
		if err == nil {
			accepted++
		} else {
			refused++
		}
		at := fmt.Sprintf("%s:%d", script, c.Line)
		valid := c.Type != "assert_invalid" && c.Type != "assert_malformed" || allowed[at] != ""
		if valid != (err == nil) {
			t.Errorf("%s (%s) %s %q: %v", at, c.Filename, c.Type, c.Text, err)
		}
		compiled, theirs := compile(ctx, engine, code)
		if theirs == nil {
			compiled.Close(ctx)
		}
		switch {
		case err == nil && theirs != nil:
			t.Logf("%s: wazero refuses what is valid: %v", at, theirs)
			if !mentions(theirs, wazeroRefuses) {
				t.Error("that is not known")
			}
		case err != nil && theirs == nil:
			t.Logf("%s: wazero accepts what is not valid: %v", at, err)
			if !weAreStricter(err, code) {
				t.Error("that is not known")
			}
		}
	})
	if accepted == 0 || refused == 0 {
		t.Error("a suite must have both")
	}
	t.Logf("%d modules accepted, %d refused; %d left out: they are in the text format", accepted, refused, text)
	for at, why := range allowed {
		t.Logf("%s is valid since version 2: %s", at, why)
	}
}
