package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/agent"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/codecache"
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/internal/identity"
	"github.com/millrace/millrace/internal/server"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/file"
)

func TestWordCount(t *testing.T) {
	t.Parallel()
	m := mails(t, 200)
	c := newCluster(t, m, words(nil))
	c.Server("server-1")
	c.Agent("node-1", 2, nil)
	spec := &job.Spec{Inputs: []string{"mem:in/mails/"}, Output: "mem:out", Program: inProcess, Reducers: 1, Split: 9}
	j, err := c.Client("me").Submit(soon(t), spec, nil)
	s := end(t, j, err, "")
	got := output(t, m, "out")
	if len(got) != 206 || got[len(got)-1] != "the\t200" {
		t.Errorf("got %d words: %.200q", len(got), got)
	}
	if c := s.Result.Counters; c.Objects != 200 || c.Output != 206 {
		t.Errorf("counters are %+v", c)
	}
}

// A gate holds mappers at one object, and says when one has come there.
type gate struct {
	key     string
	entered chan struct{}
	open    chan struct{}
	once    sync.Once
}

func newGate(t *testing.T, key string) *gate {
	g := &gate{key: key, entered: make(chan struct{}, 100), open: make(chan struct{})}
	t.Cleanup(g.release)
	return g
}

func (g *gate) hook(key string) {
	if key == g.key {
		g.entered <- struct{}{}
		<-g.open
	}
}

func (g *gate) release() { g.once.Do(func() { close(g.open) }) }

func TestCancel(t *testing.T) {
	t.Parallel()
	m := mails(t, 50)
	g := newGate(t, "00030")
	c := newCluster(t, m, lines(g.hook))
	c.Server("server-1")
	c.Agents(2, 1)
	client := c.Client("me")
	j, err := client.Submit(soon(t), &job.Spec{Inputs: []string{"mem:in/mails/"}, Output: "mem:out", Program: inProcess, Split: 5}, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-g.entered
	if s, err := client.Job(soon(t), j.Job); err != nil || s.State != server.Running {
		t.Errorf("before: %v, %v", s.State, err)
	}
	if _, err := client.Cancel(soon(t), j.Job); err != nil {
		t.Fatal(err)
	}
	g.release()
	if s := end(t, j, nil, "cancelled"); s.State != server.Cancelled {
		t.Errorf("state is %s", s.State)
	}
	if got := output(t, m, "out"); len(got) > 0 {
		t.Errorf("a cancelled job left %.100q", got)
	}
	if all, err := client.Jobs(soon(t)); err != nil || len(all) != 1 || all[0].State != server.Cancelled {
		t.Errorf("jobs are %+v, %v", all, err)
	}
	if _, err := client.Job(soon(t), "nobody-knows"); err == nil || !strings.Contains(err.Error(), `no job "nobody-knows"`) {
		t.Errorf("another job: %v", err)
	}
}

// An agent dies in the middle of a job. When it is back, or its lease has passed, what it did is done by others.
func TestAgentDies(t *testing.T) {
	t.Parallel()
	const n = 60
	m := mails(t, n)
	g := newGate(t, "00000")
	c := newCluster(t, m, lines(g.hook))
	c.Server("server-1")
	victim := c.Agent("node-1", 1, nil)
	j, err := c.Client("me").Submit(soon(t), &job.Spec{Inputs: []string{"mem:in/mails/"}, Output: "mem:out", Program: inProcess, Split: 5}, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-g.entered
	go victim.Kill() // its mapper is in this process, and ends with the gate
	c.Agent("node-2", 1, nil)
	g.release()
	c.Agent("node-1", 1, nil) // a new incarnation: the cluster need not wait for the lease
	s := end(t, j, nil, "")
	same(t, output(t, m, "out"), dogs(n))
	if s.Result.Counters.Objects != n {
		t.Errorf("%d objects, want %d", s.Result.Counters.Objects, n)
	}
}

// The server stops or dies in the middle of a job, and another one takes over.
func TestTakeover(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"stops", "dies"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			const n = 60
			m := mails(t, n)
			g := newGate(t, "00030")
			c := newCluster(t, m, lines(g.hook))
			first := c.Server("server-1")
			c.Agents(2, 1)
			client := c.Client("me")
			j, err := client.Submit(soon(t), &job.Spec{Inputs: []string{"mem:in/mails/"}, Output: "mem:out", Program: inProcess, Split: 5}, nil)
			if err != nil {
				t.Fatal(err)
			}
			printing, err := client.Submit(soon(t), &job.Spec{Inputs: []string{"mem:in/mails/"}, Program: inProcess}, nil)
			if err != nil {
				t.Fatal(err)
			}
			<-g.entered
			c.Server("server-2")
			if how == "stops" {
				first.Stop()
			} else {
				first.Kill()
			}
			g.release()
			s := end(t, j, nil, "")
			same(t, output(t, m, "out"), dogs(n))
			if s.Result.Counters.Objects != n {
				t.Errorf("%d objects, want %d", s.Result.Counters.Objects, n)
			}
			if s, err := client.Wait(soon(t), printing.Job); err != nil || !strings.Contains(s.Error, "the coordinator to which it printed is gone") {
				t.Errorf("a job that prints: %+v, %v", s, err)
			}
		})
	}
}

// Two jobs share the slots: neither waits until the other is done.
func TestTwoJobs(t *testing.T) {
	t.Parallel()
	const n = 40
	m := mails(t, n)
	g := newGate(t, "00000")
	c := newCluster(t, m, lines(g.hook))
	c.Server("server-1")
	c.Agents(2, 1)
	client := c.Client("me")
	var jobs []*server.Submitted
	for i := range 2 {
		j, err := client.Submit(soon(t), &job.Spec{Inputs: []string{"mem:in/mails/"}, Output: fmt.Sprintf("mem:out-%d", i), Program: inProcess, Split: 2}, nil)
		if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, j)
		if i == 0 {
			<-g.entered // one of two slots
		}
	}
	<-g.entered // the other, which the first job has work for as well
	g.release()
	for i, j := range jobs {
		end(t, j, nil, "")
		same(t, output(t, m, fmt.Sprintf("out-%d", i)), dogs(n))
	}
}

// emptyModule is the least WASI command: it has a memory, and a _start that does nothing.
var emptyModule = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x05\x03\x01\x00\x01\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x00\x0a\x04\x01\x02\x00\x0b")

// A program is sent once, and fetched once by each node, whatever the jobs.
func TestProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "empty.wasm")
	if err := os.WriteFile(path, emptyModule, 0o600); err != nil {
		t.Fatal(err)
	}
	cache, err := codecache.Open(filepath.Join(dir, "code"))
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	m := mails(t, 20)
	c := newCluster(t, m, nil)
	c.Cache = cache
	entered, opened := make(chan struct{}, 10), make(chan struct{})
	open := m.Opener()
	c.Schemes = store.Schemes{"mem": func(ctx context.Context, u store.URI, o *store.Options) (store.Bucket, store.URI, error) {
		if u.Bucket == "gated" {
			entered <- struct{}{}
			select {
			case <-opened:
			case <-ctx.Done():
				return nil, u, context.Cause(ctx)
			}
		}
		return open(ctx, u, o)
	}}
	first := c.Server("server-1")
	var fetched [2]string
	for i := range fetched {
		c.Agent(fmt.Sprintf("node-%d", i+1), 1, func(o *agent.NodeOptions) { fetched[i] = o.Dir })
	}
	client := c.Client("me")
	times := map[string]time.Time{}
	for i := range 3 {
		spec := &job.Spec{Inputs: []string{"mem:in/mails/"}, Output: fmt.Sprintf("mem:out-%d", i), Program: job.Program{Engine: job.Wasm, Path: path}, Split: 1}
		j, err := client.Submit(soon(t), spec, nil)
		if s := end(t, j, err, ""); s.Result.Counters.Objects != 20 {
			t.Errorf("%d objects, want 20", s.Result.Counters.Objects)
		}
		for _, dir := range fetched {
			files, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil || len(files) > 1 {
				t.Fatalf("a node keeps %q, %v", files, err)
			}
			for _, f := range files {
				info, err := os.Stat(f)
				if err != nil {
					t.Fatal(err)
				}
				if was, ok := times[f]; ok && !was.Equal(info.ModTime()) {
					t.Errorf("%s was fetched again", f)
				}
				times[f] = info.ModTime()
			}
		}
	}
	if len(times) == 0 {
		t.Error("no node has the program")
	}
	// A server that takes over has the program from them.
	j, err := client.Submit(soon(t), &job.Spec{Inputs: []string{"mem:in/mails/"}, Output: "mem:gated", Program: job.Program{Engine: job.Wasm, Path: path}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	c.Server("server-2")
	first.Stop()
	close(opened)
	if s := end(t, j, nil, ""); s.Result.Counters.Objects != 20 {
		t.Errorf("after a takeover: %d objects, want 20", s.Result.Counters.Objects)
	}
	bad := filepath.Join(dir, "bad.wasm")
	if err := os.WriteFile(bad, []byte("not a module"), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err = client.Submit(soon(t), &job.Spec{Inputs: []string{"mem:in/mails/"}, Output: "mem:bad", Program: job.Program{Engine: job.Wasm, Path: bad}}, nil)
	end(t, j, err, "bad.wasm: program: ")
}

// Who speaks as another node is refused, and so is an agent of another version.
func TestStrangers(t *testing.T) {
	t.Parallel()
	m := mails(t, 1)
	c := newCluster(t, m, words(nil))
	c.Server("server-1")
	honest := c.Agent("node-1", 1, nil)
	cl := c.Connect(identity.Agent, "node-2")
	w, err := json.Marshal(coordinator.Want{Sender: coordinator.Sender{Node: "node-1", Incarnation: 9}})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		_, err = cl.Call(soon(t), brief.ToCoordinator("node-2", brief.Want), w)
		if !errors.Is(err, cluster.ErrNobody) || time.Now().After(deadline) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err == nil || !strings.Contains(err.Error(), "agent.node-2.want: node node-2 speaks as node-1") {
		t.Errorf("node-2 asks as node-1: %v", err)
	}
	old := c.Agent("node-3", 1, func(o *agent.NodeOptions) { o.Member.Version = "older" })
	if err := old.Wait(); err == nil || !strings.Contains(err.Error(), "node node-3 runs Millrace older, the coordinator test") {
		t.Errorf("an agent of another version: %v", err)
	}
	honest.Node.Drain()
	if err := honest.Wait(); err != nil {
		t.Errorf("a drained agent: %v", err)
	}
}

// Between programs, splits, text and results, nothing depends on who reads where: the same on a directory tree.
func TestFiles(t *testing.T) {
	t.Parallel()
	in, out := t.TempDir(), t.TempDir()
	for i := range 30 {
		if err := os.WriteFile(filepath.Join(in, fmt.Sprintf("%02d", i)), []byte("a dog\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := newCluster(t, mails(t, 0), nil)
	c.Schemes = store.Schemes{"file": file.Open}
	c.Server("server-1")
	c.Agent("node-1", 2, nil)
	spec := &job.Spec{Inputs: []string{in}, Output: out + "/words", Program: job.Program{Engine: job.Builtin, Name: "words"}, Reducers: 2}
	j, err := c.Client("me").Submit(soon(t), spec, nil)
	s := end(t, j, err, "")
	if len(s.Result.Parts) != 2 || s.Result.Counters.Emitted != 60 {
		t.Errorf("%d parts, %d records", len(s.Result.Parts), s.Result.Counters.Emitted)
	}
	if _, err := os.Stat(out + "/words/_manifest.json"); err != nil {
		t.Error(err)
	}
}

// Who reads what a job prints has gone: the job ends.
func TestReaderGone(t *testing.T) {
	t.Parallel()
	m := mails(t, 50)
	var mapped atomic.Int64
	g := newGate(t, "00000")
	c := newCluster(t, m, lines(func(key string) { mapped.Add(1); g.hook(key) }))
	c.Server("server-1")
	c.Agent("node-1", 1, nil)
	client := c.Client("me")
	j, err := client.Submit(soon(t), &job.Spec{Inputs: []string{"mem:in/mails/"}, Program: inProcess}, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-g.entered
	ctx, cancel := context.WithCancel(soon(t))
	cancel()
	if _, err := j.Wait(ctx); err == nil {
		t.Error("nobody reads, and there is no error")
	}
	g.release()
	s, err := client.Wait(soon(t), j.Job)
	if err != nil || !s.State.Ended() || s.State == server.Succeeded {
		t.Errorf("the job is %s, %v", s.State, err)
	}
}
