package local_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/job/jobfile"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/sandboxtest"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

// builtDir holds what was built of testdata; TestMain removes it.
var builtDir string

// built returns testdata/member for an engine, or testdata/mapper, the "sdk". Tests of groups run one after another.
func built(t *testing.T, name string) string {
	t.Helper()
	if builtDir == "" {
		dir, err := os.MkdirTemp("", "millrace-member-")
		if err != nil {
			t.Fatal(err)
		}
		builtDir = dir
	}
	path := filepath.Join(builtDir, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	source := "./testdata/member"
	if name == "sdk" {
		source = "./testdata/mapper"
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if name != string(job.Native) {
		build.Env = append(build.Env, "GOOS=wasip1", "GOARCH=wasm")
	}
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return path
}

// does returns a group that does something in testdata/member. Under the race detector all is native: a Go module takes a minute to compile there.
func does(t *testing.T, what string, engine job.Engine, members int) job.Group {
	t.Helper()
	if sandboxtest.Raced && engine == job.Wasm {
		engine = job.Native
	}
	p := job.Program{Engine: engine, Name: what, Path: built(t, string(engine)), Args: []string{what}}
	return job.Group{Program: p, Members: members}
}

// script returns a group that runs a shell script.
func script(t *testing.T, text string) job.Group {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return job.Group{Program: job.Program{Engine: job.Native, Name: "script", Path: path}}
}

func runGroups(t *testing.T, m *mem.Store, spec job.Spec, o *local.Options) (*job.Result, error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("native guests need root here")
	}
	spec.Inputs, spec.Output = []string{"mem:in/mails/"}, "mem:out"
	if o == nil {
		o = &local.Options{}
	}
	o.Schemes = store.Schemes{"mem": m.Opener()}
	res, err := local.Run(t.Context(), &spec, o)
	if errors.Is(err, sandbox.ErrLayer) {
		t.Skip(err)
	}
	if p := m.Bucket("out").Pending(); p != 0 {
		t.Errorf("%d pending", p)
	}
	return res, err
}

// All that N members write, M members read, and each key is one's.
func TestChannels(t *testing.T) {
	m := mails(t, 120)
	want := []string{
		"brown\t120\n", "dog\t120\n", "fox\t120\n", "jumps\t120\n", "over\t120\n", "quick\t120\n", "the\t120\n",
	}
	numbers := make(map[int]int)
	written := int64(0)
	for i := range 120 {
		numbers[i%10]++
		numbers[i%97]++
		written += int64(len(fmt.Sprintf("the\t1\nquick\t1\nbrown\t1\nfox\t1\n%d\t1\njumps\t1\nover\t1\ndog\t1\n%d\t1\n", i%10, i%97)))
	}
	for n, times := range numbers {
		want = append(want, fmt.Sprintf("%d\t%d\n", n, times))
	}
	slices.Sort(want)
	for _, tt := range []struct {
		writers, readers int
		look, count      job.Engine
	}{{1, 1, job.Wasm, job.Wasm}, {3, 1, job.Native, job.Native}, {2, 3, "sdk", job.Native}, {4, 3, job.Native, job.Wasm}} {
		t.Run(fmt.Sprintf("%d×%d from %s to %s", tt.writers, tt.readers, tt.look, tt.count), func(t *testing.T) {
			if tt.look == "sdk" && (testing.Short() || sandboxtest.Raced) {
				t.Skip("another module takes seconds to compile")
			}
			look := does(t, "look", tt.look, tt.writers)
			if tt.look == "sdk" {
				look.Program.Engine, look.Program.Args = job.Wasm, nil
			}
			res, err := runGroups(t, m, job.Spec{
				Overwrite: true,
				Groups:    map[string]job.Group{"look": look, "count": does(t, "count", tt.count, tt.readers)},
				Channels:  map[string]job.Channel{"word": {From: "look", To: "count"}},
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			parts := visible(t, m)
			if got := lines(parts); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if len(parts) != tt.readers+1 { // and the manifest
				t.Errorf("%d parts", len(parts)-1)
			}
			c := res.Counters
			if p := c.Channels["word"]; p.WriteBytes != written || p.ReadBytes != written || p.Reads == 0 || p.Writes == 0 {
				t.Errorf("channel: %+v; want %d bytes", p, written)
			}
			if c.Objects != 120 || c.Failed != 0 || c.Output != int64(len(want)) || c.Attempts != 1 {
				t.Errorf("counters: %+v", c)
			}
			if g := res.Groups["count"]; g.Program.Path != "" || g.Program.Name != "count" {
				t.Errorf("the manifest has %+v", g)
			}
		})
	}
}

// One writer and one reader carry bytes as they are.
func TestChannelOfBytes(t *testing.T) {
	m := mem.New()
	const text = "no end of a line, \x00 and \xff"
	if _, err := m.Bucket("in").Put(t.Context(), "mails/1", []byte(text)); err != nil {
		t.Fatal(err)
	}
	res, err := runGroups(t, m, job.Spec{
		Groups: map[string]job.Group{
			"read": script(t, "cat >/dev/out/byte"), "pass": does(t, "pass", job.Wasm, 1), "print": script(t, "cat /dev/in/word"),
		},
		Channels: map[string]job.Channel{"byte": {From: "read", To: "pass"}, "word": {From: "pass", To: "print"}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, m.Bucket("out"), "part-print-00000"); got != text {
		t.Errorf("got %q, want %q; %+v", got, text, res.Counters.Channels)
	}
}

// A flood waits for its reader, and ends when that wants no more.
func TestFlood(t *testing.T) {
	for _, engines := range [][2]job.Engine{{job.Wasm, job.Native}, {job.Native, job.Wasm}} {
		m := mails(t, 1)
		res, err := runGroups(t, m, job.Spec{
			Groups: map[string]job.Group{
				"start": script(t, "echo 1 >/dev/out/byte"), "flood": does(t, "flood", engines[0], 1), "sip": does(t, "sip", engines[1], 1),
			},
			Channels: map[string]job.Channel{"byte": {From: "start", To: "flood"}, "word": {From: "flood", To: "sip"}},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := lines(visible(t, m)); !slices.Equal(got, []string{"20971520\n"}) {
			t.Errorf("got %q", got)
		}
		c := res.Counters
		if p := c.Channels["word"]; p.WriteBytes < 20<<20 || p.WriteBytes > 30<<20 || c.PeakMemory > 300<<20 && !sandboxtest.Raced {
			t.Errorf("%+v went through, in at most %d bytes", p, c.PeakMemory)
		}
	}
}

// A holder is a runner in which a guest sleeps.
type holder struct{ runner, guest int }

// holders returns those that this process has started.
func holders(t *testing.T) (hs []holder) {
	t.Helper()
	parents := make(map[int]int)
	var sleepers []int
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Error(err)
	}
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue // it has ended
		}
		name, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[0] != "Z" {
			pid, perr := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
			parent, err := strconv.Atoi(f[1])
			if err := errors.Join(perr, err); err != nil {
				t.Error(err)
			}
			parents[pid] = parent
			if strings.HasSuffix(name, "(sleep") {
				sleepers = append(sleepers, parent)
			}
		}
	}
	for _, guest := range sleepers {
		if runner := parents[guest]; parents[runner] == os.Getpid() {
			hs = append(hs, holder{runner, guest})
		}
	}
	return hs
}

// disturb kills, so many times, the runner whose guest sleeps when so many objects are done, and then wakes that guest. It returns how often it
// has killed.
func disturb(t *testing.T, kills int, objects int64, snapshot func() job.Progress, stop <-chan bool) (killed int) {
	last := 0 // that was killed
	for {
		select {
		case <-stop:
			return killed
		case <-time.After(20 * time.Millisecond):
		}
		if snapshot().Objects < objects {
			continue
		}
		hs := holders(t)
		switch {
		case len(hs) != 1 || hs[0].runner == last:
		case killed == kills:
			_ = syscall.Kill(hs[0].guest, syscall.SIGUSR1) // it may have just ended
		default:
			killed++
			last = hs[0].runner
			if err := syscall.Kill(hs[0].runner, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}
	}
}

// A runner that is killed ends the attempt, and the next one comes to the same bytes. An object that is in flight each time is left out in the end.
func TestGroupsAreTriedAgain(t *testing.T) {
	const look = `
case $MILLRACE_KEY in *5) trap 'held=no' USR1; while [ -z "$held" ]; do sleep 0.02; done;; esac
tr -s ' ' '\n' | awk '{ print $1 "\t1" > "/dev/out/word" }'
`
	const objects = 6
	var calm map[string]string
	for _, kills := range []int{0, 1, 4} {
		t.Run(fmt.Sprint(kills, " times"), func(t *testing.T) {
			if kills == 4 && testing.Short() {
				t.Skip("five attempts take seconds")
			}
			m := mails(t, objects)
			seeker := script(t, look)
			seeker.Members = 2
			stop, done := make(chan bool), make(chan int)
			spec := job.Spec{
				Tolerate: "all",
				Groups:   map[string]job.Group{"look": seeker, "count": does(t, "count", job.Wasm, 2)},
				Channels: map[string]job.Channel{"word": {From: "look", To: "count"}},
			}
			res, err := runGroups(t, m, spec, &local.Options{Progress: func(snapshot func() job.Progress) {
				go func() { done <- disturb(t, kills, objects-1, snapshot, stop) }()
			}})
			close(stop)
			if n := <-done; n != kills {
				t.Errorf("killed %d times", n)
			}
			if err != nil {
				t.Fatal(err)
			}
			if n := res.Counters.Retries; n != int64(kills) {
				t.Errorf("%d retries", n)
			}
			parts := visible(t, m)
			delete(parts, "_manifest.json")
			if kills == 0 {
				calm = parts
			}
			if kills < 4 {
				if fmt.Sprint(parts) != fmt.Sprint(calm) || res.Counters.Failed != 0 {
					t.Errorf("got %q, want %q", parts, calm)
				}
				return
			}
			failed := parts["_failed/part-look-00001.jsonl"]
			if !strings.Contains(failed, `mails/00005","reason":"in flight when its runner died, four times`) || res.Counters.Failed != 1 || res.Counters.Objects != objects {
				t.Errorf("failed: %s; %+v", failed, res.Counters)
			}
			if got := lines(parts); !slices.Contains(got, "the\t5\n") {
				t.Errorf("got %q", got)
			}
		})
	}
}

// What becomes of a wrong graph, or of programs that no group can have.
func TestGroupErrors(t *testing.T) {
	for _, tt := range []struct{ name, print, want string }{
		{"what one writer says when it fails", "exit 3", "group print: guest exited 3"},
		{"a file that is no channel", "cat /dev/in/words", "group print: guest exited 1: cat: /dev/in/words: No such file or directory"},
		{"two that wait for each other", "cat /dev/in/word; cat /dev/in/late", "group print: guest wall clock limit: 1s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := mails(t, 3)
			reader := script(t, tt.print)
			reader.Limits.Wall = time.Second
			middle := script(t, "cat /dev/in/start >/dev/null\n"+"dd if=/dev/zero bs=1M count=8 2>/dev/null >/dev/out/late; echo >/dev/out/word")
			_, err := runGroups(t, m, job.Spec{
				Groups:   map[string]job.Group{"start": script(t, "echo 1 >/dev/out/start"), "middle": middle, "print": reader},
				Channels: map[string]job.Channel{"start": {From: "start", To: "middle"}, "late": {From: "middle", To: "print"}, "word": {From: "middle", To: "print"}},
			}, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if got := visible(t, m); len(got) > 0 {
				t.Errorf("left behind: %q", got)
			}
		})
	}
}

// The example of the documentation does what it says.
func TestMailReport(t *testing.T) {
	const dir = "../../examples/mail-report"
	text, err := os.ReadFile(filepath.Join(dir, "job.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	spec, err := jobfile.Parse("job.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("clang"); err != nil {
		t.Skip("no clang here")
	}
	temp := t.TempDir()
	engines := map[string]job.Engine{"words": job.Wasm, "count": job.Native} // a Go program is quicker to build than to compile as a module
	for name, build := range map[string]*exec.Cmd{
		"words": exec.Command("clang", "--target=wasm32-wasi", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-nodefaultlibs", "-Wl,--strip-all",
			"-o", filepath.Join(temp, "words"), dir+"/words.c", "-lc"),
		"count": exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(temp, "count"), dir+"/count"),
	} {
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		g := spec.Groups[name]
		g.Program = job.Program{Engine: engines[name], Path: filepath.Join(temp, name)}
		spec.Groups[name] = g
	}
	for _, name := range []string{"domains", "report"} {
		g := spec.Groups[name]
		g.Program.Engine, g.Program.Path = job.Native, filepath.Join(dir, g.Program.Path)
		spec.Groups[name] = g
	}
	m := mem.New()
	for i := range 12 {
		mail := fmt.Sprintf("From: a <a%d@D%d.example.org>\nSubject: Mill %d race\n\nSubject: none\n", i, i%3, i)
		if _, err := m.Bucket("in").Put(t.Context(), store.Key(fmt.Sprintf("mails/%d", i)), []byte(mail)); err != nil {
			t.Fatal(err)
		}
	}
	var progress func() job.Progress
	if _, err := runGroups(t, m, *spec, &local.Options{Progress: func(snapshot func() job.Progress) { progress = snapshot }}); err != nil {
		t.Fatal(err)
	}
	if p := progress(); p.Listed != 24 || p.Objects != 24 { // two groups map
		t.Errorf("%d objects of %d, want 24 of 24", p.Objects, p.Listed)
	}
	const want = "mill\t12\nrace\t12\n@d0.example.org\t4\n@d1.example.org\t4\n@d2.example.org\t4\n"
	if got := read(t, m.Bucket("out"), "part-report-00000"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
