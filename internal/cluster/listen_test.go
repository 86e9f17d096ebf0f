package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/identity"
)

// A trio is three servers of one cluster, on loopback addresses of their own.
type trio struct {
	ca        *identity.Authority
	dir       string
	listening [3]*Listening
	servers   [3]*Server
}

func newAuthority(t testing.TB) (*identity.Authority, string) {
	t.Helper()
	dir := t.TempDir()
	ca, err := identity.Create(filepath.Join(dir, "ca"), "test")
	if err != nil {
		t.Fatal(err)
	}
	return ca, dir
}

func issue(t testing.TB, ca *identity.Authority, role identity.Role, name string) *identity.Node {
	t.Helper()
	n, err := ca.Issue(role, name, filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// loopback returns an address that no other test has.
func loopback() string {
	return fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(64), rand.IntN(256), 1+rand.IntN(254))
}

func newTrio(t testing.TB) *trio {
	t.Helper()
	tr := &trio{}
	tr.ca, tr.dir = newAuthority(t)
	var peers []string
	for range tr.servers {
		peers = append(peers, loopback()+":6222")
	}
	for i, peer := range peers {
		name := fmt.Sprintf("s-%d", i)
		tr.listening[i] = &Listening{
			Identity: issue(t, tr.ca, identity.Coordinator, name), Dir: filepath.Join(tr.dir, name),
			Clients: strings.Replace(peer, "6222", "4222", 1), Routes: peer, Peers: peers, Anywhere: true,
		}
	}
	t.Cleanup(func() {
		for _, s := range tr.servers {
			if s != nil {
				s.Close()
			}
		}
	})
	return tr
}

// start starts the servers, and returns when they can keep things.
func (tr *trio) start(t testing.TB, which ...int) {
	t.Helper()
	for _, i := range which {
		s, err := Listen(tr.listening[i])
		if err != nil {
			t.Fatal(err)
		}
		tr.servers[i] = s
	}
	for _, i := range which {
		if err := tr.servers[i].Ready(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
}

func (tr *trio) urls() (urls []string) {
	for _, l := range tr.listening {
		urls = append(urls, "tls://"+l.Clients)
	}
	return urls
}

func connect(t testing.TB, r *Remote) *Cluster {
	t.Helper()
	c, err := Connect(soon(t), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// leader returns which server leads a stream; -1: none does.
func (tr *trio) leader(stream string) int {
	for i, s := range tr.servers {
		if s != nil && s.server.JetStreamIsStreamLeader("$G", stream) {
			return i
		}
	}
	return -1
}

func TestThreeServers(t *testing.T) {
	t.Parallel()
	tr := newTrio(t)
	tr.start(t, 0, 1, 2)
	c := connect(t, &Remote{URLs: tr.urls(), Identity: issue(t, tr.ca, identity.Coordinator, "c-1")})
	if err := c.Check(soon(t)); !errors.Is(err, ErrLost) {
		t.Errorf("before it is prepared: %v, want ErrLost", err)
	}
	if _, err := c.Log(soon(t), "a"); !errors.Is(err, ErrLost) {
		t.Errorf("a log before it is prepared: %v, want ErrLost", err)
	}
	for range 2 {
		if err := c.Prepare(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Check(soon(t)); err != nil {
		t.Fatal(err)
	}
	l := openTestLog(t, c, "a")
	lead(t, l, 1)
	add(t, l, 1, "before")
	gone := tr.leader(logStream)
	tr.servers[gone].Close()
	add(t, l, 1, "without one")
	tr.start(t, gone)
	if got, want := contents(t, openTestLog(t, c, "a")), "1! 1:before 1:without one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := c.Resume(soon(t), "a"); err != nil {
		t.Error(err)
	}
	if _, err := c.Resume(soon(t), "b"); !errors.Is(err, ErrLost) {
		t.Errorf("resume a log that is empty: %v, want ErrLost", err)
	}
	if err := c.Check(soon(t)); err != nil {
		t.Error(err)
	}
}

// alone starts a server without peers, whose authority signs what the test needs.
func alone(t testing.TB) (*identity.Authority, *Server) {
	t.Helper()
	ca, dir := newAuthority(t)
	s, err := Listen(&Listening{Identity: issue(t, ca, identity.Coordinator, "s-1"), Dir: filepath.Join(dir, "s-1"), Clients: "127.0.0.1:0", Anywhere: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Ready(soon(t)); err != nil {
		t.Fatal(err)
	}
	return ca, s
}

func TestRoles(t *testing.T) {
	t.Parallel()
	ca, s := alone(t)
	as := func(role identity.Role, name string) *Cluster {
		return connect(t, &Remote{URLs: []string{s.URL()}, Identity: issue(t, ca, role, name)})
	}
	coordinator, agent, other, client := as(identity.Coordinator, "c-1"), as(identity.Agent, "node-1"), as(identity.Agent, "node-2"), as(identity.Client, "me")
	if err := coordinator.Prepare(soon(t)); err != nil {
		t.Fatal(err)
	}
	echo := func(_ context.Context, req []byte) ([]byte, error) { return req, nil }
	for subject, c := range map[string]*Cluster{"agent.*.want": coordinator, "api.submit": coordinator, "node.node-1.stop": agent} {
		if _, err := c.Serve(soon(t), subject, echo); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name    string
		c       *Cluster
		subject string
		ok      bool
	}{
		{"agent as itself", agent, "agent.node-1.want", true},
		{"agent as another", agent, "agent.node-2.want", false},
		{"coordinator to an agent", coordinator, "node.node-1.stop", true},
		{"client to the API", client, "api.submit", true},
		{"agent to the API", agent, "api.submit", false},
		{"agent to another agent", other, "node.node-1.stop", false},
		{"client as an agent", client, "agent.node-1.want", false},
		{"client to an agent", client, "node.node-1.stop", false},
	} {
		ctx, cancel := soon(t), context.CancelFunc(func() {})
		if !tt.ok {
			ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond) // a refused call is not answered
		}
		got, err := tt.c.Call(ctx, tt.subject, []byte("x"))
		cancel()
		if (err == nil && string(got) == "x") != tt.ok {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), strings.TrimPrefix(s.URL(), "tls://")) {
			t.Errorf("%s: the error names no server: %v", tt.name, err)
		}
	}
	// What the others may not: the engine drops it, so that a legal message behind it shows that it was.
	l := openTestLog(t, coordinator, "a")
	lead(t, l, 1)
	heard := make(chan string, 10)
	stop, err := coordinator.subscribe(soon(t), memberPrefix, "*", func(_ context.Context, _ string, b []byte) { heard <- string(b) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, c := range []*Cluster{agent, client} {
		e := entry{kind: kindLead, epoch: 9}
		c.conn.Publish(logPrefix+"a", e.append(nil))
		c.conn.Publish(statePrefix+leaderKey, (&tenure{epoch: 9}).append(nil))
		c.conn.Publish("$JS.API.STREAM.INFO."+logStream, nil)
		c.conn.Publish(memberPrefix+"node-2", appendRequest(nil, 0, []byte("an impostor")))
		c.conn.Flush()
	}
	// Nobody else hears the answers of a node.
	spy, err := agent.conn.SubscribeSync(inbox(other.remote.Identity.Peer) + ".>")
	if err != nil {
		t.Fatal(err)
	}
	agent.conn.Flush()
	if _, err := other.Call(soon(t), "agent.node-2.want", []byte("mine")); err != nil {
		t.Fatal(err)
	}
	if m, err := spy.NextMsg(50 * time.Millisecond); err == nil {
		t.Errorf("an agent hears the answer to another: %q", m.Data)
	}
	if err := other.publish(soon(t), memberPrefix, "node-2", []byte("itself")); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "itself" {
		t.Errorf("of node-2 is heard %q", got)
	}
	if got := contents(t, l); got != "1!" {
		t.Errorf("the log is %q, want 1!", got)
	}
	// A coordinator cannot throw away a log either.
	ctx, cancel := context.WithTimeout(soon(t), 300*time.Millisecond)
	defer cancel()
	if err := coordinator.js.DeleteStream(ctx, logStream); err == nil {
		t.Error("a coordinator deleted the logs")
	}
}

func TestStrangersStayOut(t *testing.T) {
	t.Parallel()
	ca, s := alone(t)
	foreign, _ := newAuthority(t)
	good := issue(t, ca, identity.Agent, "node-1")
	bare := good.TLS(identity.Coordinator)
	bare.Certificates = nil
	host := strings.TrimPrefix(s.URL(), "tls://")
	for name, r := range map[string]*Remote{
		"of another authority": {URLs: []string{s.URL()}, Identity: issue(t, foreign, identity.Coordinator, "c-1")},
		"without certificate":  {URLs: []string{s.URL()}, TLS: bare},
		"without TLS":          {URLs: []string{"nats://" + host}},
	} {
		ctx, cancel := context.WithTimeout(soon(t), 20*time.Second)
		c, err := Connect(ctx, r)
		cancel()
		if err == nil {
			c.Close()
			t.Errorf("%s: it may connect", name)
		} else if !strings.Contains(err.Error(), host) {
			t.Errorf("%s: the error names no server: %v", name, err)
		}
	}
}

func TestListeningIsChecked(t *testing.T) {
	ca, dir := newAuthority(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := taken.Addr().String()
	c, a := issue(t, ca, identity.Coordinator, "c-1"), issue(t, ca, identity.Agent, "node-1")
	for _, tt := range []struct {
		l    Listening
		want string
	}{
		{Listening{Identity: a, Dir: dir, Clients: "127.0.0.1:0"}, "it needs the identity of a coordinator"},
		{Listening{Identity: c, Clients: "127.0.0.1:0"}, "it needs a directory"},
		{Listening{Identity: c, Dir: "/tmp/x", Clients: "127.0.0.1:0"}, "unsafe engine: /tmp/x is emptied by the system"},
		{Listening{Identity: c, Dir: dir, Clients: "127.0.0.1", Anywhere: true}, `address "127.0.0.1": want host:port`},
		{Listening{Identity: c, Dir: dir, Clients: "127.0.0.1:x", Anywhere: true}, `address "127.0.0.1:x": port "x" is no number`},
		{Listening{Identity: c, Dir: dir, Clients: "127.0.0.1:0", Peers: []string{"a:1", "b:1"}, Anywhere: true}, "two servers lose their majority with either: it needs three, or one"},
		{Listening{Identity: c, Dir: dir, Clients: "127.0.0.1:0", Peers: []string{"a:1", "b:1", "c:1"}, Anywhere: true}, "peers, and no address where they connect"},
		{Listening{Identity: c, Dir: dir, Clients: busy, Anywhere: true}, "listen tcp " + busy + ": bind: address already in use"},
	} {
		s, err := Listen(&tt.l)
		if s != nil {
			s.Close()
		}
		if text(err) != "serve the cluster: "+tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}
