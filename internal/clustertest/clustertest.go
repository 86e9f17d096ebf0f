// Package clustertest runs a cluster within a test's process: an engine that listens, servers, agents and clients with identities of their own, over
// loopback addresses.
package clustertest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/agent"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/codecache"
	"github.com/millrace/millrace/internal/identity"
	"github.com/millrace/millrace/internal/server"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle/flight"
	"github.com/millrace/millrace/store"
)

// Version is what all of a cluster run, unless a test says otherwise.
const Version = "test"

// A Cluster is an engine and who may use it. What is started on it ends with its test.
type Cluster struct {
	Schemes   store.Schemes
	InProcess *job.Job         // the program of all jobs; nil: programs are run in jails
	Cache     *codecache.Cache // of agents; nil: the user's own
	Log       *slog.Logger     // nil: that of the test
	Lease     time.Duration    // of the lead; 0: three seconds

	tb     testing.TB
	dir    string
	ca     *identity.Authority
	engine *cluster.Server
}

// New starts an engine that is prepared.
func New(tb testing.TB, schemes store.Schemes) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb, dir: tb.TempDir(), Schemes: schemes, Lease: 3 * time.Second}
	var err error
	if c.ca, err = identity.Create(filepath.Join(c.dir, "ca"), "test"); err != nil {
		tb.Fatal(err)
	}
	c.engine, err = cluster.Listen(&cluster.Listening{
		Identity: c.Identity(identity.Coordinator, "engine"), Dir: filepath.Join(c.dir, "engine"), Clients: "127.0.0.1:0", Anywhere: true,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.engine.Close() })
	if err := c.engine.Ready(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	if err := c.Connect(identity.Coordinator, "prepare").Prepare(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return c
}

// Identity makes the identity of a node.
func (c *Cluster) Identity(role identity.Role, name string) *identity.Node {
	c.tb.Helper()
	n, err := c.ca.Issue(role, name, filepath.Join(c.tb.TempDir(), name))
	if err != nil {
		c.tb.Fatal(err)
	}
	return n
}

// Connect connects to the engine as a node of that name, until the test ends.
func (c *Cluster) Connect(role identity.Role, name string) *cluster.Cluster {
	c.tb.Helper()
	cl, err := c.connect(c.Identity(role, name))
	if err != nil {
		c.tb.Fatal(err)
	}
	c.tb.Cleanup(func() { _ = cl.Close() })
	return cl
}

func (c *Cluster) connect(id *identity.Node) (*cluster.Cluster, error) {
	return cluster.Connect(c.tb.Context(), &cluster.Remote{URLs: []string{c.engine.URL()}, Identity: id})
}

// data starts a data node.
func (c *Cluster) data(id *identity.Node) *flight.Node {
	c.tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // of a test
	if err != nil {
		c.tb.Fatal(err)
	}
	n, err := flight.Listen(l, flight.Options{TLS: id.TLS(identity.Agent, identity.Coordinator, identity.Client)})
	if err != nil {
		c.tb.Fatal(err)
	}
	return n
}

func (c *Cluster) log(name string) *slog.Logger {
	if c.Log != nil {
		return c.Log
	}
	return slog.New(slog.NewTextHandler(logged{c.tb, name}, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// logged writes to the log of a test.
type logged struct {
	tb   testing.TB
	name string
}

func (l logged) Write(p []byte) (int, error) {
	if l.tb.Context().Err() == nil {
		l.tb.Logf("%s: %s", l.name, p)
	}
	return len(p), nil
}

// A Process is a server or an agent that runs.
type Process struct {
	Node *agent.Node // of an agent

	cancel context.CancelFunc
	once   sync.Once
	close  func()
	done   chan struct{}
	err    error
}

// Wait waits until it has ended by itself, and returns its error.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Kill ends it at once: it says nothing to anybody. Its connections are cut first.
func (p *Process) Kill() {
	p.once.Do(p.close)
	p.Stop()
}

// Stop ends it: a server hands its jobs to the next, an agent is gone.
func (p *Process) Stop() {
	p.cancel()
	<-p.done
	p.once.Do(p.close)
}

// start runs f until it is stopped, or the test ends.
func (c *Cluster) start(f func(ctx context.Context) error, close func()) *Process {
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.tb.Context()))
	p := &Process{cancel: cancel, close: close, done: make(chan struct{})}
	go func() {
		defer p.finished()
		p.err = f(ctx)
	}()
	c.tb.Cleanup(p.Stop)
	return p
}

func (p *Process) finished() { close(p.done) }

// Server starts a server.
func (c *Cluster) Server(name string) *Process {
	c.tb.Helper()
	id := c.Identity(identity.Coordinator, name)
	cl, err := c.connect(id)
	if err != nil {
		c.tb.Fatal(err)
	}
	data := c.data(id)
	o := server.Options{
		Cluster: cl, Data: data, Schemes: c.Schemes, Name: name, Version: Version, Dir: c.tb.TempDir(), Lease: c.Lease, Log: c.log(name),
	}
	return c.start(func(ctx context.Context) error { return server.Run(ctx, o) }, func() { _, _ = cl.Close(), data.Close() })
}

// Agent starts an agent, which change may make another one.
func (c *Cluster) Agent(name string, slots int, change func(*agent.NodeOptions)) *Process {
	c.tb.Helper()
	id := c.Identity(identity.Agent, name)
	cl, err := c.connect(id)
	if err != nil {
		c.tb.Fatal(err)
	}
	data := c.data(id)
	o := agent.NodeOptions{
		Cluster: cl, Data: data, Schemes: c.Schemes, Dir: c.tb.TempDir(), Cache: c.Cache, InProcess: c.InProcess, Log: c.log(name),
		Member: cluster.Member{Node: name, Version: Version, Slots: slots, Addresses: []string{data.Address()}},
	}
	if change != nil {
		change(&o)
	}
	n := agent.NewNode(o)
	p := c.start(n.Run, func() { _, _ = cl.Close(), data.Close() })
	p.Node = n
	return p
}

// Agents starts agents node-1, node-2, …
func (c *Cluster) Agents(n, slots int) (all []*Process) {
	c.tb.Helper()
	for i := range n {
		all = append(all, c.Agent(fmt.Sprintf("node-%d", i+1), slots, nil))
	}
	return all
}

// Client returns a client.
func (c *Cluster) Client(name string) *server.Client {
	c.tb.Helper()
	id := c.Identity(identity.Client, name)
	cl, err := c.connect(id)
	if err != nil {
		c.tb.Fatal(err)
	}
	data := c.data(id)
	c.tb.Cleanup(func() { _, _ = cl.Close(), data.Close() })
	return &server.Client{Cluster: cl, Data: data}
}
