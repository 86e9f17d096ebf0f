package cluster

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/identity"
	"github.com/millrace/millrace/internal/netlab"
)

// newThreeOn returns three children on hosts of their own, which clients reach by way of a fourth.
func newThreeOn(t *testing.T, l *netlab.Lab) (*three, []string) {
	t.Helper()
	ca, dir := newAuthority(t)
	th := &three{ca: ca}
	var peers, urls []string
	for _, h := range l.Hosts[:3] {
		peers = append(peers, h.Address(6222))
	}
	for i, h := range l.Hosts[:3] {
		name := fmt.Sprintf("s-%d", i)
		node := dir + "/node-" + name
		if _, err := ca.Issue(identity.Coordinator, name, node); err != nil {
			t.Fatal(err)
		}
		th.children[i] = &child{host: h, config: childConfig{Node: node, Listen: Listening{
			Dir: dir + "/" + name, Clients: h.Address(4222), Routes: peers[i], Peers: peers,
			AdvertiseClients: "127.0.0.1:9", // nobody there: the fourth host is the only way
		}}}
		urls = append(urls, "tls://"+l.Hosts[3].Forward(h.Address(4222)))
	}
	t.Cleanup(func() {
		for _, c := range th.children {
			c.kill()
		}
	})
	errs := make(chan error, 3)
	for _, c := range th.children {
		go func() { errs <- c.start() }()
	}
	for range th.children {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	return th, urls
}

// splits are what becomes of wires between servers, and between them and their clients. Nobody is told: what is sent is lost.
var splits = []struct {
	name string
	do   func(l *netlab.Lab, r *rand.Rand, leader int, off bool)
}{
	{"leader unplugged", func(l *netlab.Lab, _ *rand.Rand, leader int, off bool) { l.Hosts[leader].Unplug(off) }},
	{"follower unplugged", func(l *netlab.Lab, _ *rand.Rand, leader int, off bool) { l.Hosts[(leader+1)%3].Unplug(off) }},
	{"leader and one parted", func(l *netlab.Lab, _ *rand.Rand, leader int, off bool) {
		l.Hosts[leader].Part(l.Hosts[(leader+1)%3], off)
	}},
	{"leader parted from both, not from clients", func(l *netlab.Lab, _ *rand.Rand, leader int, off bool) {
		l.Hosts[leader].Part(l.Hosts[(leader+1)%3], off)
		l.Hosts[leader].Part(l.Hosts[(leader+2)%3], off)
	}},
	{"leader does not reach the others", func(l *netlab.Lab, _ *rand.Rand, leader int, off bool) {
		l.Hosts[leader].Deafen(l.Hosts[(leader+1)%3], off)
		l.Hosts[leader].Deafen(l.Hosts[(leader+2)%3], off)
	}},
	{"leader is not reached by the others", func(l *netlab.Lab, _ *rand.Rand, leader int, off bool) {
		l.Hosts[(leader+1)%3].Deafen(l.Hosts[leader], off)
		l.Hosts[(leader+2)%3].Deafen(l.Hosts[leader], off)
	}},
	{"clients do not reach the leader", func(l *netlab.Lab, _ *rand.Rand, leader int, off bool) { l.Hosts[3].Deafen(l.Hosts[leader], off) }},
	{"leader does not reach clients", func(l *netlab.Lab, _ *rand.Rand, leader int, off bool) { l.Hosts[leader].Deafen(l.Hosts[3], off) }},
	{"leader slow", func(l *netlab.Lab, r *rand.Rand, leader int, off bool) {
		kbit := 0
		if off {
			kbit = 200 + r.IntN(1000)
		}
		l.Hosts[leader].Slow(kbit)
	}},
}

// TestPartitions is TestHistories with servers on hosts of their own, whose wires are cut, also one way.
func TestPartitions(t *testing.T) {
	if *histories == 0 {
		t.Skip("only with -cluster.histories: each takes some ten seconds")
	}
	t.Parallel()
	l := netlab.New(t, 4)
	first := *logSeed
	if first == 0 {
		first = rand.Uint64()
	}
	t.Logf("first seed %d", first)
	th, urls := newThreeOn(t, l)
	var clients []*Cluster
	for i := range 3 {
		clients = append(clients, connect(t, &Remote{URLs: urls, Identity: issue(t, th.ca, identity.Coordinator, fmt.Sprintf("c-%d", i))}))
	}
	if err := clients[0].Prepare(soon(t)); err != nil {
		t.Fatal(err)
	}
	total, ops := 0, 0
	for n := range (*histories + logsPerFault - 1) / logsPerFault {
		seed := first + uint64(n)
		r := rand.New(rand.NewPCG(seed, 4))
		split := splits[r.IntN(len(splits))]
		leader, err := th.leader(soon(t), clients[0])
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		all, err := disturb(clients, r, seed, func() error {
			split.do(l, r, leader, true)
			time.Sleep(time.Duration(1+r.IntN(15)) * time.Second)
			split.do(l, r, leader, false)
			return nil
		})
		if err != nil {
			t.Fatalf("seed %d, %s: %v", seed, split.name, err)
		}
		for _, h := range all {
			total++
			ops += len(h.acts)
		}
		t.Logf("seed %d: %s: %v; so far %d histories, %d operations", seed, split.name, time.Since(began).Round(time.Millisecond), total, ops)
	}
}
