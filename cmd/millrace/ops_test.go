package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// small makes a cluster of one server and one agent, and a client; metrics are at port 7744 and 7746.
func small(t *testing.T) (p *walk, agent *walker) {
	t.Helper()
	p = newWalk(t, "one", "two", "laptop")
	p.mails(200)
	p.run("one", "millrace cluster init --name mail --node one")
	p.run("one", "millrace serve --address 10.0.0.1 --metrics 10.0.0.1:7744 --log-format json &")
	p.run("one", "millrace cluster token agent two")
	p.until("two", "millrace cluster join --dir /var/lib/millrace-agent 10.0.0.1 TOKEN", "node +agent two")
	p.run("one", "millrace cluster token client laptop")
	p.until("laptop", "millrace cluster join --dir ~/.millrace 10.0.0.1 TOKEN", "node +client laptop")
	p.run("laptop", "export MILLRACE_CLUSTER=~/.millrace")
	agent = p.start("two", p.here("two", "millrace agent --address 10.0.0.2 --slots 2 --metrics 10.0.0.2:7746"))
	p.until("laptop", "millrace cluster status", "(?m)^two .*works$")
	return p, agent
}

// get returns what is served at a port of a machine.
func (p *walk) get(machine, rest string) string {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.here(machine, "http://"+rest), http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// TestCluster does what an operator does with a small cluster.
func TestCluster(t *testing.T) {
	t.Parallel()
	p, agent := small(t)

	// A job on the cluster is like one here.
	if out := p.run("laptop", "millrace grep --sort -c 'invoice \\d+' /srv/mail"); strings.Count(out, "\n") != 20 || !strings.HasPrefix(out, "0000.eml:1\n") {
		t.Errorf("grep: %s", out)
	}
	p.refused("laptop", "millrace grep nosuchword /srv/mail", 1, "0 matches")
	p.refused("laptop", "millrace run --detach builtin:words -i /srv/mail", 2, "--detach: nobody would read what the job prints")
	p.refused("laptop", "millrace run builtin:words -i /srv/nothing -o /srv/x", 2, "no such file")

	// It is left to the cluster, and asked after.
	id := strings.TrimSpace(p.run("laptop", "millrace run --detach builtin:words -i /srv/mail -o /srv/words"))
	p.until("laptop", "millrace jobs", "(?m)^"+id+" +succeeded .* words *$")
	if _, err := os.Stat(filepath.Join(p.dir, "srv/words/_manifest.json")); err != nil {
		t.Error(err)
	}
	if out := p.run("laptop", "millrace logs "+id); !strings.Contains(out, "committed m-00000.1 on two after ") || !strings.HasSuffix(out, "ended well\n") || strings.Contains(out, "hello") {
		t.Errorf("logs: %s", out)
	}
	p.refused("laptop", "millrace logs nosuchjob", 2, `no job "nosuchjob"`)
	p.refused("laptop", "millrace cancel nosuchjob", 2, `no job "nosuchjob"`)

	// In quarantine a node gets no work: a job waits, until it is cancelled.
	p.run("laptop", "millrace cluster quarantine two its disk is slow")
	p.until("laptop", "millrace cluster status", "(?m)^two .*in quarantine: its disk is slow$")
	id = strings.TrimSpace(p.run("laptop", "millrace run --detach builtin:words -i /srv/mail -o /srv/never"))
	if out := p.run("laptop", "millrace cancel "+id); out != id+" cancelled\n" {
		t.Errorf("cancel: %s", out)
	}
	p.run("laptop", "millrace cluster release two")
	p.until("laptop", "millrace top", "(?s)1 node, 0 of 2 slots busy.*"+id+" +cancelled .*two .*works")
	p.refused("laptop", "millrace cluster release nobody", 2, "node nobody is no member")

	// Who watches sees no names and no mail.
	for machine, want := range map[string][]string{
		"10.0.0.1:7744": {`millrace_leads 1`, `millrace_jobs{state="cancelled"} 1`, `millrace_members{state="works"} 1`, `millrace_attempts_total{fault="",outcome="committed"} `, `millrace_append_seconds_count `},
		"10.0.0.2:7746": {`millrace_node_slots 2`, `millrace_attempts_total{fault="",outcome="committed"} `, `millrace_alone 0`, `millrace_build_info{version=`},
	} {
		out := p.get("laptop", machine+"/metrics")
		for _, w := range want {
			if !strings.Contains(out, "\n"+w) {
				t.Errorf("%s: no %s in\n%s", machine, w, out)
			}
		}
		for _, secret := range []string{".eml", "invoice", id, "srv/mail", "millrace-join"} {
			if strings.Contains(out, secret) {
				t.Errorf("%s: metrics with %q", machine, secret)
			}
		}
		if out := p.get("laptop", machine+"/ready"); out != "" {
			t.Errorf("%s is not ready: %s", machine, out)
		}
	}

	// The first SIGTERM drains: nothing is under way, so that the agent leaves.
	if err := syscall.Kill(agent.cmd.Process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-agent.done:
		agent.done <- err
		if err != nil {
			t.Errorf("the agent that was drained: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the agent does not leave")
	}
	p.until("laptop", "millrace cluster status", "nodes +none")

	// Ctrl-C cancels a job that waits.
	job := p.start("laptop", p.here("laptop", "millrace run builtin:words -i /srv/mail -o /srv/never"))
	p.until("laptop", "millrace jobs", "(?m) (accepted|running) .* words")
	if err := syscall.Kill(job.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-job.done:
		job.done <- err
		if code := job.cmd.ProcessState.ExitCode(); code != exitCancelled {
			t.Errorf("exit code %d, %v, want %d", code, err, exitCancelled)
		}
	case <-time.After(time.Minute):
		t.Error("the job is not cancelled")
	}
	if out := p.run("laptop", "millrace jobs"); strings.Count(out, " cancelled ") != 2 {
		t.Errorf("jobs: %s", out)
	}
}

// refused runs a line that must end with a code and say so on stderr.
func (p *walk) refused(machine, line string, code int, want string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := p.command(ctx, machine, p.here(machine, line))
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(string(out), want) {
		p.t.Errorf("%s: exit code %d, %v, want %d and %q: %s", line, got, err, code, want, out)
	}
}
