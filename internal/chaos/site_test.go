package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/identity"
	"github.com/millrace/millrace/internal/netlab"
	"github.com/millrace/millrace/internal/swifttest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store/file"
)

// A site is a cluster of three servers and four agents, a Swift, and clients, each on a host of its own but for the clients, who share one that is never disturbed.
type site struct {
	lab     *netlab.Lab
	swift   *swifttest.Cluster
	servers []*machine
	agents  []*machine
	clients []*machine // one for each job at a time
	dir     string
	out     string // directory of outputs
}

const (
	siteServers = 3
	siteAgents  = 4
	spillSize   = 256 // MiB of an agent's disk for records
)

// newSite starts everything, for so many jobs at a time.
func newSite(t *testing.T, jobs int) *site {
	t.Helper()
	s := &site{lab: netlab.New(t, siteServers+siteAgents+2), dir: t.TempDir(), out: t.TempDir()}
	hosts := s.lab.Hosts
	s.swift = swifttest.Run(t, &swifttest.Options{Nodes: 3, Place: hosts[siteServers+siteAgents]})
	ca, err := identity.Create(filepath.Join(s.dir, "ca"), "chaos")
	if err != nil {
		t.Fatal(err)
	}
	d := duty{}
	for _, h := range hosts[:siteServers] {
		d.Peers = append(d.Peers, h.Address(6222))
		d.URLs = append(d.URLs, "tls://"+h.Address(4222))
	}
	add := func(role identity.Role, name string, host *netlab.Host) *machine {
		m := &machine{duty: d, host: host, log: filepath.Join(s.dir, name+".log")}
		m.Role, m.Name, m.IP, m.Dir, m.Identity = role, name, host.IP, filepath.Join(s.dir, name), filepath.Join(s.dir, name+".id")
		if _, err := ca.Issue(role, name, m.Identity); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{"tmp", "programs"} {
			if err := os.MkdirAll(filepath.Join(m.Dir, dir), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		m.env = append(s.swift.Env(), "TMPDIR="+filepath.Join(m.Dir, "tmp"), "XDG_CACHE_HOME="+filepath.Join(s.dir, "cache"))
		t.Cleanup(m.kill)
		return m
	}
	for i, h := range hosts[:siteServers] {
		m := add(identity.Coordinator, fmt.Sprintf("server-%d", i+1), h)
		m.First = i == 0
		s.servers = append(s.servers, m)
	}
	for i, h := range hosts[siteServers : siteServers+siteAgents] {
		m := add(identity.Agent, fmt.Sprintf("node-%d", i+1), h)
		m.Slots = 2
		h.Disk(filepath.Join(m.Dir, "tmp"), spillSize)
		s.agents = append(s.agents, m)
	}
	for i := range jobs {
		s.clients = append(s.clients, add(identity.Client, fmt.Sprintf("client-%d", i+1), hosts[siteServers+siteAgents+1]))
	}
	begin(t, s.servers)
	for _, m := range s.servers { // who starts again finds it prepared
		m.First = false
	}
	begin(t, append(slices.Clone(s.agents), s.clients...))
	for _, c := range []string{"input", "output"} {
		if err := s.swift.MakeContainer(t.Context(), c, ""); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// begin starts machines and waits until all are ready.
func begin(t *testing.T, ms []*machine) {
	t.Helper()
	for _, m := range ms {
		if err := m.start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range ms {
		if err := m.ready(); err != nil {
			for _, m := range ms {
				t.Logf("%s: %s", m.Name, m.tail())
			}
			t.Fatal(err)
		}
	}
}

// A task is a job of a site, and what it is to make.
type task struct {
	*target
	swift bool // its inputs and its output are in Swift
}

// tasks makes the jobs of the site, and runs each undisturbed, in one process.
func (s *site) tasks(t *testing.T) (all []*task) {
	t.Helper()
	w := newWorkshop(t)
	for _, j := range jobsOf() {
		k := &task{swift: j.s3}
		j.s3 = false
		k.target = j.newTarget(t, w)
		if k.swift {
			for n, in := range k.job.Inputs {
				to := fmt.Sprintf("swift://input/%s/%c/", k.name, 'a'+n)
				if r, err := s.clients[0].ask(&wish{From: in, To: to}, nil); err != nil || r.Error != "" {
					t.Fatalf("copy to %s: %v, %s", to, err, r.Error)
				}
				k.job.Inputs[n] = to
			}
		}
		k.out, k.uri = s.out, "file://"+s.out
		all = append(all, k)
	}
	return all
}

// run has a client run the job of a task to an output, says when it was taken, and compares what it has made. A job may fail, if it says why, and then nothing is visible.
func (s *site) run(c *machine, k *task, out string, taken func(job string)) (state string, err error) {
	spec := k.job
	spec.Output = k.uri + "/" + out
	if k.swift {
		spec.Output = "swift://output/" + out
	}
	r, err := c.ask(&wish{Spec: &spec}, taken)
	if err != nil {
		return "", err
	}
	if r.Error != "" {
		return "", fmt.Errorf("%s: ask for its end: %s", out, r.Error)
	}
	if k.swift {
		if r, err := c.ask(&wish{From: spec.Output + "/", To: k.uri + "/" + out + "/"}, nil); err != nil || r.Error != "" {
			return "", fmt.Errorf("read %s: %v, %s", out, err, r.Error)
		}
	}
	state = string(r.Status.State)
	if state != "succeeded" {
		state = fmt.Sprintf("%s: %s", state, r.Status.Error)
		if left := seen(filepath.Join(s.out, out)); len(left) > 0 {
			return state, fmt.Errorf("%s %s, but there are %d files", out, state, len(left))
		}
		return state, nil
	}
	return state, k.equal(filepath.Join(s.out, out))
}

// seen returns the visible files of an output, by name.
func seen(dir string) map[string]string {
	files := map[string]string{}
	b := file.New(dir)
	defer b.Close()
	for o, err := range b.List(context.Background(), "", "") {
		if err == nil && !strings.HasPrefix(string(o.Key), "_millrace/") {
			text, _ := os.ReadFile(filepath.Join(dir, string(o.Key)))
			files[string(o.Key)] = string(text)
		}
	}
	return files
}

// equal compares an output with that of the undisturbed job, byte by byte.
func (k *task) equal(dir string) error {
	got := seen(dir)
	var m job.Manifest
	if err := json.Unmarshal([]byte(got["_manifest.json"]), &m); err != nil {
		return fmt.Errorf("%s: manifest: %w", dir, err)
	}
	delete(got, "_manifest.json")
	if len(got) != len(k.want) || len(m.Parts) != len(k.want) {
		return fmt.Errorf("%s: %d files, of which the manifest knows %d, want %d", dir, len(got), len(m.Parts), len(k.want))
	}
	for name, want := range k.want {
		if got[name] != want {
			return fmt.Errorf("%s/%s: %s", dir, name, firstDifference(got[name], want))
		}
	}
	return nil
}
