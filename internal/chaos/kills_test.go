package chaos

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/coordinator/commit"
	"github.com/millrace/millrace/internal/gatewaytest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/file"
	"github.com/millrace/millrace/store/s3"
)

var (
	killSeed  = flag.Uint64("kill.seed", 0, "make the one run of this seed; 0: begin with the time")
	killCount = flag.Int("kill.count", 0, "how many processes TestKills kills; 0: some")
)

// A target is a bench whose job is killed.
type target struct {
	*bench
	name  string
	tmp   string // of its millrace
	cache string // of compiled code; "": the job has none
	// How long an undisturbed run takes, compilation included, and without.
	cold, warm time.Duration
	// uploads returns how many uploads with any bytes its store holds that nobody has completed.
	uploads func(t *testing.T) int
}

// A jobOf is how a target's job is made: of a kind's lines, in so many objects of so many lines.
type jobOf struct {
	kind, program string
	engine        job.Engine
	objects, each int
	change        func(*job.Spec)
	s3            bool
}

func jobsOf() []jobOf {
	return []jobOf{
		{kind: "lines", engine: job.Builtin, objects: 1500, each: 30, change: func(s *job.Spec) { s.Split = 100 }},
		{kind: "words", program: "words", engine: job.Wasm, objects: 150, each: 30, change: func(s *job.Spec) { s.Reducers = 3 }},
		{kind: "top", program: "top-group", engine: job.Native, objects: 40, each: 100, change: func(s *job.Spec) { s.Reducers, s.Split = 2, 8 }},
		{kind: "sort", engine: job.Builtin, objects: 60, each: 1000, change: func(s *job.Spec) {
			s.Reducers, s.Partition, s.Limits.Shuffle, s.Split = 3, job.ByRange, 1, 10
		}},
		{kind: "join", engine: job.Builtin, objects: 40, each: 50, s3: true, change: func(s *job.Spec) { s.Reducers, s.Single, s.Split = 3, "all", 10 }},
	}
}

// newTarget makes the input of a job, and runs it for its output and its time.
func (j *jobOf) newTarget(t *testing.T, w *workshop) *target {
	t.Helper()
	ks := kinds()
	k := ks[slices.IndexFunc(ks, func(k *kind) bool { return k.name == j.kind })]
	x := &target{name: k.name, tmp: t.TempDir(), bench: &bench{out: t.TempDir()}, uploads: func(*testing.T) int { return 0 }}
	x.env = []string{"TMPDIR=" + x.tmp}
	in, put := "file://"+t.TempDir(), file.Open
	x.uri = "file://" + x.out
	if j.s3 {
		g := gatewaytest.Start(t, "input", "output")
		gatewaytest.Setenv(t, g)
		x.out, x.uri, in, put = filepath.Join(g.Dir, "output"), "s3://output", "s3://input", s3.Open
		x.uploads = func(t *testing.T) int { return started(t, x.out) }
		x.findsUploads(t)
	}
	for n := range max(k.inputs, 1) {
		uri := fmt.Sprintf("%s/%c/", in, 'a'+n)
		x.job.Inputs = append(x.job.Inputs, uri)
		b, u, err := open(t.Context(), store.Schemes{"file": put, "s3": put}, uri)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(uint64(n), 9))
		for i := range j.objects {
			var text strings.Builder
			for range j.each {
				text.WriteString(k.line(r))
				if k.mapOnly && r.IntN(3) == 0 {
					text.WriteByte('a') // what is looked for
				}
				text.WriteByte('\n')
			}
			if _, err := b.Put(t.Context(), u.Prefix+store.Key(fmt.Sprintf("%05d", i)), []byte(text.String())); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	x.job.Slots, x.job.Tolerate, x.job.Reducer = 2, "0", k.reducer
	x.job.Program = job.Program{Engine: job.Builtin, Name: "fields"}
	switch {
	case j.program != "":
		x.job.Program, x.job.Reducer = w.program(t, j.program, j.engine), ""
	case k.builtin != "":
		x.job.Program.Name, x.job.Reducer, x.job.Params = k.builtin, "", k.parameters()
	}
	j.change(&x.job)
	if j.engine == job.Wasm {
		x.cache = t.TempDir()
		x.env = append(x.env, "XDG_CACHE_HOME="+x.cache)
	}
	began := time.Now()
	x.undisturbed(t)
	x.cold = time.Since(began)
	began = time.Now()
	if r := x.start(t, "warm", 0).end(t); r.Error != "" {
		t.Fatal(r.Error)
	}
	x.warm = time.Since(began)
	x.same(t, "warm")
	return x
}

// started returns how many uploads in a bucket of the gateway hold parts.
func started(t *testing.T, bucket string) int {
	t.Helper()
	parts, err := filepath.Glob(filepath.Join(bucket, ".sgwtmp/multipart/*/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(parts)
}

// findsUploads makes sure that an upload is found, for as long as there is one.
func (x *target) findsUploads(t *testing.T) {
	t.Helper()
	b, _, err := open(t.Context(), store.Schemes{"s3": s3.Open}, x.uri)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	w, err := b.Create(t.Context(), "upload", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.Write([]byte("part")); err != nil {
		t.Fatal(err)
	}
	p, err := w.Seal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := x.uploads(t); n == 0 {
		t.Error("an upload is not found")
	}
	if err := b.Discard(t.Context(), p.Handle); err != nil {
		t.Fatal(err)
	}
	if n := x.uploads(t); n != 0 {
		t.Errorf("%d parts of an upload that was given up", n)
	}
}

// TestKills kills runners, those that compile as well, and the whole of millrace, at random moments of five jobs, and stops some for a while. A job whose runners
// are killed makes what an undisturbed one makes. Of one that is killed as a whole nothing is visible unless it was decided; then it is run again, or cleaned up
// and run again, and makes the same. Nothing is left behind.
func TestKills(t *testing.T) {
	first, count := *killSeed, *killCount
	if count == 0 {
		if count = 12; testing.Short() {
			count = 5 // runners of a race-detecting binary take a second to start
		}
	}
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil { // what a killed millrace leaves is ours
		t.Fatal(err)
	}
	w := newWorkshop(t)
	var targets []*target
	for _, j := range jobsOf() {
		if testing.Short() && (j.s3 || j.engine == job.Wasm) { // the race detector makes compilers slow
			continue
		}
		if j.engine == job.Native && os.Geteuid() != 0 {
			t.Logf("%s is left out: only root has a jail for native programs", j.program)
			continue
		}
		x := j.newTarget(t, w)
		t.Logf("%s takes %v, and %v again", x.name, x.cold.Round(time.Millisecond), x.warm.Round(time.Millisecond))
		targets = append(targets, x)
	}
	ours := childrenOf(os.Getpid())
	t.Logf("from seed %d", first)
	tally := make(map[string]int)
	killed, bad := 0, 0
	for seed := first; killed < count && bad < 5 && (*killSeed == 0 || seed == first); seed++ {
		r := rand.New(rand.NewPCG(seed, 11))
		x := targets[r.IntN(len(targets))]
		ok := t.Run(fmt.Sprintf("seed %d of %s", seed, x.name), func(t *testing.T) {
			what, n := x.disturb(t, r, seed)
			killed += n
			tally[x.name+" "+what] += n
			strays(t, ours)
		})
		if !ok {
			bad++
		}
		if seed > first+uint64(20*count) {
			t.Fatalf("%d jobs ended before %d processes could be killed", seed-first, count)
		}
	}
	t.Logf("%d killed: %v", killed, tally)
}

// disturb makes one run, and reports what was done to it and how many processes were killed.
func (x *target) disturb(t *testing.T, r *rand.Rand, seed uint64) (what string, killed int) {
	t.Helper()
	whole, env := x.warm, x.env
	if x.cache != "" && r.IntN(3) == 0 { // it compiles
		whole = x.cold
		x.env = append(slices.Clone(env), "XDG_CACHE_HOME="+t.TempDir())
		defer func() { x.env = env }()
	}
	out := "run" + strconv.FormatUint(seed, 10)
	moment := func(of time.Duration) time.Duration { return time.Duration(r.Int64N(int64(of))) }
	p := x.start(t, out, 0)
	switch r.IntN(5) {
	case 0, 1:
		what = "whole"
		time.Sleep(moment(whole))
		pids := p.children()
		_ = p.cmd.Process.Kill() // it may have ended
		if p.cmd.Wait() != nil {
			killed = 1
		}
		gone(t, pids)
		if r.IntN(3) == 0 {
			what = "whole, cleaned up"
			x.clean(t, out)
		}
		x.again(t, out)
		x.noGroup(t, p.cmd.Process.Pid)
	case 2:
		what = "stopped"
		for range 3 {
			time.Sleep(moment(whole / 3))
			pid := x.aim(p, r)
			if pid == 0 || unix.Kill(pid, unix.SIGSTOP) != nil {
				continue
			}
			time.Sleep(moment(400 * time.Millisecond))
			signal := unix.SIGCONT
			if r.IntN(3) == 0 {
				signal = unix.SIGKILL
				killed++
			}
			_ = unix.Kill(pid, signal) // nobody else ends it
		}
		x.undisturbedBy(t, p, out)
	default:
		what = "runners"
		for range 3 {
			time.Sleep(moment(whole / 2))
			if pid := x.aim(p, r); pid != 0 && unix.Kill(pid, unix.SIGKILL) == nil {
				killed++
			}
		}
		x.undisturbedBy(t, p, out)
	}
	x.leftNothing(t, out, x.tmp)
	if err := os.RemoveAll(filepath.Join(x.out, out)); err != nil {
		t.Fatal(err)
	}
	return what, killed
}

// aim returns one of the children of a job, 0 if there is none that lives.
func (x *target) aim(p *process, r *rand.Rand) int {
	pids := slices.DeleteFunc(p.children(), func(pid int) bool { return !alive(pid) })
	if len(pids) == 0 {
		return 0
	}
	return pids[r.IntN(len(pids))]
}

// undisturbedBy checks that a job ends as if nothing had happened.
func (x *target) undisturbedBy(t *testing.T, p *process, out string) {
	t.Helper()
	if r := p.end(t); r.Error != "" {
		t.Errorf("%s: %s", out, r.Error)
		return
	}
	x.same(t, out)
}

// clean cleans up after a job that was killed.
func (x *target) clean(t *testing.T, out string) {
	t.Helper()
	b, u, err := open(t.Context(), store.Schemes{"file": file.Open, "s3": s3.Open}, x.uri+"/"+out)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	decided := x.decided(out)
	m, err := commit.Clean(context.Background(), b, u.Prefix, &commit.Options{Name: x.uri + "/" + out})
	if err != nil {
		t.Errorf("%s: clean up: %v", out, err)
	}
	if (m != nil) != decided {
		t.Errorf("%s: decided: %t, but cleaning up returned the manifest %v", out, decided, m)
	}
	x.leftNothing(t, out)
}

// leftNothing looks for what a job should have taken away, at its output and in the directories named.
func (x *target) leftNothing(t *testing.T, out string, dirs ...string) {
	t.Helper()
	var left []string
	for _, root := range append(dirs, filepath.Join(x.out, out, "_millrace"), filepath.Join(x.out, "_millrace")) {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			if err == nil && path != root && (slices.Contains(dirs, root) || !d.IsDir()) {
				left = append(left, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(left) > 0 {
		t.Errorf("%s: left behind: %q", out, left)
	}
	if n := x.uploads(t); n > 0 {
		t.Errorf("%s: %d parts of uploads are left", out, n)
	}
}

// noGroup checks that no control group of a process that has ended is left.
func (x *target) noGroup(t *testing.T, pid int) {
	t.Helper()
	for _, depth := range []string{"", "*/", "*/*/"} {
		dirs, err := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/*/%smillrace-%d-*", depth, pid))
		if err != nil {
			t.Fatal(err)
		}
		if len(dirs) > 0 {
			t.Errorf("control groups are left: %q", dirs)
		}
	}
}

// strays collects the children of millraces that were killed, and finds those that live on. Ours are known.
func strays(t *testing.T, ours []int) {
	t.Helper()
	pids := slices.DeleteFunc(childrenOf(os.Getpid()), func(pid int) bool { return slices.Contains(ours, pid) })
	gone(t, pids)
	for _, pid := range pids {
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != nil && err != unix.ECHILD {
			t.Errorf("process %d: %v", pid, err)
		}
	}
}

// parameters returns those of the builtin.
func (k *kind) parameters() map[string]string {
	m := make(map[string]string)
	for i := 0; i < len(k.params); i += 2 {
		m[k.params[i]] = k.params[i+1]
	}
	return m
}
