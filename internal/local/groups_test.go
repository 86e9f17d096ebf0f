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
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

// memberDir holds testdata/member as both engines run it, and is removed by the last test that needs it.
var memberDir = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "millrace-member-")
	for engine, env := range map[job.Engine][]string{job.Wasm: {"GOOS=wasip1", "GOARCH=wasm"}, job.Native: nil} {
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, string(engine)), "./testdata/member")
		build.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
		text, berr := build.CombinedOutput()
		if berr != nil {
			err = errors.Join(err, fmt.Errorf("%w\n%s", berr, text))
		}
	}
	return dir, err
})

// does returns a group that does something in testdata/member.
func does(t *testing.T, what string, engine job.Engine, members int) job.Group {
	t.Helper()
	dir, err := memberDir()
	if err != nil {
		t.Fatal(err)
	}
	p := job.Program{Engine: engine, Name: what, Path: filepath.Join(dir, string(engine)), Args: []string{what}}
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
	}{{1, 1, job.Wasm, job.Wasm}, {3, 1, job.Native, job.Native}, {1, 3, job.Wasm, job.Native}, {4, 3, job.Native, job.Wasm}} {
		t.Run(fmt.Sprintf("%d×%d from %s to %s", tt.writers, tt.readers, tt.look, tt.count), func(t *testing.T) {
			res, err := runGroups(t, m, job.Spec{
				Overwrite: true,
				Groups:    map[string]job.Group{"look": does(t, "look", tt.look, tt.writers), "count": does(t, "count", tt.count, tt.readers)},
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
		if p := c.Channels["word"]; p.WriteBytes < 20<<20 || p.WriteBytes > 30<<20 || c.PeakMemory > 300<<20 {
			t.Errorf("%+v went through, in at most %d bytes", p, c.PeakMemory)
		}
	}
}

// A holder is a runner in which a guest runs.
type holder struct{ runner, guest int }

// holders returns those that this process has started.
func holders(t *testing.T) (hs []holder) {
	t.Helper()
	parents := make(map[int]int)
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[0] != "Z" {
			pid, perr := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			parent, err := strconv.Atoi(f[1])
			if err := errors.Join(perr, err); err != nil {
				t.Fatal(err)
			}
			parents[pid] = parent
		}
	}
	for guest, runner := range parents {
		if parents[runner] == os.Getpid() {
			hs = append(hs, holder{runner, guest})
		}
	}
	return hs
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
			m := mails(t, objects)
			seeker := script(t, look)
			seeker.Members = 2
			var snapshot func() job.Progress
			stop, done := make(chan bool), make(chan int)
			spec := job.Spec{
				Tolerate: "all",
				Groups:   map[string]job.Group{"look": seeker, "count": does(t, "count", job.Wasm, 2)},
				Channels: map[string]job.Channel{"word": {From: "look", To: "count"}},
			}
			o := &local.Options{Progress: func(f func() job.Progress) { snapshot = f }}
			go func() {
				killed := 0
				defer func() { done <- killed }()
				for {
					select {
					case <-stop:
						return
					case <-time.After(5 * time.Millisecond):
					}
					if snapshot == nil || snapshot().Objects < objects-1 { // all but the one that is held
						continue
					}
					hs := holders(t)
					if len(hs) != 1 {
						continue
					}
					if killed == kills {
						_ = syscall.Kill(hs[0].guest, syscall.SIGUSR1) // it may have just ended
						continue
					}
					killed++
					if err := syscall.Kill(hs[0].runner, syscall.SIGKILL); err != nil {
						t.Error(err)
					}
					for snapshot().Objects >= objects-1 { // until the next attempt
						select {
						case <-stop:
							return
						case <-time.After(5 * time.Millisecond):
						}
					}
				}
			}()
			res, err := runGroups(t, m, spec, o)
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
