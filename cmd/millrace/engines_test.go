package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/mailgen"
)

// Word count gives the sums of a shell pipeline, whatever the engine and the number of reducers, and twice the same bytes.
func TestWordCountEngines(t *testing.T) {
	t.Parallel()
	in := t.TempDir()
	if _, err := mailgen.New(3, nil).Write(in, 60); err != nil {
		t.Fatal(err)
	}
	pipeline := exec.Command("sh", "-c", `find "$0" -type f -exec sh -c 'cat "$0"; echo' {} \; |
		tr -s '[:space:]' '\n' | grep -v '^$' | sort | uniq -c`, in)
	pipeline.Env = append(os.Environ(), "LC_ALL=C")
	text, err := pipeline.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]int64)
	for line := range strings.Lines(string(text)) {
		n, word, _ := strings.Cut(strings.TrimSpace(line), " ")
		if want[word], err = strconv.ParseInt(n, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	first := make(map[string]string) // bytes of an output by its number of reducers
	for _, program := range [][]string{
		{"builtin:words"}, {"builtin:words"},
		{"../../examples/wordcount", "--engine=wasm"}, {"../../examples/wordcount", "--engine=native"},
	} {
		for _, r := range []string{"1", "7"} {
			out := filepath.Join(t.TempDir(), "out")
			millrace(t, slices.Concat([]string{"run"}, program, []string{"-i", in, "-o", out, "-r", r, "--progress=none"})...)
			parts, err := filepath.Glob(filepath.Join(out, "part-r-*"))
			if err != nil || strconv.Itoa(len(parts)) != r {
				t.Fatalf("%v -r %s made parts %q, error %v", program, r, parts, err)
			}
			var all strings.Builder
			got := make(map[string]int64)
			for _, part := range parts {
				text, err := os.ReadFile(part)
				if err != nil {
					t.Fatal(err)
				}
				all.WriteString(filepath.Base(part) + "\n")
				all.Write(text)
				for line := range strings.Lines(string(text)) {
					word, n, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
					word = strings.ReplaceAll(word, `\\`, `\`)
					if got[word], err = strconv.ParseInt(n, 10, 64); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !maps.Equal(got, want) {
				t.Errorf("%v -r %s counts %d words unlike the pipeline's %d", program, r, len(got), len(want))
			}
			if first[r] == "" {
				first[r] = all.String()
			} else if first[r] != all.String() {
				t.Errorf("%v -r %s: other bytes than the first output", program, r)
			}
		}
	}
}
