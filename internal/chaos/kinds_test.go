package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/chaos/programs"
	"github.com/millrace/millrace/job"
)

// A kind is a job as its user means it: lines, and what is to become of them. Programs of several engines do it.
type kind struct {
	name    string
	line    func(r *rand.Rand) string
	builtin string   // program that does all of it; "": fields, with the stock reducer
	params  []string // of the builtin, name and value by turns
	reducer string   // stock reducer of what fields and commands print; "": there is none
	command string   // shell script that prints what is reduced; "": lines are, as they are
	sdk     []string // programs of the SDK
	inputs  int
	mapOnly bool
	// want returns what a job prints as text, in any order; nil: this is not known without it.
	want func(lines []string) []string
}

// linesOfKind is how many lines a kind's inputs have altogether.
const linesOfKind = 3000

func key(r *rand.Rand, n int) string { return "k" + strconv.Itoa(r.IntN(n)) }

func wholeLine(r *rand.Rand) string { return fmt.Sprintf("%s\t%d", key(r, 700), r.IntN(1000)-500) }

func decimalLine(r *rand.Rand) string {
	f := r.NormFloat64() * []float64{1e-9, 1, 1e12}[r.IntN(3)]
	return key(r, 500) + "\t" + strconv.FormatFloat(f, 'g', -1, 64)
}

func wordLine(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(8) {
		fmt.Fprintf(&b, "w%d ", int(r.ExpFloat64()*300))
	}
	return b.String()
}

func textLine(r *rand.Rand) string { return key(r, 900) + "\tv" + strconv.Itoa(r.IntN(12)) }

func entryLine(r *rand.Rand) string {
	return fmt.Sprintf("%s\t%d\tv%d", key(r, 700), r.IntN(9), r.IntN(100))
}

// number is a name of a stock reducer with arguments.
func number(op string, args []float64) string {
	s := make([]string, len(args))
	for i, a := range args {
		s[i] = strconv.FormatFloat(a, 'g', -1, 64)
	}
	return op + "(" + strings.Join(s, ", ") + ")"
}

func kinds() []*kind {
	top := "top-k(" + strconv.Itoa(programs.Top) + ")"
	return []*kind{
		{name: "lines", line: wordLine, builtin: "grep", params: []string{"patterns", "a", "no-name", "true", "no-number", "true"}, command: "exec grep a", sdk: []string{"lines"}, mapOnly: true, want: grepped},
		{name: "words", line: wordLine, builtin: "words", reducer: "sum", command: `exec awk '{for (i = 1; i <= NF; i++) print $i "\t1"}'`, sdk: []string{"words", "words-own", "words-group"}, want: counted},
		{name: "sort", line: textLine, builtin: "sort", reducer: "identity:string", sdk: []string{"sort", "sort-group"}, want: slices.Clone[[]string]},
		{name: "top", line: wholeLine, reducer: top, sdk: []string{"top", "top-group"}, want: topped},
		{name: "sum", line: decimalLine, reducer: "sum:float64", sdk: []string{"sum"}},
		{name: "mean", line: decimalLine, reducer: "mean", sdk: []string{"mean"}},
		{name: "histogram", line: decimalLine, reducer: number("histogram", programs.Bounds), sdk: []string{"histogram"}},
		{name: "quantiles", line: decimalLine, reducer: number("quantiles", programs.Quantiles), sdk: []string{"quantiles"}},
		{name: "distinct", line: textLine, reducer: "distinct", sdk: []string{"distinct", "distinct-group"}, want: distinguished},
		{name: "first", line: entryLine, reducer: "first:int64", sdk: []string{"first"}, want: firsts},
		{name: "last", line: entryLine, reducer: "last:int64", sdk: []string{"last"}},
		{name: "join", line: textLine, reducer: "join(outer)", sdk: []string{"join"}, inputs: 2},
	}
}

// lines returns those of the kind's input n.
func (k *kind) lines(n int) []string {
	seed := uint64(n)
	for _, c := range k.name {
		seed = seed*31 + uint64(c)
	}
	r := rand.New(rand.NewPCG(seed, 5))
	all := make([]string, linesOfKind/max(k.inputs, 1))
	for i := range all {
		all[i] = k.line(r)
		if k.mapOnly && r.IntN(3) == 0 { // what is looked for
			all[i] += "a"
		}
	}
	return all
}

func grepped(lines []string) (out []string) {
	for _, l := range lines {
		if strings.Contains(l, "a") {
			out = append(out, l)
		}
	}
	return out
}

func counted(lines []string) (out []string) {
	n := map[string]int{}
	for _, l := range lines {
		for w := range strings.FieldsSeq(l) {
			n[w]++
		}
	}
	for w, n := range n {
		out = append(out, fmt.Sprintf("%s\t%d", w, n))
	}
	return out
}

// grouped returns f of the values of each key.
func grouped(lines []string, f func(values []string) string) (out []string) {
	values := map[string][]string{}
	for _, l := range lines {
		k, v, _ := strings.Cut(l, "\t")
		values[k] = append(values[k], v)
	}
	for k, vs := range values {
		out = append(out, k+"\t"+f(vs))
	}
	return out
}

func topped(lines []string) []string {
	return grouped(lines, func(values []string) string {
		var ns []int
		for _, v := range values {
			n, _ := strconv.Atoi(v)
			ns = append(ns, n)
		}
		slices.Sort(ns)
		slices.Reverse(ns)
		ns = ns[:min(len(ns), programs.Top)]
		return strings.ReplaceAll(fmt.Sprint(ns), " ", ",")
	})
}

func distinguished(lines []string) []string {
	return grouped(lines, func(values []string) string {
		slices.Sort(values)
		return strconv.Itoa(len(slices.Compact(values)))
	})
}

// firsts knows that what values are sorted by has one digit.
func firsts(lines []string) []string {
	return grouped(lines, func(values []string) string { return slices.Min(values)[2:] })
}

// A workshop builds programs, each once.
type workshop struct {
	dir   string
	built map[string]string
}

func newWorkshop(t *testing.T) *workshop { return &workshop{t.TempDir(), make(map[string]string)} }

// program returns a program of the SDK for an engine, by its file.
func (w *workshop) program(t *testing.T, name string, engine job.Engine) job.Program {
	t.Helper()
	p := job.Program{Engine: engine, Name: name, Path: w.built[name+"."+string(engine)]}
	if p.Path != "" {
		return p
	}
	p.Path = filepath.Join(w.dir, name+"."+string(engine))
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w -X main.name="+name, "-o", p.Path, "./programs/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if engine == job.Wasm {
		build.Env = append(build.Env, "GOOS=wasip1", "GOARCH=wasm")
	}
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", p.Path, err, out)
	}
	w.built[name+"."+string(engine)] = p.Path
	return p
}

// script returns a command of that text.
func (w *workshop) script(t *testing.T, name, text string) job.Program {
	t.Helper()
	path := filepath.Join(w.dir, name+".sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	return job.Program{Engine: job.Native, Name: name, Path: path}
}
