package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// A Present is a member as a View knows it.
type Present struct {
	Member
	Quarantined string // why it gets no work; "": it gets some, unless it drains
}

// A View is one coordinator's knowledge of the members of the cluster. Its methods may be called concurrently.
type View struct {
	bus     bus
	changed func(Change)
	stop    func()
	done    chan struct{}
	over    chan struct{}
	once    sync.Once

	mu    sync.Mutex
	roll  *roll
	epoch uint64
}

// A bus carries news. A Cluster is one.
type bus interface {
	publish(ctx context.Context, prefix, subject string, news []byte) error
	subscribe(ctx context.Context, prefix, subject string, h func(ctx context.Context, subject string, news []byte)) (stop func(), err error)
}

// Watch begins to listen for members, which must run the same version of Millrace. Changed, if not nil, is told what changes, one at a time; it must not wait
// for the View. The caller closes the View. Before Lead it listens only, so that who takes over knows the members already.
func (c *Cluster) Watch(ctx context.Context, version string, changed func(Change)) (*View, error) {
	return watch(ctx, c, version, changed)
}

func watch(ctx context.Context, b bus, version string, changed func(Change)) (*View, error) {
	if changed == nil {
		changed = func(Change) {}
	}
	v := &View{bus: b, changed: changed, roll: newRoll(version, MemberLease), done: make(chan struct{}), over: make(chan struct{})}
	stop, err := b.subscribe(ctx, memberPrefix, "*", v.hear)
	if err != nil {
		return nil, err
	}
	v.stop = stop
	go v.run(ctx)
	return v, nil
}

func (v *View) run(ctx context.Context) {
	defer close(v.done)
	t := time.NewTicker(beatEvery / 2)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.over:
			return
		case <-t.C:
		}
		v.mu.Lock()
		v.tell(v.roll.tick(time.Now()))
		v.mu.Unlock()
	}
}

// tell is called under mu, so that changes are told in order.
func (v *View) tell(changes []Change) {
	for _, c := range changes {
		v.changed(c)
	}
}

// hear takes a beat. What is none, or not of the node that may speak there, is dropped: it says nothing of anybody.
func (v *View) hear(ctx context.Context, subject string, news []byte) {
	var b beat
	if len(news) > maxBeat || json.Unmarshal(news, &b) != nil || b.Node != subject || b.check() != nil || len(b.Quarantined) > maxItem {
		return
	}
	v.mu.Lock()
	s, answer, changes := v.roll.hear(time.Now(), &b, v.epoch == 0)
	v.tell(changes)
	s.Epoch = v.epoch
	v.mu.Unlock()
	if !answer || s.Epoch == 0 {
		return
	}
	if j, err := json.Marshal(s); err == nil {
		_ = v.bus.publish(WithEpoch(ctx, s.Epoch), standingPrefix, b.Node, j) // the next beat is answered too
	}
}

// Lead has the View answer the members, as the leader of epoch; 0: no longer.
func (v *View) Lead(epoch uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.epoch = epoch
}

// Members returns who is a member, by name.
func (v *View) Members() []Present {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.roll.members()
}

// Member returns what is known of one member; false if the node is none.
func (v *View) Member(node string) (Present, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.roll.nodes[node]
	if p == nil || !p.present {
		return Present{}, false
	}
	return Present{Member: p.member, Quarantined: p.quarantined}, true
}

// Quarantine keeps work from a node, for a reason that people read, until Release. The node's agent is told, and tells the next leader.
func (v *View) Quarantine(node, reason string) error {
	if reason == "" || len(reason) > maxItem {
		return fmt.Errorf("quarantine of %s: want a reason of at most %d bytes", node, maxItem)
	}
	return v.quarantine(node, reason)
}

// Release ends the quarantine of a node.
func (v *View) Release(node string) error { return v.quarantine(node, "") }

func (v *View) quarantine(node, reason string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.roll.nodes[node] == nil {
		return fmt.Errorf("node %s is no member, and was none of late", node)
	}
	v.tell(v.roll.quarantine(node, reason))
	return nil
}

// Close ends the View. A second Close does nothing.
func (v *View) Close() {
	v.once.Do(func() { close(v.over); v.stop() })
	<-v.done
}
