package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/latency"
	"github.com/millrace/millrace/sandbox/sandboxtest/asuser"
)

func TestStart(t *testing.T) {
	// What the race detector says about a machine without /proc.
	raceNoise := regexp.MustCompile(`==1==WARNING: reading executable name .*\n`)
	// As a careless program would have opened it, or have inherited it itself.
	fd, err := unix.Open("/proc/self/stat", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	tests := []struct {
		name string
		cfg  Config
		want string // of Exit
		says string // on stderr
	}{
		{"exit", Config{Args: []string{"exit", "3"}}, "exited 3", ""},
		{"stderr", Config{Args: []string{"say", "x"}}, "exited 0", "…" + strings.Repeat("x", maxStderr)},
		{"blind", Config{Args: []string{"look"}}, "exited 0", ""},
		{"without userns", Config{Args: []string{"look"}, Insecure: []Layer{UserNS}}, "exited 0", ""},
		{"without landlock", Config{Args: []string{"look"}, Insecure: []Layer{Landlock}}, "exited 0", ""},
		{"without cgroup", Config{Args: []string{"look"}, Insecure: []Layer{Cgroup}}, "exited 0", ""},
		{"without uid", Config{Args: []string{"look"}, Insecure: []Layer{UID}}, "exited 0", ""},
		{"without anything", Config{Args: []string{"exit", "4"}, Insecure: []Layer{UserNS, Seccomp, Landlock, Cgroup, UID}}, "exited 4", ""},
		{"without seccomp", Config{Args: []string{"exit", "5"}, Insecure: []Layer{Seccomp}}, "exited 5", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Start(&tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			exit := p.Wait()
			exit.Stderr = raceNoise.ReplaceAllString(exit.Stderr, "")
			if exit.String() != tt.want || exit.Stderr != tt.says {
				t.Errorf("%v, stderr %q; want %s, %q", exit, exit.Stderr, tt.want, tt.says)
			}
			if p.group != nil {
				for _, dir := range p.group.dirs {
					if _, err := os.Stat(dir); err == nil {
						t.Errorf("cgroup %s is left", dir)
					}
				}
			}
		})
	}
}

// TestOrdinaryUser runs other tests of this package once more, as a user without any privilege.
func TestOrdinaryUser(t *testing.T) {
	if raced {
		t.Skip("the race detector takes memory and time that the limits of this test do not leave")
	}
	asuser.Run(t, []string{"TestStart", "TestKill", "TestOutOfMemory", "TestFiles", "TestProbe", "TestNativeRefused"})
}

// TestNativeRefused checks that native guests without the layers that they need are refused, with the layer's name.
func TestNativeRefused(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root has all layers here")
	}
	for _, tt := range []struct {
		insecure []Layer
		want     Layer
	}{
		{nil, UID},
		{[]Layer{UID}, Cgroup},
	} {
		_, err := Start(&Config{Native: true, Insecure: tt.insecure})
		var layer *LayerError
		if !errors.As(err, &layer) || layer.Layer != tt.want || layer.Fix == "" {
			t.Errorf("without %v: %v; want the layer %s", tt.insecure, err, tt.want)
		}
	}
	p, err := Start(&Config{Native: true, Insecure: []Layer{UID, Cgroup}, Args: []string{"exit", "3"}})
	if err != nil {
		t.Fatal(err)
	}
	if exit := p.Wait(); exit.Code != 3 {
		t.Errorf("exit %v", exit)
	}
}

func TestKill(t *testing.T) {
	p, err := Start(&Config{Args: []string{"sleep"}})
	if err != nil {
		t.Fatal(err)
	}
	if u, err := p.Usage(); err != nil || u.Memory <= 0 {
		t.Errorf("usage %+v, %v", u, err)
	}
	begin := time.Now()
	p.Kill()
	if exit := p.Wait(); exit.Signal != syscall.SIGKILL || exit.Code != -1 {
		t.Errorf("exit %v", exit)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("killed after %v", took)
	}
	p.Kill() // again, with nobody there
}

// TestParentStays checks that no thread of ours stays in the cgroup of a child, and that the child is there.
func TestParentStays(t *testing.T) {
	threads := func() (groups []string) {
		names, err := filepath.Glob("/proc/self/task/*/cgroup")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if b, err := os.ReadFile(name); err == nil && !slices.Contains(groups, string(b)) { // else the thread is gone
				groups = append(groups, string(b))
			}
		}
		return groups
	}
	before := threads()
	var children []*Process
	for range 4 {
		p, err := Start(&Config{Args: []string{"sleep"}})
		if err != nil {
			t.Fatal(err)
		}
		children = append(children, p)
	}
	if after := threads(); !slices.Equal(before, after) {
		t.Errorf("threads are in %q; before in %q", after, before)
	}
	for _, p := range children {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.Pid()))
		if err != nil || p.group != nil && strings.Count(string(b), p.group.name()) != len(p.group.dirs) {
			t.Errorf("a child is in %q, %v", b, err)
		}
		p.Kill()
		p.Wait()
	}
}

func TestOnOwnThread(t *testing.T) {
	release := make(chan struct{})
	var done sync.WaitGroup
	seen := make(chan int, 16)
	for range cap(seen) {
		done.Add(1)
		onOwnThread(func() {
			defer done.Done()
			seen <- unix.Gettid()
			<-release
		})
	}
	ids := map[int]bool{unix.Getpid(): true}
	for range cap(seen) {
		id := <-seen
		if ids[id] {
			t.Errorf("thread %d is another's", id)
		}
		ids[id] = true
	}
	close(release)
	done.Wait()
}

// TestParentKilled checks that nothing survives a parent that is killed, and that the next one removes its cgroup.
func TestParentKilled(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), parentEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(line)
	}
	_ = cmd.Process.Kill() // Wait tells
	_ = cmd.Wait()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			break
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("child %d is alive", pid)
		}
	}
	g, err := newCgroup(1<<30, 10)
	if err != nil {
		t.Skip(err)
	}
	defer g.remove()
	left, err := filepath.Glob(filepath.Join(filepath.Dir(g.memory), fmt.Sprintf("%s%d-*", cgroupPrefix, cmd.Process.Pid)))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestOutOfMemory(t *testing.T) {
	p, err := Start(&Config{Args: []string{"eat"}, Memory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if p.group == nil {
		t.Log("no cgroup: the runtime ends it")
	}
	exit := p.Wait()
	if exit.OOM != (p.group != nil) || exit.Code == 0 {
		t.Errorf("exit %v", exit)
	}
}

func TestFiles(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := Start(&Config{Args: []string{"channel"}, Files: []*os.File{w}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if string(b) != "hello" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	if exit := p.Wait(); exit.Code != 0 {
		t.Errorf("exit %v", exit)
	}
}

func TestProbe(t *testing.T) {
	for _, c := range Probe() {
		t.Logf("%+v", c)
		if !c.OK && (c.Detail == "" || c.Fix == "") {
			t.Errorf("%s is missing without a word of help: %+v", c.Layer, c)
		}
		want := map[Layer]string{UserNS: "its own: user, mnt, pid, ipc, uts, net, cgroup; uid 0 inside is ", Seccomp: "instructions"}[c.Layer]
		if c.OK && !strings.Contains(c.Detail, want) {
			t.Errorf("%s: %q; want %q in it", c.Layer, c.Detail, want)
		}
	}
}

func TestLayerError(t *testing.T) {
	err := readReply(strings.NewReader(`{"Layer":"landlock","Cause":"no such thing","Fix":"buy one"}`))
	if !errors.Is(err, ErrLayer) {
		t.Fatalf("error %v; want ErrLayer", err)
	}
	want := "sandbox layer landlock missing: no such thing (buy one; or give it up with --insecure-sandbox=landlock)"
	if err.Error() != want {
		t.Errorf("error %q; want %q", err, want)
	}
	if err := readReply(strings.NewReader("{")); err == nil || errors.Is(err, ErrLayer) {
		t.Errorf("half an answer: %v", err)
	}
}

func TestNamespaceFix(t *testing.T) {
	tests := []struct {
		settings map[string]string
		err      error
		want     string
	}{
		{map[string]string{"user/max_user_namespaces": "0"}, syscall.ENOSPC, "user.max_user_namespaces"},
		{map[string]string{"kernel/unprivileged_userns_clone": "0"}, syscall.EPERM, "unprivileged_userns_clone"},
		{map[string]string{"kernel/apparmor_restrict_unprivileged_userns": "1"}, syscall.EACCES, "AppArmor"},
		{nil, syscall.EPERM, "seccomp"},
	}
	for _, tt := range tests {
		got := namespaceFix(tt.err, func(name string) string { return tt.settings[name] })
		if !strings.Contains(got, tt.want) {
			t.Errorf("%v, %v: %q; want %q in it", tt.settings, tt.err, got, tt.want)
		}
	}
}

// BenchmarkJail starts a jail around this executable, which is small, until it is complete.
func BenchmarkJail(b *testing.B) {
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		p, err := Start(&Config{Args: []string{"sleep"}})
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
		p.Kill()
		p.Wait()
	}
	latency.Report(b, took)
}
