package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"time"
)

// A disturbance is a fault of a site that has happened, until it is healed.
type disturbance struct {
	name string
	of   []*machine // of which nothing else is to be disturbed meanwhile
	heal func() error
	till time.Time
}

// disturbances are the kinds of faults, each with what it does to two machines of a site.
var disturbances = []struct {
	name string
	// among returns the machines of which two are chosen.
	among func(s *site) (a, b []*machine)
	long  time.Duration // at most
	do    func(r *rand.Rand, a, b *machine) (heal func() error)
}{
	{"agent killed", agentsOnly, 5 * time.Second, killed},
	{"agent killed", agentsOnly, 25 * time.Second, killed},
	{"server killed", serversOnly, 5 * time.Second, killed},
	{"agent stopped", agentsOnly, 5 * time.Second, stopped},
	{"agent stopped for longer than its lease", agentsOnly, 40 * time.Second, stopped},
	{"server stopped", serversOnly, 12 * time.Second, stopped},
	{"agent unplugged", agentsOnly, 25 * time.Second, unplugged},
	{"server unplugged", serversOnly, 15 * time.Second, unplugged},
	{"agents parted", agentsOnly, 20 * time.Second, parted},
	{"servers parted", serversOnly, 15 * time.Second, parted},
	{"agent and server parted", both, 20 * time.Second, parted},
	{"agent does not reach server", both, 15 * time.Second, deafened},
	{"server does not reach agent", func(s *site) (a, b []*machine) { return s.servers, s.agents }, 15 * time.Second, deafened},
	{"agent does not reach agent", agentsOnly, 15 * time.Second, deafened},
	{"agent slow", agentsOnly, 10 * time.Second, slowed},
	{"server slow", serversOnly, 10 * time.Second, slowed},
	{"disk of agent full", agentsOnly, 6 * time.Second, filled},
}

func agentsOnly(s *site) (a, b []*machine)  { return s.agents, s.agents }
func serversOnly(s *site) (a, b []*machine) { return s.servers, s.servers }
func both(s *site) (a, b []*machine)        { return s.agents, s.servers }

func killed(_ *rand.Rand, a, _ *machine) func() error {
	a.kill()
	return a.start
}

func stopped(_ *rand.Rand, a, _ *machine) func() error {
	a.signal(syscall.SIGSTOP)
	return func() error { a.signal(syscall.SIGCONT); return nil }
}

func unplugged(_ *rand.Rand, a, _ *machine) func() error {
	a.host.Unplug(true)
	return func() error { a.host.Unplug(false); return nil }
}

func parted(_ *rand.Rand, a, b *machine) func() error {
	a.host.Part(b.host, true)
	return func() error { a.host.Part(b.host, false); return nil }
}

func deafened(_ *rand.Rand, a, b *machine) func() error {
	a.host.Deafen(b.host, true)
	return func() error { a.host.Deafen(b.host, false); return nil }
}

func slowed(r *rand.Rand, a, _ *machine) func() error {
	a.host.Slow(200 + r.IntN(3000))
	return func() error { a.host.Slow(0); return nil }
}

// filled leaves no byte on the disk where an agent puts records.
func filled(_ *rand.Rand, a, _ *machine) func() error {
	ballast := filepath.Join(a.Dir, "tmp", "ballast")
	_ = a.host.Command(context.Background(), "dd", "if=/dev/zero", "of="+ballast, "bs=1M").Run() // it fails when the disk is full
	return func() error { return a.host.Command(context.Background(), "rm", "-f", ballast).Run() }
}

// disturb has a fault happen to machines that have none; nil: there are too few.
func (s *site) disturb(r *rand.Rand, now []*disturbance) *disturbance {
	free := func(ms []*machine) (out []*machine) {
		for _, m := range ms {
			busy := false
			for _, d := range now {
				for _, x := range d.of {
					busy = busy || x == m
				}
			}
			if !busy {
				out = append(out, m)
			}
		}
		return out
	}
	k := disturbances[r.IntN(len(disturbances))]
	as, bs := k.among(s)
	as, bs = free(as), free(bs)
	if len(as) < 2 || len(bs) < 2 {
		return nil
	}
	a, b := as[r.IntN(len(as))], bs[r.IntN(len(bs))]
	for a == b {
		b = bs[r.IntN(len(bs))]
	}
	long := time.Duration(r.Int64N(int64(k.long)))
	d := &disturbance{name: fmt.Sprintf("%s (%s, %s, %v)", k.name, a.Name, b.Name, long.Round(time.Millisecond)), of: []*machine{a, b}, till: time.Now().Add(long)}
	d.heal = k.do(r, a, b)
	return d
}
