package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"
)

// A roll says who is a member. It is a plain state machine: it is told what was heard and what time it is, and says what changed.
type roll struct {
	version string // of the coordinator
	lease   time.Duration
	nodes   map[string]*place
	ticked  time.Time
}

// A place is what is known of a node; it stays while the node is a member, in quarantine, or was refused a moment ago.
type place struct {
	member      Member
	present     bool
	refused     string
	quarantined string
	heard       time.Time
	number      uint64 // of the last beat of this incarnation
}

func newRoll(version string, lease time.Duration) *roll {
	return &roll{version: version, lease: lease, nodes: map[string]*place{}}
}

// hear takes a beat, and says how the node stands. answer is false if the beat is an old one, which says nothing. Who does not lead
// follows what the leader said of quarantine.
func (r *roll) hear(now time.Time, b *beat, follow bool) (s Standing, answer bool, changes []Change) {
	p := r.nodes[b.Node]
	if p == nil {
		p = &place{}
		r.nodes[b.Node] = p
	}
	s = Standing{Incarnation: b.Incarnation, Number: b.Number}
	switch {
	case b.Incarnation < p.member.Incarnation:
		s.Refused = fmt.Sprintf("node %s has a later agent, of incarnation %d: this one's is %d", b.Node, p.member.Incarnation, b.Incarnation)
		return s, true, nil
	case b.Incarnation > p.member.Incarnation:
		if p.present {
			changes = append(changes, Change{Kind: Lost, Member: p.member, Reason: fmt.Sprintf("incarnation %d has its place", b.Incarnation)})
		}
		p.present, p.refused, p.number = false, "", 0
	case b.Number <= p.number:
		return s, false, nil
	}
	before := p.member
	p.member, p.number, p.heard = b.Member, b.Number, now
	switch {
	case b.Leaving:
		if p.present {
			changes = append(changes, Change{Kind: Left, Member: p.member})
		}
		p.present = false
		return s, true, changes
	case b.Version != r.version:
		s.Refused = fmt.Sprintf("node %s runs Millrace %s, the coordinator %s", b.Node, b.Version, r.version)
		if p.refused != s.Refused {
			changes = append(changes, Change{Kind: Refused, Member: p.member, Reason: s.Refused})
		}
		p.refused = s.Refused
		return s, true, changes
	case !p.present:
		changes = append(changes, Change{Kind: Joined, Member: p.member})
		p.present, p.refused = true, ""
	case !reflect.DeepEqual(before, p.member):
		changes = append(changes, Change{Kind: Updated, Member: p.member})
	}
	if follow || before.Incarnation == 0 { // another leader said so, or an earlier one
		changes = append(changes, r.quarantine(b.Node, b.Quarantined)...)
	}
	s.Quarantined = p.quarantined
	return s, true, changes
}

// tick says whose lease has passed. For the time in which this process did not run itself, nobody else is to blame.
func (r *roll) tick(now time.Time) (changes []Change) {
	if gap := now.Sub(r.ticked); !r.ticked.IsZero() && gap > r.lease/4 {
		for _, p := range r.nodes {
			p.heard = p.heard.Add(gap)
		}
	}
	r.ticked = now
	for _, name := range slices.Sorted(maps.Keys(r.nodes)) {
		p := r.nodes[name]
		silent := now.Sub(p.heard)
		switch {
		case silent < r.lease:
		case p.present:
			p.present = false
			changes = append(changes, Change{Kind: Lost, Member: p.member, Reason: fmt.Sprintf("silent for %v", silent.Round(time.Millisecond))})
		case p.quarantined == "" && silent > 10*r.lease: // until then its old beats are known for what they are
			delete(r.nodes, name)
		}
	}
	return changes
}

// quarantine keeps work from a node, whoever runs there, until reason is "" again.
func (r *roll) quarantine(node, reason string) []Change {
	p := r.nodes[node]
	if p == nil || p.quarantined == reason {
		return nil
	}
	p.quarantined = reason
	if reason == "" {
		return []Change{{Kind: Released, Member: p.member}}
	}
	return []Change{{Kind: Quarantined, Member: p.member, Reason: reason}}
}

// members returns who is present, by name.
func (r *roll) members() (all []Present) {
	for _, p := range r.nodes {
		if p.present {
			all = append(all, Present{Member: p.member, Quarantined: p.quarantined})
		}
	}
	slices.SortFunc(all, func(a, b Present) int { return cmp.Compare(a.Node, b.Node) })
	return all
}
