package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/identity"
)

// An air carries news at once, unless it is cut.
type air struct {
	mu   sync.Mutex
	hear map[string]func(context.Context, string, []byte) // by prefix and subject
	cut  map[string]bool                                  // prefixes that nothing comes through
}

func newAir() *air {
	return &air{hear: map[string]func(context.Context, string, []byte){}, cut: map[string]bool{}}
}

func (a *air) publish(ctx context.Context, prefix, subject string, news []byte) error {
	a.mu.Lock()
	var to []func(context.Context, string, []byte)
	for key, h := range a.hear {
		if p, s, _ := strings.Cut(key, " "); p == prefix && (strings.TrimRight(s, "*") == subject || s[0] == '*') && !a.cut[prefix] {
			to = append(to, h)
		}
	}
	a.mu.Unlock()
	for _, h := range to {
		h(ctx, subject, news)
	}
	return nil
}

func (a *air) subscribe(_ context.Context, prefix, subject string, h func(context.Context, string, []byte)) (func(), error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := fmt.Sprintf("%s %s", prefix, subject)
	for a.hear[key] != nil {
		key += "*" // of a second View
	}
	a.hear[key] = h
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.hear, key)
	}, nil
}

func (a *air) set(prefix string, cut bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cut[prefix] = cut
}

// A diary is what was told, in short words.
type diary struct {
	mu    sync.Mutex
	words []string
}

func (d *diary) change(c Change) {
	d.add(strings.TrimSpace(fmt.Sprintf("%s %s.%d %s", c.Kind, c.Member.Node, c.Member.Incarnation, c.Reason)))
}

func (d *diary) standing(s Standing) {
	d.add(fmt.Sprintf("epoch %d alone %v refused %q quarantined %q", s.Epoch, s.Alone, s.Refused, s.Quarantined))
}

func (d *diary) add(s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.words = append(d.words, s)
}

// take returns what was added since the last time.
func (d *diary) take() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := strings.Join(d.words, "; ")
	d.words = nil
	return s
}

func node(name string, incarnation uint64) Member {
	return Member{Node: name, Incarnation: incarnation, Version: "v1", Slots: 2, Labels: map[string]string{"zone": "a"}}
}

// A town is one View, which leads epoch 1, and the air around it.
type town struct {
	*air
	view *View
	diary
}

func newTown(t *testing.T) *town {
	to := &town{air: newAir()}
	var err error
	if to.view, err = watch(t.Context(), to.air, "v1", to.change); err != nil {
		t.Fatal(err)
	}
	to.view.Lead(1)
	return to
}

func (to *town) agent(t *testing.T, m Member) (*Announcer, *diary) {
	t.Helper()
	d := &diary{}
	a, err := announce(t.Context(), to.air, m, d.standing)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return a, d
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

const well = `epoch 1 alone false refused "" quarantined ""`

func TestMembersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := newTown(t)
		one, d := to.agent(t, node("n-1", 7))
		two, _ := to.agent(t, node("n-2", 7))
		time.Sleep(time.Hour)
		same(t, "view", to.take(), "joined n-1.7; joined n-2.7")
		same(t, "agent", d.take(), well)
		one.Drain(true)
		synctest.Wait()
		same(t, "view after Drain", to.take(), "updated n-1.7")
		if all := to.view.Members(); len(all) != 2 || !all[0].Draining || all[1].Draining || all[0].Labels["zone"] != "a" {
			t.Errorf("members %+v", all)
		}
		one.Leave(t.Context())
		one.Leave(t.Context())
		same(t, "view after Leave", to.take(), "left n-1.7")
		two.Leave(t.Context())
		to.view.Close()
		to.view.Close()
	})
}

func TestSilentMembersAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := newTown(t)
		a, d := to.agent(t, node("n-1", 7))
		time.Sleep(time.Minute)
		to.take()
		d.take()
		for _, way := range []string{memberPrefix, standingPrefix} { // one way is enough to be alone
			to.set(way, true)
			time.Sleep(MemberLease / 2)
			synctest.Wait()
			same(t, "agent without "+way, d.take(), `epoch 1 alone true refused "" quarantined ""`)
			same(t, "view at half the lease without "+way, to.take(), "")
			time.Sleep(MemberLease)
			if way == memberPrefix {
				if got := to.take(); !strings.HasPrefix(got, "lost n-1.7 silent for 1") {
					t.Errorf("view without beats: %s", got)
				}
			}
			same(t, "agent later", d.take(), "")
			to.set(way, false)
			time.Sleep(3 * beatEvery)
			same(t, "agent with contact again", d.take(), well)
			if way == memberPrefix {
				same(t, "view with beats again", to.take(), "joined n-1.7")
			}
		}
		a.Leave(t.Context())
		to.view.Close()
	})
}

func TestStoppedViewBlamesNobody(t *testing.T) {
	r := newRoll("v1", MemberLease)
	now := time.Now()
	r.hear(now, &beat{Member: node("n-1", 7), Number: 1}, false)
	r.tick(now)
	now = now.Add(time.Hour) // the machine slept
	if changes := r.tick(now); len(changes) > 0 {
		t.Errorf("after an hour in which nobody looked: %v", changes)
	}
	for range 100 {
		now = now.Add(MemberLease / 8)
		if changes := r.tick(now); len(changes) > 0 {
			same(t, "when it stays silent", fmt.Sprint(changes[0].Kind, len(changes)), "lost1")
			return
		}
	}
	t.Error("a silent node is never lost")
}

func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := newTown(t)
		other := node("n-1", 7)
		other.Version = "v2"
		a, d := to.agent(t, other)
		time.Sleep(time.Minute)
		const skew = "node n-1 runs Millrace v2, the coordinator v1"
		same(t, "view", to.take(), "refused n-1.7 "+skew)
		same(t, "agent", d.take(), fmt.Sprintf(`epoch 1 alone false refused %q quarantined ""`, skew))
		if all := to.view.Members(); len(all) > 0 {
			t.Errorf("members %v", all)
		}
		// A new incarnation takes the place; the old one is told.
		b, d2 := to.agent(t, node("n-1", 8))
		time.Sleep(time.Minute)
		same(t, "view", to.take(), "joined n-1.8")
		if got := d2.words; !slices.Contains(got, well) {
			t.Errorf("the later agent hears %q", got)
		}
		same(t, "earlier agent", d.take(), `epoch 1 alone false refused "node n-1 has a later agent, of incarnation 8: this one's is 7" quarantined ""`)
		c, _ := to.agent(t, node("n-1", 9))
		synctest.Wait()
		same(t, "view", to.take(), "lost n-1.8 incarnation 9 has its place; joined n-1.9")
		for _, x := range []*Announcer{a, b, c} {
			x.Leave(t.Context())
		}
		same(t, "view", to.take(), "left n-1.9")
		to.view.Close()
	})
}

func TestQuarantineOutlivesItsLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := newTown(t)
		a, d := to.agent(t, node("n-1", 7))
		if err := to.view.Quarantine("n-2", "flaky"); err == nil {
			t.Error("quarantine of a node that is none")
		}
		if err := to.view.Quarantine("n-1", ""); err == nil {
			t.Error("quarantine without a reason")
		}
		if err := to.view.Quarantine("n-1", "flaky"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * beatEvery)
		same(t, "view", to.take(), "joined n-1.7; quarantined n-1.7 flaky")
		same(t, "agent", d.take(), well+`; epoch 1 alone false refused "" quarantined "flaky"`)
		var later diary
		next, err := watch(t.Context(), to.air, "v1", later.change)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * beatEvery)
		same(t, "a view that stands by", later.take(), "joined n-1.7; quarantined n-1.7 flaky")
		to.view.Lead(0)
		next.Lead(2)
		time.Sleep(3 * beatEvery)
		same(t, "agent", d.take(), `epoch 2 alone false refused "" quarantined "flaky"`)
		to.view.Lead(1) // an old leader that does not know: it is not listened to
		time.Sleep(3 * beatEvery)
		same(t, "agent", d.take(), "")
		to.view.Lead(0)
		if err := next.Release("n-1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * beatEvery)
		same(t, "view", later.take(), "released n-1.7")
		same(t, "agent", d.take(), `epoch 2 alone false refused "" quarantined ""`)
		same(t, "view that stood by", to.take(), "released n-1.7")
		a.Leave(t.Context())
		next.Close()
		to.view.Close()
	})
}

func TestBadBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := newTown(t)
		for _, s := range []string{
			"", "{", `{"node":"n-2","incarnation":1,"version":"v1","number":1}`, // n-1 may not speak for n-2
			`{"node":"n-1","incarnation":0,"version":"v1","number":1}`,
			`{"node":"n-1","incarnation":1,"version":"","number":1}`,
			`{"node":"n-1","incarnation":1,"version":"v1","number":1,"slots":-1}`,
			`{"node":"n-1","incarnation":1,"version":"v1\n","number":1}`,
			`{"node":"n-1","incarnation":1,"version":"v1","number":1,"labels":{"x":"` + strings.Repeat("y", 300) + `"}}`,
			`{"node":"n-1","incarnation":1,"version":"v1","number":1,"engines":[` + strings.Repeat(`"",`, 300) + `""]}`,
			`{"node":"n-1","incarnation":1,"version":"v1","number":1,"x":"` + strings.Repeat("y", maxBeat) + `"}`,
		} {
			to.publish(t.Context(), memberPrefix, "n-1", []byte(s))
		}
		same(t, "view", to.take(), "")
		to.publish(t.Context(), memberPrefix, "n-1", []byte(`{"node":"n-1","incarnation":1,"version":"v1","number":1}`))
		same(t, "view", to.take(), "joined n-1.1")
		to.view.Close()
	})
	if _, err := announce(t.Context(), newAir(), Member{Node: "a.b", Incarnation: 1, Version: "v1"}, nil); err == nil {
		t.Error("a node with a dot in its name is announced")
	}
}

// TestMembership has an agent join over a real server.
func TestMembership(t *testing.T) {
	t.Parallel()
	ca, s := alone(t)
	coordinator := connect(t, &Remote{URLs: []string{s.URL()}, Identity: issue(t, ca, identity.Coordinator, "c-1")})
	agent := connect(t, &Remote{URLs: []string{s.URL()}, Identity: issue(t, ca, identity.Agent, "n-1")})
	changes := make(chan Change, 10)
	v, err := coordinator.Watch(soon(t), "v1", func(c Change) { changes <- c })
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	v.Lead(3)
	standings := make(chan Standing, 10)
	a, err := agent.Announce(soon(t), node("n-1", 7), func(s Standing) { standings <- s })
	if err != nil {
		t.Fatal(err)
	}
	if c := <-changes; c.Kind != Joined || c.Member.Node != "n-1" || c.Member.Slots != 2 {
		t.Errorf("got %+v, want that n-1 joined", c)
	}
	if s := <-standings; s.Epoch != 3 || s.Refused != "" || a.Standing().Epoch != 3 {
		t.Errorf("got %+v, want to be a member in epoch 3", s)
	}
	a.Leave(soon(t))
	if c := <-changes; c.Kind != Left {
		t.Errorf("got %+v, want that n-1 left", c)
	}
}
