package chaos

import (
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/millrace/millrace/internal/agent"
	"github.com/millrace/millrace/internal/chaos/programs"
	"github.com/millrace/millrace/internal/codecache"
	"github.com/millrace/millrace/internal/coordinator/commit"
	"github.com/millrace/millrace/internal/gatewaytest"
	"github.com/millrace/millrace/internal/gatewaytest/gateway"
	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/file"
	"github.com/millrace/millrace/store/mem"
	"github.com/millrace/millrace/store/s3"
)

var (
	sameSeed  = flag.Uint64("same.seed", 0, "make the one choice of this seed; 0: begin with the time")
	sameCount = flag.Int("same.count", 0, "how many choices TestSame tries; 0: some")
)

// A choice is all that is chosen for one run of a job: what decides its output, and what must not matter.
type choice struct {
	seed uint64

	// The output is a matter of these.
	kind      *kind
	format    job.Format
	reducers  int
	partition job.Partitioning

	engine   job.Engine // "": in this process
	program  string     // of the SDK; "": a builtin, or a command
	in, out  string     // schemes
	objects  int        // that the lines are cut into, of each input
	split    int
	slots    int
	budget   int64
	compress job.Compression
	single   bool
	isolate  job.Isolation
	check    bool
	work     bool // spills go to --work, not to $TMPDIR
}

func (c *choice) String() string {
	return fmt.Sprintf("seed %d: %s as %s in %d partitions %s: engine %q, program %q, from %s to %s, %d objects, splits of %d, %d slots, budget %d, "+
		"compression %q, single %t, isolation %q, check %t, work %t", c.seed, c.kind.name, c.format, c.reducers, c.partition, c.engine, c.program,
		c.in, c.out, c.objects, c.split, c.slots, c.budget, c.compress, c.single, c.isolate, c.check, c.work)
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// choose makes the choice of a seed.
func choose(seed uint64) *choice {
	r := rand.New(rand.NewPCG(seed, 3))
	c := &choice{
		seed: seed, kind: pick(r, kinds()...), format: pick(r, job.Text, job.JSONL, job.Arrow, job.Parquet), reducers: pick(r, 1, 2, 5),
		in: pick(r, "mem", "file", "s3"), out: pick(r, "mem", "file", "s3"), objects: pick(r, 1, 3, 20, 90), split: pick(r, 0, 1, 7),
		slots: 1 + r.IntN(3), budget: pick[int64](r, 0, 1, 64<<10, 200<<10, 2<<20), work: r.IntN(2) == 0, check: r.IntN(8) == 0,
	}
	switch r.IntN(10) {
	case 0, 1, 2, 3:
		c.program = pick(r, c.kind.sdk...)
	case 4, 5:
		c.engine = job.Builtin
	case 6, 7:
		c.engine, c.program = job.Wasm, pick(r, c.kind.sdk...)
	case 8:
		c.engine, c.program = job.Native, pick(r, c.kind.sdk...)
	case 9:
		c.engine = job.Native
	}
	if c.engine == job.Wasm || c.engine == job.Native {
		c.objects = min(c.objects, 20) // each is a process, or nearly
		if c.program != "" {
			c.isolate = pick(r, "", job.IsolateObject, job.IsolateSplit)
		}
	}
	if c.kind.mapOnly {
		c.format, c.reducers = job.Text, 0
	}
	if c.reducers > 1 && !c.format.IsTable() {
		c.partition = pick(r, job.ByHash, job.ByRange)
	}
	if !c.format.IsTable() {
		c.compress, c.single = pick(r, "", job.Gzip, job.Zstd), r.IntN(4) == 0
	}
	return c
}

// whole says that only all parts together, one after the other, are the same: where they are cut is a matter of how the input is.
func (c *choice) whole() bool { return c.single || c.kind.mapOnly || c.partition == job.ByRange }

// A sameness is what has been found out so far.
type sameness struct {
	*workshop
	cache   *codecache.Cache
	gateway *gateway.Gateway
	root    string // of directories
	mem     *mem.Store
	put     map[string]bool    // inputs that are there
	want    map[string]outcome // by what it is a matter of
	guests  int                // programs that may still be built
}

// An outcome is what came of a job.
type outcome struct {
	parts   []string
	emitted int64 // records, by mappers
}

// TestSame runs jobs by other engines, from and to other stores, in other pieces, with more memory or less, and so on, all by chance. What they publish is
// always the same.
func TestSame(t *testing.T) {
	first, count, guests := *sameSeed, *sameCount, 1<<30
	if count == 0 {
		count, guests = 12, 1
		if testing.Short() { // the race detector makes compilers slow
			count, guests = 6, 0
		}
	}
	if first != 0 {
		count, guests = 1, 1<<30
	} else {
		first = uint64(time.Now().UnixNano())
	}
	cache, err := codecache.Open(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	s := &sameness{
		workshop: newWorkshop(t), cache: cache, root: t.TempDir(), mem: mem.New(), put: make(map[string]bool), want: make(map[string]outcome), guests: guests,
	}
	t.Logf("from seed %d", first)
	engines := make(map[string]int)
	for seed, done := first, 0; done < count; seed++ {
		c := choose(seed)
		if !s.can(t, c) {
			continue
		}
		done++
		engines[c.kind.name+" "+string(c.engine)]++
		if err := s.try(t, c); err != nil {
			t.Errorf("%v: %v", c, err)
		}
		if t.Failed() && done < count-5 {
			count = done + 5 // enough to see whether it is always so
		}
	}
	t.Logf("%d runs: %v", count, engines)
}

// can reports whether what a choice needs is at hand, or may be had.
func (s *sameness) can(t *testing.T, c *choice) bool {
	if c.engine == job.Native && os.Geteuid() != 0 {
		return false // others have no jail for native programs
	}
	if (c.in == "s3" || c.out == "s3") && s.gateway == nil {
		if testing.Short() {
			return false
		}
		s.gateway = gatewaytest.Start(t, "input", "output")
		gatewaytest.Setenv(t, s.gateway)
	}
	if c.program == "" || c.engine == "" || s.built[c.program+"."+string(c.engine)] != "" {
		return true
	}
	s.guests--
	return s.guests >= 0
}

// try makes the same of a choice, and says what was different.
func (s *sameness) try(t *testing.T, c *choice) error {
	plain := &choice{kind: c.kind, format: c.format, reducers: c.reducers, partition: c.partition, program: c.kind.sdk[0], in: "mem", out: "mem", objects: 20, slots: 1}
	name := fmt.Sprint(plain.kind.name, plain.format, plain.reducers, plain.partition)
	o, ok := s.want[name]
	if !ok {
		var err error
		if o, err = s.run(t, plain); err != nil {
			return fmt.Errorf("undisturbed: %w", err)
		}
		if err := known(plain, o.parts); err != nil {
			return err
		}
		s.want[name] = o
	}
	again, err := s.run(t, c)
	if err != nil {
		return err
	}
	if c.program == plain.program && again.emitted != o.emitted {
		return fmt.Errorf("%d records were emitted, want %d", again.emitted, o.emitted)
	}
	got, want := again.parts, o.parts
	if c.whole() {
		got, want = []string{strings.Join(got, "")}, []string{strings.Join(want, "")}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d parts, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			return fmt.Errorf("part %d is another: %s", i, firstDifference(got[i], want[i]))
		}
	}
	return nil
}

// known compares text with what is known of the job without running it.
func known(c *choice, parts []string) error {
	if c.format != job.Text || c.kind.want == nil {
		return nil
	}
	got := strings.Split(strings.TrimSuffix(strings.Join(parts, ""), "\n"), "\n")
	want := c.kind.want(c.kind.lines(0))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("undisturbed: %s", firstDifference(strings.Join(got, "\n"), strings.Join(want, "\n")))
	}
	return nil
}

// firstDifference shows where two texts part.
func firstDifference(got, want string) string {
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	from := max(0, i-40)
	show := func(s string) string { return fmt.Sprintf("%q", s[from:min(len(s), i+40)]) }
	return fmt.Sprintf("%d bytes and %d, at %d got %s, want %s", len(got), len(want), i, show(got), show(want))
}

// run runs a job and returns what came of it, not compressed any more.
func (s *sameness) run(t *testing.T, c *choice) (o outcome, err error) {
	t.Helper()
	tmp := filepath.Join(s.root, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	schemes := store.Schemes{"mem": s.mem.Opener(), "file": file.Open, "s3": s3.Open}
	spec := job.Spec{
		Output: s.uri(c.out, "output", fmt.Sprintf("%s-%d", c.kind.name, c.seed)), Format: c.format, Reducers: c.reducers, Partition: c.partition, Split: c.split,
		Slots: c.slots, Compress: c.compress, Isolation: c.isolate, Limits: job.Limits{Shuffle: c.budget}, Tolerate: "0",
	}
	for n := range max(c.kind.inputs, 1) {
		spec.Inputs = append(spec.Inputs, s.input(t, schemes, c, n))
	}
	if c.single {
		spec.Single = "all"
	}
	if c.check {
		spec.Deterministic = job.Check
	}
	if c.work {
		spec.Work = "file://" + filepath.Join(s.root, "work")
	}
	opts := &local.Options{Schemes: schemes, Cache: s.cache}
	if err := s.programOf(t, c, &spec, opts); err != nil {
		return o, err
	}
	if opts.Pool != nil {
		defer func() {
			if err := opts.Pool.Close(); err != nil {
				t.Error(err)
			}
		}()
	}
	result, err := local.Run(t.Context(), &spec, opts)
	if err != nil {
		return o, err
	}
	o.emitted = result.Counters.Emitted
	o.parts, err = s.read(t.Context(), schemes, spec.Output, result)
	return o, errors.Join(err, s.leftNothing(t.Context(), schemes, c, spec.Output, len(result.Parts)))
}

// programOf says what maps and reduces.
func (s *sameness) programOf(t *testing.T, c *choice, spec *job.Spec, opts *local.Options) (err error) {
	switch {
	case c.program != "" && c.engine == "":
		opts.InProcess, err = programs.Lookup(c.program)
		return err
	case c.program != "":
		spec.Program = s.program(t, c.program, c.engine)
		return nil
	}
	spec.Reducer = c.kind.reducer
	if c.engine == job.Native {
		text := c.kind.command
		if text == "" && c.kind.inputs == 0 {
			text = "exec cat"
		}
		if text != "" {
			spec.Program = s.script(t, c.kind.name, text)
			return nil
		}
	}
	spec.Program = job.Program{Engine: job.Builtin, Name: "fields"}
	if c.kind.builtin != "" {
		spec.Program.Name, spec.Reducer, spec.Params = c.kind.builtin, "", c.kind.parameters()
	}
	if c.seed%2 == 0 { // it is the same without a jail
		opts.Pool = agent.NewPool(agent.InProcess(nil))
	}
	return nil
}

// uri names a place in a bucket.
func (s *sameness) uri(scheme, bucket, name string) string {
	if scheme == "file" {
		return "file://" + filepath.Join(s.root, bucket, name)
	}
	if scheme == "mem" {
		return "mem:" + bucket + "/" + name
	}
	return scheme + "://" + bucket + "/" + name
}

func open(ctx context.Context, schemes store.Schemes, uri string) (store.Bucket, store.URI, error) {
	u, err := store.ParseURI(uri)
	if err != nil {
		return nil, u, err
	}
	return schemes.Open(ctx, u, nil)
}

// input puts the lines of a kind where its jobs read them, and returns where that is.
func (s *sameness) input(t *testing.T, schemes store.Schemes, c *choice, n int) string {
	t.Helper()
	uri := s.uri(c.in, "input", fmt.Sprintf("%s-%d/%c", c.kind.name, c.objects, 'a'+n)) + "/"
	if s.put[uri] {
		return uri
	}
	b, u, err := open(t.Context(), schemes, uri)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	i, lines := 0, c.kind.lines(n)
	for piece := range slices.Chunk(lines, (len(lines)+c.objects-1)/c.objects) {
		text := strings.Join(piece, "\n") + "\n"
		if _, err := b.Put(t.Context(), u.Prefix+store.Key(fmt.Sprintf("%05d", i)), []byte(text)); err != nil {
			t.Fatal(err)
		}
		i++
	}
	s.put[uri] = true
	return uri
}

// read returns what a job has published.
func (s *sameness) read(ctx context.Context, schemes store.Schemes, output string, r *job.Result) (parts []string, err error) {
	b, u, err := open(ctx, schemes, output)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if len(r.Failed) > 0 {
		return nil, fmt.Errorf("failed objects: %v", r.FailedNames)
	}
	for _, p := range r.Parts {
		body, err := b.Open(ctx, commit.Dir(u.Prefix)+store.Key(p.Key), p.ETag, 0, p.Size)
		if err != nil {
			return nil, err
		}
		text, err := plainText(body, r.Compress)
		if err := errors.Join(err, body.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Key, err)
		}
		if lines := int64(strings.Count(text, "\n")); !r.Format.IsTable() && lines != p.Records {
			return nil, fmt.Errorf("%s: %d lines, the manifest says %d", p.Key, lines, p.Records)
		}
		parts = append(parts, text)
	}
	return parts, nil
}

// plainText reads what was compressed so.
func plainText(r io.Reader, c job.Compression) (string, error) {
	switch c {
	case job.Gzip:
		z, err := gzip.NewReader(r)
		if errors.Is(err, io.EOF) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		r = z
	case job.Zstd:
		z, err := zstd.NewReader(r)
		if err != nil {
			return "", err
		}
		defer z.Close()
		r = z
	}
	b, err := io.ReadAll(r)
	return string(b), err
}

// leftNothing looks for what a job should have taken away, and removes what it has made.
func (s *sameness) leftNothing(ctx context.Context, schemes store.Schemes, c *choice, output string, parts int) error {
	b, u, err := open(ctx, schemes, output)
	if err != nil {
		return err
	}
	defer b.Close()
	var keys []store.Key
	for o, err := range b.List(ctx, commit.Dir(u.Prefix), "") {
		if err != nil {
			return err
		}
		keys = append(keys, o.Key)
	}
	for _, k := range keys {
		if err := b.Delete(ctx, k); err != nil {
			return err
		}
	}
	if len(keys) != parts+1 {
		return fmt.Errorf("%d parts and a manifest, but %q lie there", parts, keys)
	}
	if n := s.mem.Bucket("output").Pending(); n != 0 {
		return fmt.Errorf("%d uploads are pending", n)
	}
	for _, dir := range []string{"tmp", "work"} {
		if left, _ := os.ReadDir(filepath.Join(s.root, dir)); len(left) > 0 { // the work directory need not be there
			return fmt.Errorf("%v lie in the %s directory", left, dir)
		}
	}
	return nil
}
