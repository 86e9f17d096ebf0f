package cluster

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/crashfs"
	"github.com/millrace/millrace/internal/identity"
)

var (
	powerLosses = flag.Int("power.losses", 0, "losses of power, of a server that is alone and of three each; 0: a few")
	powerSeed   = flag.Uint64("power.seed", 0, "seed of the first of them; 0: any")
)

// A powered is a server on a disk whose power can be cut.
type powered struct {
	*child
	disk *crashfs.FS
}

// lose has servers lose their power, all in the same moment, and starts them again: what was not synced is not there.
func lose(servers []powered, seed uint64) (l crashfs.Loss, err error) {
	for _, s := range servers {
		s.disk.Cut()
	}
	for i, s := range servers {
		s.kill()
		lost := s.disk.Crash(seed + uint64(i)<<32)
		l.Writes += lost.Writes
		l.Names += lost.Names
	}
	errs := make(chan error, len(servers))
	for _, s := range servers {
		go func() { errs <- s.start() }()
	}
	for range servers {
		if e := <-errs; e != nil {
			err = e
		}
	}
	return l, err
}

// TestPowerLoss has servers lose their power while would-be coordinators work on logs: nothing that was acknowledged is lost, or stands in another order,
// and a server that lost what it need not have kept is no new one.
func TestPowerLoss(t *testing.T) {
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		ca, dir := newAuthority(t)
		node := dir + "/node"
		if _, err := ca.Issue(identity.Coordinator, "s-0", node); err != nil {
			t.Fatal(err)
		}
		p := powered{disk: crashfs.Mount(t, nil)}
		p.child = &child{config: childConfig{Node: node, Listen: Listening{Dir: p.disk.Dir + "/engine", Clients: loopback() + ":4222"}}}
		t.Cleanup(p.kill)
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		losePower(t, ca, []string{"tls://" + p.config.Listen.Clients}, []powered{p})
	})
	t.Run("of three", func(t *testing.T) {
		if *powerLosses == 0 {
			t.Skip("only with -power.losses: it takes half a minute")
		}
		t.Parallel()
		var disks [3]*crashfs.FS
		var dirs [3]string
		for i := range disks {
			disks[i] = crashfs.Mount(t, nil)
			dirs[i] = disks[i].Dir + "/engine"
		}
		th := newThreeIn(t, [3]int{}, dirs)
		var servers []powered
		for i, c := range th.children {
			servers = append(servers, powered{c, disks[i]})
		}
		losePower(t, th.ca, th.urls(), servers)
	})
}

func losePower(t *testing.T, ca *identity.Authority, urls []string, servers []powered) {
	first, count := *powerSeed, *powerLosses
	if first == 0 {
		first = rand.Uint64()
	}
	if count == 0 {
		count = 2
	}
	t.Logf("first seed %d", first)
	var clients []*Cluster
	for i := range 3 {
		clients = append(clients, connect(t, &Remote{URLs: urls, Identity: issue(t, ca, identity.Coordinator, fmt.Sprintf("c-%d", i))}))
	}
	if err := clients[0].Prepare(soon(t)); err != nil {
		t.Fatal(err)
	}
	var old []*history
	ops := 0
	var total crashfs.Loss
	for n := range count {
		seed := first + uint64(n)
		r := rand.New(rand.NewPCG(seed, 2))
		which := servers
		if r.IntN(2) == 0 { // not all of them
			r.Shuffle(len(servers), func(i, j int) { servers[i], servers[j] = servers[j], servers[i] })
			which = servers[:1+r.IntN(len(servers))]
		}
		began := time.Now()
		all, err := disturb(clients, r, seed, func() error {
			l, err := lose(which, seed)
			total.Writes += l.Writes
			total.Names += l.Names
			return err
		})
		if err != nil {
			t.Fatalf("seed %d, %d of %d servers: %v", seed, len(which), len(servers), err)
		}
		if err := clients[0].Check(soon(t)); err != nil {
			t.Fatalf("seed %d, %d of %d servers: %v", seed, len(which), len(servers), err)
		}
		old = append(old, all...)
		for _, h := range all {
			ops += len(h.acts)
		}
		if *powerLosses > 0 {
			t.Logf("seed %d: %d servers: %v; so far %d operations, %d writes and %d names lost", seed, len(which), time.Since(began).Round(time.Millisecond), ops, total.Writes, total.Names)
		}
	}
	// What lies long in the log is there as well.
	for _, h := range old {
		if err := h.check(soon(t), clients[0]); err != nil {
			t.Errorf("log of job %s, in the end: %v\n%s", h.job, err, h)
		}
	}
	t.Logf("%d losses, %d operations on %d logs, %d writes and %d names lost", count, ops, len(old), total.Writes, total.Names)
}
