package jobfile

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/reducer"
	"github.com/millrace/millrace/store"
)

// Bounds of counts. They are far beyond what makes sense, and far below what does harm.
const (
	maxReducers = 100_000
	maxSlots    = 4096
	maxSplit    = 4096 // what a plan takes into one
	maxList     = 10_000
	maxPriority = 9
	maxTenant   = 63
)

// A FieldError says which field of a specification is wrong, and how.
type FieldError struct {
	Field string // limits.memory, inputs[0]
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

func wrong(field, format string, args ...any) error {
	return &FieldError{field, fmt.Errorf(format, args...)}
}

// Validate checks a specification from flags, from a file or both: that every value is possible and that nothing needed
// is missing. Its errors are *FieldError. It asks no store.
func Validate(s *job.Spec) error {
	if len(s.Inputs) == 0 {
		return wrong("inputs", "none given")
	}
	if s.Program.Path == "" && s.Program.Name == "" && len(s.Groups) == 0 {
		return wrong("program", "none given")
	}
	if prints(s) && s.Format.IsTable() {
		return wrong("format", "%s is not printed: name an output", s.Format)
	}
	if prints(s) && s.Compress != "" {
		return wrong("compress", "what is printed is not compressed: name an output")
	}
	if prints(s) && s.Single != "" {
		return wrong("single", "name an output in which it lies")
	}
	return check(s)
}

// check checks what is given.
func check(s *job.Spec) error {
	return first(
		func() error { return checkCounts(s) },
		func() error { return checkWords(s) },
		func() error { return checkProgram(s) },
		func() error { return checkReducer(s) },
		func() error { return checkGroups(s) },
		func() error { return checkStore(&s.Store) },
		func() error { return checkGlobs("include", s.Include) },
		func() error { return checkGlobs("exclude", s.Exclude) },
		func() error { return checkPlaces(s) },
	)
}

func first(checks ...func() error) error {
	for _, c := range checks {
		if err := c(); err != nil {
			return err
		}
	}
	return nil
}

func checkCounts(s *job.Spec) error {
	for _, c := range []struct {
		field     string
		got, most int64
	}{
		{"reducers", int64(s.Reducers), maxReducers},
		{"split", int64(s.Split), maxSplit},
		{"slots", int64(s.Slots), maxSlots},
		{"limit", s.Limit, 1 << 62},
		{"number of inputs", int64(len(s.Inputs)), maxList},
		{"number of params", int64(len(s.Params)), maxList},
	} {
		if c.got < 0 || c.got > c.most {
			return wrong(c.field, "%d is not between 0 and %d", c.got, c.most)
		}
	}
	if s.Priority < -maxPriority || s.Priority > maxPriority {
		return wrong("priority", "%d is not between %d and %d", s.Priority, -maxPriority, maxPriority)
	}
	if len(s.Tenant) > maxTenant || strings.ContainsFunc(s.Tenant, unicode.IsControl) {
		return wrong("tenant", "%.70q is longer than %d bytes, or has control characters", s.Tenant, maxTenant)
	}
	return first(
		func() error { return checkLimits("limits", &s.Limits) },
		func() error { return checkExits("ok_exit", s.OKExit) },
	)
}

// checkLimits checks the limits that are the field of that name.
func checkLimits(field string, l *job.Limits) error {
	for _, c := range []struct {
		name      string
		got, most int64
	}{
		{".memory", l.Memory, 1 << 40},
		{".output", l.Output, 1 << 50},
		{".records", l.Records, 1 << 50},
		{".reads", l.Reads, 1 << 50},
		{".read_bytes", l.ReadBytes, 1 << 50},
		{".writes", l.Writes, 1 << 50},
		{".log", l.Log, 16 << 20},
		{".log_lines", l.LogLines, 1 << 20},
		{".shuffle", l.Shuffle, 1 << 40},
		{".spill", l.Spill, 1 << 60},
	} {
		if c.got < 0 || c.got > c.most {
			return wrong(field+c.name, "%d is not between 0 and %d", c.got, c.most)
		}
	}
	if l.Wall < 0 {
		return wrong(field+".wall", "%v is negative", l.Wall)
	}
	if l.CPU < 0 {
		return wrong(field+".cpu", "%v is negative", l.CPU)
	}
	return nil
}

func checkExits(field string, codes []int) error {
	for i, code := range codes {
		if code < 0 || code > 255 {
			return wrong(fmt.Sprintf("%s[%d]", field, i), "%d is not between 0 and 255", code)
		}
	}
	return nil
}

func checkWords(s *job.Spec) error {
	for _, w := range []struct {
		field, got string
		known      []string
	}{
		{"format", string(s.Format), []string{string(job.Text), string(job.JSONL), string(job.Arrow), string(job.Parquet)}},
		{"compress", string(s.Compress), []string{string(job.Gzip), string(job.Zstd)}},
		{"partition", string(s.Partition), []string{"", string(job.ByHash), string(job.ByRange)}},
		{"deterministic", string(s.Deterministic), []string{string(job.Check)}},
		{"isolation", string(s.Isolation), []string{string(job.IsolateObject), string(job.IsolateSplit)}},
		{"program.engine", string(s.Program.Engine), []string{string(job.Builtin), string(job.Wasm), string(job.Native)}},
	} {
		if w.got != "" && !slices.Contains(w.known, w.got) {
			return wrong(w.field, "%q is none of %s", w.got, strings.Join(w.known, ", "))
		}
	}
	if strings.ContainsFunc(s.Name, unicode.IsControl) || len(s.Name) > 200 {
		return wrong("name", "%.200q: control characters, or more than 200 bytes", s.Name)
	}
	if s.Format.IsTable() && s.Compress != "" {
		return wrong("compress", "%s files are compressed in themselves", s.Format)
	}
	switch {
	case s.Format.IsTable() && s.Single != "":
		return wrong("single", "%s files cannot be put together", s.Format)
	case strings.ContainsFunc(s.Single, unicode.IsControl) || strings.ContainsAny(s.Single, "/\\") || strings.HasPrefix(s.Single, "_") ||
		strings.HasPrefix(s.Single, ".") || len(s.Single) > 200 || !utf8.ValidString(s.Single):
		return wrong("single", "%.200q: want a name without slashes that begins neither with _ nor with a dot", s.Single)
	}
	if _, err := ParseTolerance(s.Tolerate); err != nil {
		return &FieldError{"tolerate", err}
	}
	return checkParams("params", s.Params)
}

func checkParams(field string, params map[string]string) error {
	for name := range params {
		if name == "" || len(name) > 200 || strings.ContainsAny(name, "=\x00\n") {
			return wrong(field, "%.200q is not a name of a parameter", name)
		}
	}
	return nil
}

func checkProgram(s *job.Spec) error {
	p := &s.Program
	if p.Engine == job.Builtin && p.Path != "" {
		return wrong("program.path", "a builtin has none")
	}
	if p.Digest != "" && (len(p.Digest) != 64 || strings.Trim(p.Digest, "0123456789abcdef") != "") {
		return wrong("program.digest", "not a SHA-256 in lower case hexadecimal")
	}
	return nil
}

func checkReducer(s *job.Spec) error {
	if s.Reducer == "" {
		return nil
	}
	n, err := reducer.LookupText(s.Reducer)
	if err != nil {
		return &FieldError{"reducer", err}
	}
	if n.Inputs > 0 && len(s.Inputs) > 0 && len(s.Inputs) < n.Inputs {
		return wrong("reducer", "%s wants %d inputs, not %d", s.Reducer, n.Inputs, len(s.Inputs))
	}
	return nil
}

// checkStore's errors do not repeat the endpoint: a password may stand in it.
func checkStore(s *job.Store) error {
	if s.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(s.Endpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Opaque != "":
		return wrong("store.endpoint", "not a URL like https://host:port")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return wrong("store.endpoint", "a URL with credentials, a query or a fragment")
	}
	return nil
}

func checkGlobs(field string, globs []string) error {
	for i, g := range globs {
		if _, err := store.CompileGlob(g); err != nil {
			return &FieldError{fmt.Sprintf("%s[%d]", field, i), err}
		}
	}
	return nil
}

// checkPlaces checks the URIs of a job, and that it does not read what it writes.
func checkPlaces(s *job.Spec) error {
	var output, work store.URI
	var err error
	if !prints(s) {
		if output, err = place("output", s.Output); err != nil {
			return err
		}
	}
	if s.Work != "" {
		if work, err = place("work", s.Work); err != nil {
			return err
		}
	}
	seen := map[store.URI]bool{}
	for i, in := range s.Inputs {
		field := fmt.Sprintf("inputs[%d]", i)
		u, err := store.ParseURI(in)
		if err != nil {
			return &FieldError{field, err}
		}
		if seen[u] {
			return wrong(field, "%s is given twice", u)
		}
		seen[u] = true
		if !prints(s) && inside(output, u) {
			return wrong("output", "%s lies inside input %s", output, u)
		}
		if s.Work != "" && inside(work, u) {
			return wrong("work", "%s lies inside input %s", work, u)
		}
	}
	return nil
}

// prints reports whether the job has no output but what it prints.
func prints(s *job.Spec) bool { return s.Output == "" || s.Output == "-" }

func place(field, uri string) (store.URI, error) {
	u, err := store.ParseURI(uri)
	if err != nil {
		return u, &FieldError{field, err}
	}
	if u.Glob != "" {
		return u, wrong(field, "%s is a pattern: want one place", u)
	}
	return u, nil
}

// inside reports whether what is written at out would be read by in.
func inside(out, in store.URI) bool {
	if out.Scheme != in.Scheme {
		return false
	}
	key := string(out.Prefix)
	if key != "" && !strings.HasSuffix(key, "/") {
		key += "/"
	}
	switch {
	case out.Scheme == "file":
		var ok bool
		whole := strings.TrimSuffix(out.Bucket, "/") + "/" + key
		if key, ok = strings.CutPrefix(whole, strings.TrimSuffix(in.Bucket, "/")+"/"); !ok {
			return false
		}
	case out.Bucket != in.Bucket:
		return false
	}
	return in.Match(store.Key(key + "part-00000"))
}
