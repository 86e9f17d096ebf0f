package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"time"
)

// An Announcer keeps an agent a member of its cluster. Its methods may be called concurrently.
type Announcer struct {
	bus  bus
	told func(Standing)
	stop func()
	over chan struct{}
	done chan struct{}
	poke chan struct{} // there is something new to say
	once sync.Once

	mu       sync.Mutex
	member   Member
	number   uint64               // of the last beat
	sent     map[uint64]time.Time // when beats that may still be answered were sent
	contact  time.Time            // when the latest beat was sent that the leader answered
	standing Standing
}

// Announce begins to say that the node is there, until Leave. Each Announce needs a larger incarnation than those before it. Told, if not nil, hears each change of how it stands, Alone first if no leader answers within half a
// lease; it must not wait for the Announcer.
func (c *Cluster) Announce(ctx context.Context, m Member, told func(Standing)) (*Announcer, error) {
	return announce(ctx, c, m, told)
}

func announce(ctx context.Context, b bus, m Member, told func(Standing)) (*Announcer, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if told == nil {
		told = func(Standing) {}
	}
	a := &Announcer{bus: b, told: told, member: m, over: make(chan struct{}), done: make(chan struct{}), poke: make(chan struct{}, 1),
		sent: map[uint64]time.Time{}, contact: time.Now()}
	if len(a.encode(false)) > maxBeat {
		return nil, fmt.Errorf("node %s says more than %d bytes of itself", m.Node, maxBeat)
	}
	stop, err := b.subscribe(ctx, standingPrefix, m.Node, a.hear)
	if err != nil {
		return nil, err
	}
	a.stop = stop
	go a.run(ctx)
	return a, nil
}

func (a *Announcer) run(ctx context.Context) {
	defer close(a.done)
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		t.Reset(a.beat(ctx, false))
		select {
		case <-ctx.Done():
			return
		case <-a.over:
			return
		case <-t.C:
		case <-a.poke:
		}
	}
}

// beat says that the node is there, and notices that nobody answers. It returns when to do so again.
func (a *Announcer) beat(ctx context.Context, leaving bool) time.Duration {
	a.mu.Lock()
	now := time.Now()
	a.number++
	a.sent[a.number] = now
	for n, at := range a.sent {
		if now.Sub(at) > MemberLease {
			delete(a.sent, n)
		}
	}
	wait := beatEvery
	if left := MemberLease/2 - now.Sub(a.contact); left > 0 {
		wait = min(wait, left)
	} else {
		s := a.standing
		s.Alone = true
		a.set(s)
	}
	b := a.encode(leaving)
	a.mu.Unlock()
	_ = a.bus.publish(ctx, memberPrefix, a.member.Node, b) // lost beats are missed by the answers that do not come
	return wait
}

// encode returns the beat. mu is held, or nobody else knows a.
func (a *Announcer) encode(leaving bool) []byte {
	b, err := json.Marshal(beat{Member: a.member, Number: a.number, Leaving: leaving, Quarantined: a.standing.Quarantined})
	if err != nil {
		panic(err) // a beat is strings and numbers
	}
	return b
}

// hear takes an answer. Those of earlier leaders, to earlier agents, and to beats of long ago say nothing.
func (a *Announcer) hear(_ context.Context, _ string, news []byte) {
	var s Standing
	if len(news) > maxBeat || json.Unmarshal(news, &s) != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	at, known := a.sent[s.Number]
	if s.Incarnation != a.member.Incarnation || s.Epoch < a.standing.Epoch || s.Number < a.standing.Number && s.Epoch == a.standing.Epoch || !known {
		return
	}
	if at.After(a.contact) {
		a.contact = at // and not now: the leader counts from then at the earliest
	}
	s.Alone = time.Since(a.contact) >= MemberLease/2
	a.set(s)
}

// set takes a standing, and tells it if it says something else. mu is held.
func (a *Announcer) set(s Standing) {
	was := a.standing
	a.standing = s
	was.Number = s.Number
	if was.Incarnation == 0 && !s.Alone || !reflect.DeepEqual(was, s) {
		a.told(s)
	}
}

// Standing returns how the node stands; its epoch is 0 if no leader has answered yet.
func (a *Announcer) Standing() Standing {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.standing
}

// Drain says that the node wants no more work, or that it does again.
func (a *Announcer) Drain(draining bool) {
	a.mu.Lock()
	a.member.Draining = draining
	a.mu.Unlock()
	select {
	case a.poke <- struct{}{}:
	default:
	}
}

// Leave ends the membership: the others need not wait for the lease. A second Leave does nothing.
func (a *Announcer) Leave(ctx context.Context) {
	a.once.Do(func() {
		close(a.over)
		<-a.done
		a.beat(ctx, true)
		a.stop()
	})
}
