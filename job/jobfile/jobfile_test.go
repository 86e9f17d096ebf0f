package jobfile

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/reducer"
)

const full = `
name: words
inputs: ["s3://mail/2026/", s3://mail/2025/*.eml]
include: ["*.eml"]
exclude: [spam/**]
modified_since: 2026-01-31
output: s3://out/words
overwrite: true
work: s3://work/x
program: {engine: wasm, name: w, path: ./w.wasm, digest: "` + sha + `", args: [-v]}
params: {pattern: 'a|b', env: "${SECRET}"}
reducers: 8
reducer: sum
format: jsonl
compress: zstd
single: words.zst
partition: range
deterministic: check
limits: {memory: 64MiB, wall: 30s, cpu: 1m30s, output: 4096, records: 1000, reads: 5, read_bytes: 1MiB, writes: 6, log: 10KB, log_lines: 7, shuffle: 1GB, spill: 2GB}
isolation: split
tolerate: 0.5%
split: 9
slots: 2
priority: -3
tenant: mail-team
limit: 10
ok_exit: [0, 1]
insecure: [cgroup]
store: {no_sign_request: true, requester_pays: false, endpoint: "https://s3.example.com:9000", region: eu}
`

const sha = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParse(t *testing.T) {
	got, err := Parse("job.yaml", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	want := &job.Spec{
		Name:          "words",
		Inputs:        []string{"s3://mail/2026/", "s3://mail/2025/*.eml"},
		Include:       []string{"*.eml"},
		Exclude:       []string{"spam/**"},
		ModifiedSince: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC),
		Output:        "s3://out/words",
		Overwrite:     true,
		Work:          "s3://work/x",
		Program:       job.Program{Engine: job.Wasm, Name: "w", Path: "./w.wasm", Digest: sha, Args: []string{"-v"}},
		Params:        map[string]string{"pattern": "a|b", "env": "${SECRET}"},
		Reducers:      8,
		Reducer:       "sum",
		Format:        job.JSONL,
		Compress:      job.Zstd,
		Single:        "words.zst",
		Partition:     job.ByRange,
		Deterministic: job.Check,
		Limits: job.Limits{Memory: 64 << 20, Wall: 30 * time.Second, CPU: 90 * time.Second,
			Output: 4096, Records: 1000, Reads: 5, ReadBytes: 1 << 20, Writes: 6, Log: 10e3, LogLines: 7, Shuffle: 1e9, Spill: 2e9},
		Isolation: job.IsolateSplit,
		Tolerate:  "0.5%",
		Split:     9,
		Slots:     2,
		Priority:  -3,
		Tenant:    "mail-team",
		Limit:     10,
		OKExit:    []int{0, 1},
		Insecure:  []string{"cgroup"},
		Store:     job.Store{NoSignRequest: true, Endpoint: "https://s3.example.com:9000", Region: "eu"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := Validate(got); err != nil {
		t.Error(err)
	}
	got, err = Parse("job.yaml", []byte("program: ./w\n"))
	if err != nil || got.Program.Path != "./w" {
		t.Errorf("got %+v, %v, want a program of path ./w", got, err)
	}
}

// Every field of a Spec can be given in a file.
func TestFieldsAreComplete(t *testing.T) {
	spec, err := Parse("job.yaml", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	graph, err := Parse("job.yaml", []byte(groups))
	if err != nil {
		t.Fatal(err)
	}
	spec.Groups, spec.Channels = graph.Groups, graph.Channels // what stands beside them is of other jobs
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name := path + f.Name
			if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[time.Time]() {
				walk(v.Field(i), name+".")
			} else if v.Field(i).IsZero() && name != "Store.RequesterPays" {
				t.Errorf("%s was not set", name)
			}
		}
	}
	walk(reflect.ValueOf(*spec), "")
	g := graph.Groups["count"]
	g.Program.Digest, g.Limits.Shuffle, g.Limits.Spill = sha, 1, 1 // no group has the last two
	g.Limits.Records = graph.Groups["look"].Limits.Records
	walk(reflect.ValueOf(g), "Groups.")
	walk(reflect.ValueOf(graph.Channels["word"]), "Channels.")
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown field", "name: x\n\n  \nrecucers: 5", `job.yaml:4:1: unknown field "recucers" (did you mean reducers?)`},
		{"unlike any", "colour: red", `job.yaml:1:1: unknown field "colour"`},
		{"unknown nested field", "limits:\n  memry: 5", `job.yaml:2:3: unknown field "limits.memry" (did you mean memory?)`},
		{"case variant", "Inputs: []", `job.yaml:1:1: unknown field "Inputs" (did you mean inputs?)`},
		{"duplicate field", "name: a\nname: b", `job.yaml:2:1: field "name" is given twice, first in line 1`},
		{"duplicate parameter", "params: {a: x, a: y}", `job.yaml:1:16: field "a" is given twice, first in line 1`},
		{"alias bomb", "include: &a [x]\nexclude: [*a, *a]", "job.yaml:1:10: anchors are not supported"},
		{"merge key", "limits: {<<: {memory: 5}}", "job.yaml:1:10: merge keys are not supported"},
		{"tag", "name: !!binary aGk=", "job.yaml:1:7: tags are not supported"},
		{"own tag", "name: !env HOME", "job.yaml:1:7: tags are not supported"},
		{"several documents", "name: a\n---\nname: b", "job.yaml:2:1: a second document: only one is read"},
		{"garbage after a document", "name: a\n...\n}", "job.yaml:2: did not find expected <document start>"},
		{"deep", "params: " + strings.Repeat("[", 40) + strings.Repeat("]", 40), "job.yaml:1:40: nested deeper than 32"},
		{"very deep", strings.Repeat("[", 200_000), "job.yaml: exceeded max depth of 10000"},
		{"large", strings.Repeat("#", 1<<20+1), "job.yaml: 1048577 bytes: more than 1048576"},
		{"UTF-16", "\xff\xfen\x00a\x00", "job.yaml: not UTF-8"},
		{"invalid UTF-8", "name: \xc3", "job.yaml: not UTF-8"},
		{"NUL", "name: a\x00b", "job.yaml: control characters are not allowed"},
		{"empty", "", "job.yaml: empty"},
		{"only a comment", "# nothing", "job.yaml: empty"},
		{"a list", "- a", "job.yaml:1:1: want a mapping of fields, got a list"},
		{"a string", "hello", `job.yaml:1:1: want a mapping of fields, got the string "hello"`},
		{"bad syntax", "name: [a", "job.yaml:1: did not find expected ',' or ']'"},
		{"a tab", "limits:\n\tmemory: 5", "job.yaml:2: found character that cannot start any token"},
		{"a list as a key", "? [a]\n: b", "job.yaml:1:3: want the name of a field, got a list"},

		{"no", "name: no", `job.yaml:1:7: name: want a string, got "no", which YAML may read as something else: put it in quotes: "no"`},
		{"null", "name: null", `job.yaml:1:7: name: want a string, got nothing: put it in quotes: "null"`},
		{"nothing", "name:", `job.yaml:1:6: name: want a string, got nothing: "" is the empty one`},
		{"number for a string", "params: {n: 5}", `job.yaml:1:13: params.n: want a string, got a number: put it in quotes: "5"`},
		{"octal for a string", "params: {n: 010}", `job.yaml:1:13: params.n: want a string, got a number: put it in quotes: "010"`},
		{"1e999 for a string", "params: {n: 1e999}", `job.yaml:1:13: params.n: want a string, got "1e999", which YAML may read as something else: put it in quotes: "1e999"`},
		{"NaN for a string", "params: {n: .nan}", `job.yaml:1:13: params.n: want a string, got a number: put it in quotes: ".nan"`},
		{"date for a string", "params: {d: 2026-01-01}", `job.yaml:1:13: params.d: want a string, got a date: put it in quotes: "2026-01-01"`},
		{"list for a string", "name: [a]", "job.yaml:1:7: name: want a string, got a list"},
		{"string for a list", "inputs: s3://b", `job.yaml:1:9: inputs: want a list, got the string "s3://b"`},
		{"list for a mapping", "limits: []", "job.yaml:1:9: limits: want a mapping, got a list"},
		{"list for a program", "program: []", "job.yaml:1:10: program: want a path or a mapping, got a list"},
		{"yes for a flag", "overwrite: yes", `job.yaml:1:12: overwrite: want true or false, got "yes", which YAML may read as something else`},
		{"quoted flag", `overwrite: "true"`, `job.yaml:1:12: overwrite: want true or false, got the string "true"`},
		{"octal", "reducers: 010", `job.yaml:1:11: reducers: want a whole number in decimal digits, got "010"`},
		{"new octal", "reducers: 0o10", `job.yaml:1:11: reducers: want a whole number in decimal digits, got "0o10"`},
		{"float", "reducers: 8.0", `job.yaml:1:11: reducers: want a whole number in decimal digits, got "8.0"`},
		{"1e999", "reducers: 1e999", `job.yaml:1:11: reducers: want a whole number in decimal digits, got "1e999"`},
		{"NaN", "reducers: .nan", `job.yaml:1:11: reducers: want a whole number in decimal digits, got ".nan"`},
		{"quoted number", `reducers: "8"`, `job.yaml:1:11: reducers: want a whole number, got the string "8"`},
		{"word for a number", "slots: many", `job.yaml:1:8: slots: want a whole number, got the string "many"`},
		{"10^30", "slots: 1000000000000000000000000000000", `job.yaml:1:8: slots: want a whole number in decimal digits, got "1000000000000000000000000000000"`},

		{"a priority", "priority: -10", "job.yaml:1:11: priority: -10 is not between -9 and 9"},
		{"a tenant", `tenant: "a\nb"`, `job.yaml:1:9: tenant: "a\nb" is longer than 63 bytes, or has control characters`},
		{"negative count", "reducers: -1", "job.yaml:1:11: reducers: -1 is not between 0 and 100000"},
		{"10^12", "slots: 1000000000000", "job.yaml:1:8: slots: 1000000000000 is not between 0 and 4096"},
		{"negative duration", "limits: {wall: -5s}", "job.yaml:1:16: limits.wall: -5s is negative"},
		{"exit code", "ok_exit: [0, 256]", "job.yaml:1:14: ok_exit[1]: 256 is not between 0 and 255"},
		{"duration without a unit", "limits: {wall: 5}", `job.yaml:1:16: limits.wall: "5" is not a duration like 30s or 5m`},
		{"bad size", "limits: {memory: 64mb}", `job.yaml:1:18: limits.memory: "64mb" is not a size like 64MiB or 2GB`},
		{"huge size", "limits: {memory: 9999999TiB}", `job.yaml:1:18: limits.memory: "9999999TiB" is not a size like 64MiB or 2GB`},
		{"nonsense date", "modified_since: 2026-02-30", `job.yaml:1:17: modified_since: "2026-02-30" is neither a date like 2026-01-31 nor a time like 2026-01-31T08:00:00Z`},
		{"nonsense zone", "modified_since: 2026-01-01T00:00:00+99:00", `job.yaml:1:17: modified_since: "2026-01-01T00:00:00+99:00" is neither a date like 2026-01-31 nor a time like 2026-01-31T08:00:00Z`},
		{"tolerance", "tolerate: some", `job.yaml:1:11: tolerate: "some" is neither a number of objects, a percentage nor all`},
		{"negative tolerance", "tolerate: -1", `job.yaml:1:11: tolerate: "-1" is neither a number of objects, a percentage nor all`},
		{"engine", "program: {engine: java}", `job.yaml:1:19: program.engine: "java" is none of builtin, wasm, native`},
		{"format", "format: csv", `job.yaml:1:9: format: "csv" is none of text, jsonl, arrow, parquet`},
		{"compression", "compress: lzma", `job.yaml:1:11: compress: "lzma" is none of gzip, zstd`},
		{"compressed table", "format: parquet\ncompress: gzip", `job.yaml:2:11: compress: parquet files are compressed in themselves`},
		{"single table", "format: arrow\nsingle: x", `job.yaml:2:9: single: arrow files cannot be put together`},
		{"single in a directory", "single: a/b", `job.yaml:1:9: single: "a/b": want a name without slashes that begins neither with _ nor with a dot`},
		{"single manifest", "single: _manifest.json", `job.yaml:1:9: single: "_manifest.json": want a name without slashes that begins neither with _ nor with a dot`},
		{"no determinism", "deterministic: never", `job.yaml:1:16: deterministic: "never" is none of check`},
		{"isolation", "isolation: thread", `job.yaml:1:12: isolation: "thread" is none of object, split`},
		{"reducer", "reducer: avg", `job.yaml:1:10: reducer: "avg" is none of ` + reducer.Operations},
		{"argument of a reducer", "reducer: top-k(0)", `job.yaml:1:10: reducer: top-k: want a number from 1 to 1000, as in top-k(10)`},
		{"one input to join", "inputs: [./a]\nreducer: join(left)", `job.yaml:2:10: reducer: join(left) wants 2 inputs, not 1`},
		{"digest", "program: {digest: abc}", "job.yaml:1:19: program.digest: not a SHA-256 in lower case hexadecimal"},
		{"path of a builtin", "program: {engine: builtin, path: x}", "job.yaml:1:34: program.path: a builtin has none"},
		{"parameter", `params: {"a=b": x}`, `job.yaml:1:9: params: "a=b" is not a name of a parameter`},
		{"name with an escape", `name: "\e[31m"`, `job.yaml:1:7: name: "\x1b[31m": control characters, or more than 200 bytes`},
		{"glob", `include: [a, "[b"]`, `job.yaml:1:14: include[1]: [b: "[" without "]"`},
		{"endpoint of another scheme", "store: {endpoint: file:///etc/passwd}", "job.yaml:1:19: store.endpoint: not a URL like https://host:port"},
		{"endpoint with a password", "store: {endpoint: https://me:secret@host}", "job.yaml:1:19: store.endpoint: a URL with credentials, a query or a fragment"},
		{"dots in a prefix", "inputs: [s3://b/a/../x]", `job.yaml:1:10: inputs[0]: s3://b/a/../x: ".." cannot stand in a URI`},
		{"newline in a bucket", `inputs: ["s3://b\nx/a"]`, `job.yaml:1:10: inputs[0]: "s3://b\nx/a": a URI cannot hold newlines or NUL`},
		{"input twice", "inputs: [s3://b/x/, s3://b/x/]", "job.yaml:1:21: inputs[1]: s3://b/x/ is given twice"},
		{"output inside input", "inputs: [s3://b/]\noutput: s3://b/out", "job.yaml:2:9: output: s3://b/out lies inside input s3://b/"},
		{"work inside input", "inputs: [s3://b]\nwork: s3://b/w", "job.yaml:2:7: work: s3://b/w lies inside input s3://b/"},
		{"output with a pattern", "output: s3://b/*/x", "job.yaml:1:9: output: s3://b/*/x is a pattern: want one place"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec, err := Parse("job.yaml", []byte(tt.text))
			if err == nil {
				t.Fatalf("got %+v, want error %s", spec, tt.want)
			}
			if got := err.Error(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestInside(t *testing.T) {
	tests := []struct {
		output, input string
		want          bool
	}{
		{"s3://b/out", "s3://b/", true},
		{"s3://b/2026-out", "s3://b/2026", true},
		{"s3://b/mail/out", "s3://b/mail/*.eml", false},
		{"s3://b/mail/out", "s3://b/mail/**", true},
		{"s3://b/out", "s3://b/out2/", false},
		{"s3://b/out", "s3://b/outer", false},
		{"s3://b/out", "s3://c/", false},
		{"s3://b/out/x", "s3://b/out/", true},
		{"s3://b/out", "s3://b/out/x/", false},
		{"file:///srv/mail/out", "file:///srv/mail", true},
		{"file:///srv/mail2", "file:///srv/mail", false},
		{"file:///srv/mail/out", "file:///srv/mail/*/*", true},
		{"file:///srv/mail/out", "file:///srv/mail/*/*.eml", false},
		{"file:///x", "file:///", true},
		{"-", "s3://b/", false},
	}
	for _, tt := range tests {
		err := Validate(&job.Spec{Inputs: []string{tt.input}, Output: tt.output, Program: job.Program{Name: "grep"}})
		var field *FieldError
		if got := errors.As(err, &field) && field.Field == "output"; got != tt.want || !got && err != nil {
			t.Errorf("%s in %s: got %v, want an error: %t", tt.output, tt.input, err, tt.want)
		}
	}
}

func TestValidateWantsAll(t *testing.T) {
	tests := []struct {
		spec job.Spec
		want string
	}{
		{job.Spec{}, "inputs: none given"},
		{job.Spec{Inputs: []string{"s3://b"}}, "program: none given"},
		{job.Spec{Inputs: []string{"b"}, Program: job.Program{Name: "x"}}, "inputs[0]: b: neither a URI like s3://bucket/prefix nor a path like ./dir"},
		{job.Spec{Inputs: []string{"s3://b"}, Program: job.Program{Name: "x"}, Format: job.Arrow}, "format: arrow is not printed: name an output"},
		{job.Spec{Inputs: []string{"s3://b"}, Program: job.Program{Name: "x"}, Single: "x"}, "single: name an output in which it lies"},
		{job.Spec{Inputs: []string{"s3://b"}, Program: job.Program{Name: "x"}, Compress: job.Gzip}, "compress: what is printed is not compressed: name an output"},
		{job.Spec{Inputs: []string{"s3://b"}, Program: job.Program{Name: "x"}, Tolerate: "101%"}, `tolerate: "101%" is neither a number of objects, a percentage nor all`},
	}
	for _, tt := range tests {
		if err := Validate(&tt.spec); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "17": 17, "5B": 5, "2KB": 2000, "64MiB": 64 << 20, "8388607TiB": 8388607 << 40} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "+1", "01", "1.5GB", "1 GB", "1k", "1iB", "1BB", "8388608TiB", "99999999999999999999"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

func TestTolerance(t *testing.T) {
	tests := []struct {
		text          job.Tolerance
		failed, total int64
		want          bool
	}{
		{"", 1, 100, true}, {"", 2, 100, false}, {"", 1, 99, false}, {"", 0, 0, true},
		{"0", 0, 5, true}, {"0", 1, 1e9, false},
		{"20", 20, 20, true}, {"20", 21, 1e9, false},
		{"50%", 1, 2, true}, {"50%", 2, 3, false}, {"0.5%", 5, 1000, true}, {"0.5%", 6, 1000, false}, {"100%", 7, 7, true},
		{"all", math.MaxInt64, math.MaxInt64, true},
	}
	for _, tt := range tests {
		tol, err := ParseTolerance(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := tol.Allows(tt.failed, tt.total); got != tt.want {
			t.Errorf("%q: %d of %d: got %t, want %t", tt.text, tt.failed, tt.total, got, tt.want)
		}
	}
	for _, text := range []job.Tolerance{"-1", "1e3", "%", "101%", "NaN%", "1 %", "99999999999999999999", "1.5"} {
		if _, err := ParseTolerance(text); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(full)
	f.Add("name: no\nparams: {a: 010}\n---\n")
	f.Add("a: &a [*a]\n<<: *a\n? [x]\n: !!str y")
	f.Fuzz(func(t *testing.T, text string) {
		spec, err := Parse("job.yaml", []byte(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "job.yaml:") {
				t.Errorf("error without a place: %v", err)
			}
			return
		}
		if err := check(spec); err != nil {
			t.Errorf("parsed and then refused: %v", err)
		}
	})
}
