// Package chaos does to jobs what must not matter. It kills things while they run: runners, and the whole of millrace, at random and at each step of
// committing. It runs them by other engines, from and to other stores, in other pieces. The output is always that of an undisturbed run, or there is none.
package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/gatewaytest"
	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/internal/mailgen"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/file"
	"github.com/millrace/millrace/store/s3"
)

// An order is what a process of this test binary is told to do instead of testing: run a job, and kill itself at a step.
type order struct {
	Spec job.Spec
	Step int // number of the step of committing at which to die, from 1; 0: none
}

// A report is what such a process prints when its job has ended.
type report struct {
	Steps     []string // those it came through
	Committed []job.AttemptReport
	Resumed   bool
	Error     string
}

const orderEnv = "MILLRACE_CHAOS"

func TestMain(m *testing.M) {
	runner.Child()
	if text := os.Getenv(orderEnv); text != "" {
		os.Exit(obey(text))
	}
	os.Exit(m.Run())
}

func obey(text string) int {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	var mu sync.Mutex // steps come from several goroutines
	var r report
	result, err := local.Run(context.Background(), &o.Spec, &local.Options{
		Schemes: store.Schemes{"file": file.Open, "s3": s3.Open},
		Committed: func(a job.AttemptReport) {
			mu.Lock()
			defer mu.Unlock()
			r.Committed = append(r.Committed, a)
		},
		Step: func(name string) {
			mu.Lock()
			defer mu.Unlock()
			r.Steps = append(r.Steps, name)
			if len(r.Steps) == o.Step {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		},
	})
	if err != nil {
		r.Error = err.Error()
	} else {
		r.Resumed = result.Resumed
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return 2
	}
	return 0
}

// A bench is a job, and a place for the outputs of its runs.
type bench struct {
	job  job.Spec          // without output
	out  string            // directory of outputs
	uri  string            // of out
	env  []string          // of millrace, beside that of the test
	want map[string]string // content of an undisturbed output
	rand *rand.Rand
}

func newBench(t *testing.T, mails int) *bench {
	t.Helper()
	out := t.TempDir()
	return benchAt(t, mails, out, "file://"+out)
}

// newS3Bench returns a bench whose outputs go to an S3 gateway, which keeps objects as files.
func newS3Bench(t *testing.T, mails int) *bench {
	t.Helper()
	g := gatewaytest.Start(t, "out")
	gatewaytest.Setenv(t, g)
	return benchAt(t, mails, filepath.Join(g.Dir, "out"), "s3://out")
}

// benchAt returns a bench that counts the words of mails.
func benchAt(t *testing.T, mails int, out, uri string) *bench {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	in := t.TempDir()
	b := &bench{out: out, uri: uri, rand: rand.New(rand.NewPCG(seed, 1)), job: job.Spec{
		Inputs: []string{"file://" + in}, Program: job.Program{Engine: job.Builtin, Name: "words"}, Reducers: 3, Slots: 2,
	}}
	if _, err := mailgen.New(7, nil).Write(in, mails); err != nil {
		t.Fatal(err)
	}
	if b.undisturbed(t); len(b.want) != 3 {
		t.Fatalf("an undisturbed job made %d parts, want 3", len(b.want))
	}
	return b
}

// undisturbed runs the job for what it is to make.
func (b *bench) undisturbed(t *testing.T) {
	t.Helper()
	if r := b.start(t, "want", 0).end(t); r.Error != "" {
		t.Fatal(r.Error)
	}
	if b.want = b.content(t, "want"); len(b.want) == 0 {
		t.Fatal("an undisturbed job made nothing")
	}
}

func (b *bench) spec(out string) job.Spec {
	s := b.job
	s.Output = b.uri + "/" + out
	return s
}

// content returns the parts of an output by name.
func (b *bench) content(t *testing.T, out string) map[string]string {
	t.Helper()
	parts := make(map[string]string)
	for _, name := range b.visible(t, out) {
		if name == "_manifest.json" {
			continue
		}
		p, err := os.ReadFile(filepath.Join(b.out, out, name))
		if err != nil {
			t.Fatal(err)
		}
		parts[name] = string(p)
	}
	return parts
}

// visible returns the files of an output outside _millrace/.
func (b *bench) visible(t *testing.T, out string) (names []string) {
	t.Helper()
	root := filepath.Join(b.out, out)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case os.IsNotExist(err):
			return nil
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "_millrace":
			return fs.SkipDir
		case !d.IsDir():
			names = append(names, strings.TrimPrefix(path, root+"/"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// same checks that an output is what an undisturbed job makes.
func (b *bench) same(t *testing.T, out string) {
	t.Helper()
	got := b.content(t, out)
	if len(got) != len(b.want) {
		t.Errorf("%s has %d parts, want %d", out, len(got), len(b.want))
	}
	for name, want := range b.want {
		if got[name] != want {
			t.Errorf("%s/%s differs from that of an undisturbed job: %s", out, name, firstDifference(got[name], want))
		}
	}
	if _, err := os.Stat(filepath.Join(b.out, out, "_manifest.json")); err != nil {
		t.Error(err)
	}
}

// A process is a job in a process of its own.
type process struct {
	cmd *exec.Cmd
	out strings.Builder
	err strings.Builder
}

func (b *bench) start(t *testing.T, out string, step int) *process {
	t.Helper()
	text, err := json.Marshal(order{Spec: b.spec(out), Step: step})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command("/proc/self/exe")}
	p.cmd.Env = append(append(os.Environ(), b.env...), orderEnv+"="+string(text))
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// end waits for the job and returns what it reports.
func (p *process) end(t *testing.T) report {
	t.Helper()
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, p.err.String())
	}
	return p.report(t)
}

// report returns what a job that has ended reports.
func (p *process) report(t *testing.T) (r report) {
	t.Helper()
	if err := json.Unmarshal([]byte(p.out.String()), &r); err != nil {
		t.Fatalf("report %q: %v", p.out.String(), err)
	}
	return r
}

// children returns the processes that p has started and that live: its runners.
func (p *process) children() []int { return childrenOf(p.cmd.Process.Pid) }

func childrenOf(pid int) (pids []int) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // the thread is gone
		}
		for _, word := range strings.Fields(string(text)) {
			var pid int
			if _, err := fmt.Sscan(word, &pid); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// gone waits until none of the processes lives.
func gone(t *testing.T, pids []int) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for _, pid := range pids {
		for alive(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d outlives its parent", pid)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// alive reports whether a process of that id does anything: it may wait, dead, to be collected by whoever inherited it.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// decided reports whether a decision lies at an output, and manifest whether it has its manifest.
func (b *bench) decided(out string) bool {
	_, err := os.Stat(filepath.Join(b.out, out, "_millrace/commit.json"))
	return err == nil
}

func (b *bench) manifest(out string) bool {
	_, err := os.Stat(filepath.Join(b.out, out, "_manifest.json"))
	return err == nil
}
