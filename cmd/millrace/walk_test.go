package main

import (
	stdbytes "bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A walk goes through commands of the documentation: each machine is a directory and an address of the loopback.
type walk struct {
	t        *testing.T
	dir      string
	machines []string // names; that at i has the address 10.0.0.i in the documentation
	replace  []string // what stands there, and what it is here
	token    string   // the last one
	env      map[string][]string

	mu      sync.Mutex
	daemons []*walker
}

// walks counts them.
var walks atomic.Int32

// A walker is a daemon that a walk has started.
type walker struct {
	line string
	cmd  *exec.Cmd
	log  *os.File
	done chan error
}

// newWalk makes one. Its directory is not below /tmp, where no engine keeps anything.
func newWalk(t *testing.T, machines ...string) *walk {
	t.Helper()
	home := "/var/lib"
	if os.Geteuid() != 0 {
		home = os.Getenv("HOME")
	}
	dir, err := os.MkdirTemp(home, "millrace-test-")
	if err != nil {
		t.Fatal(err)
	}
	p := &walk{t: t, dir: dir, machines: machines, env: map[string][]string{}}
	t.Cleanup(func() { p.end(); os.RemoveAll(dir) })
	// No other test, and no daemon of this machine, has these addresses.
	base := int(walks.Add(1)) * 8
	var old []string
	for i := range machines {
		old = append(old, fmt.Sprintf("10.0.0.%d", i+1), fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()>>8&127, os.Getpid()&255, base+i+1))
	}
	p.replace = append(old, "/srv/", dir+"/srv/")
	for _, m := range machines {
		if err := os.MkdirAll(filepath.Join(dir, m), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// here makes a line of the documentation one for a machine's directories and addresses.
func (p *walk) here(machine, line string) string {
	own := filepath.Join(p.dir, machine)
	return strings.NewReplacer(append(p.replace, "TOKEN", p.token, "/var/lib/", own+"/", "~", own)...).Replace(line)
}

// command is a line as a shell runs it on a machine. The default directories are those of the machine.
func (p *walk) command(ctx context.Context, machine, line string) *exec.Cmd {
	own := filepath.Join(p.dir, machine)
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", "exec "+line)
	cmd.Dir = own
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(built(p.t))+":"+os.Getenv("PATH"), "MILLRACE_DIR="+own+"/millrace", "MILLRACE_AGENT_DIR="+own+"/millrace-agent")
	cmd.Env = append(cmd.Env, p.env[machine]...)
	return cmd
}

// run runs one line on a machine, and returns what it prints. A line that ends in & is a daemon, which is ended with the test.
func (p *walk) run(machine, line string) string {
	p.t.Helper()
	line = p.here(machine, line)
	if name, ok := strings.CutPrefix(line, "export "); ok {
		p.env[machine] = append(p.env[machine], name)
		return ""
	}
	if daemon, ok := strings.CutSuffix(line, "&"); ok {
		p.start(machine, strings.TrimSpace(daemon))
		return ""
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := p.command(ctx, machine, line)
	var stdout, stderr stdbytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		p.t.Fatalf("%s: %s: %v\n%s%s", machine, line, err, &stdout, &stderr)
	}
	if strings.Contains(line, "cluster token") {
		p.token = strings.TrimSpace(stdout.String())
	}
	return stdout.String()
}

// start starts a daemon.
func (p *walk) start(machine, line string) *walker {
	p.t.Helper()
	log, err := os.CreateTemp(p.dir, "log-")
	if err != nil {
		p.t.Fatal(err)
	}
	w := &walker{line: machine + ": " + line, cmd: p.command(context.Background(), machine, line), log: log, done: make(chan error, 1)}
	w.cmd.Stdout, w.cmd.Stderr = log, log
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := w.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() { w.done <- w.cmd.Wait() }()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.daemons = append(p.daemons, w)
	return w
}

// end ends all daemons, and shows what they said if the test has failed.
func (p *walk) end() {
	for _, w := range p.daemons {
		_ = syscall.Kill(-w.cmd.Process.Pid, syscall.SIGKILL)
		select {
		case <-w.done:
		case <-time.After(time.Minute):
			p.t.Errorf("%s does not end", w.line)
		}
		if text, err := os.ReadFile(w.log.Name()); p.t.Failed() && err == nil {
			p.t.Logf("%s\n%s", w.line, text)
		}
		_ = w.log.Close()
	}
}

// until runs a line on a machine until what it prints matches, and returns that.
func (p *walk) until(machine, line, want string) string {
	p.t.Helper()
	re := regexp.MustCompile(want)
	var out []byte
	var err error
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if out, err = p.command(p.t.Context(), machine, p.here(machine, line)).CombinedOutput(); err == nil && re.Match(out) {
			return string(out)
		}
	}
	p.t.Fatalf("%s: %s: %v, %s: not %q", machine, line, err, out, want)
	return ""
}

// mails makes n of them, of which every tenth has an invoice.
func (p *walk) mails(n int) {
	p.t.Helper()
	dir := filepath.Join(p.dir, "srv", "mail")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.t.Fatal(err)
	}
	for i := range n {
		text := fmt.Sprintf("Subject: mail %d\n\nhello\n", i)
		if i%10 == 0 {
			text += fmt.Sprintf("invoice %d\n", i)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d.eml", i)), []byte(text), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
}

// prompt finds the commands of a walk: the machine, and the line.
var prompt = regexp.MustCompile(`(?m)^(one|two|three|laptop)[#$] (.*)$`)

// TestWalkThrough types what the documentation says to type, from three empty machines to running jobs.
func TestWalkThrough(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("short mode: three servers take ten seconds to begin")
	}
	text, err := os.ReadFile("../../docs/walk-through.md")
	if err != nil {
		t.Fatal(err)
	}
	p := newWalk(t, "one", "two", "three", "laptop")
	p.mails(300)
	commands := prompt.FindAllStringSubmatch(string(text), -1)
	if len(commands) < 20 {
		t.Fatalf("%d commands", len(commands))
	}
	printed := map[string]string{}
	for _, c := range commands {
		machine, line := c[1], c[2]
		switch {
		case strings.HasPrefix(line, "millrace cluster join"): // the server may still be starting
			p.until(machine, line, `node +\w+ `+machine)
		case line == "millrace cluster status": // likewise the agents
			p.until(machine, line, `(?s)leader +(one|two|three), epoch \d.*one .*works.*three .*works.*two .*works`)
		default:
			printed[line] = p.run(machine, line)
		}
	}
	if n := strings.Count(printed[`millrace grep 'invoice \d+' /srv/mail`], "\n"); n != 30 {
		t.Errorf("%d lines were found, want 30", n)
	}
	if parts, _ := filepath.Glob(filepath.Join(p.dir, "srv/words/part-r-*")); len(parts) != 4 {
		t.Errorf("parts %q, want 4", parts)
	}
	if out := printed["millrace jobs"]; strings.Count(out, "\n") != 4 || !strings.Contains(out, "succeeded") {
		t.Errorf("jobs:\n%s", out)
	}
	if out := printed["millrace top"]; !strings.Contains(out, "mail") || !strings.Contains(out, "3 nodes") {
		t.Errorf("top:\n%s", out)
	}
}
