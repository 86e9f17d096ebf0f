package cluster

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// A Member is what an agent says of its node.
type Member struct {
	Node        string            `json:"node"`        // letters, digits, - and _
	Incarnation uint64            `json:"incarnation"` // larger after each start of the agent
	Version     string            `json:"version"`     // of Millrace
	Slots       int               `json:"slots"`
	Memory      int64             `json:"memory"`              // bytes for all slots
	Labels      map[string]string `json:"labels,omitempty"`    // zone, rack, and what users like
	Data        string            `json:"data,omitempty"`      // the address at which it gives others what they fetch
	Addresses   []string          `json:"addresses,omitempty"` // by which it is known otherwise, and the devices and ring addresses that it serves
	Engines     []string          `json:"engines,omitempty"`
	Layers      []string          `json:"layers,omitempty"` // of the sandbox, in force
	Draining    bool              `json:"draining,omitempty"`
}

// A Change is news of a member.
type Change struct {
	Kind   ChangeKind
	Member Member
	Reason string // of Lost, Refused and Quarantined
}

// A ChangeKind says what changed.
type ChangeKind string

// Changes. A member that starts again is Lost, then Joined.
const (
	Joined      ChangeKind = "joined"
	Left        ChangeKind = "left"        // in good order
	Lost        ChangeKind = "lost"        // its lease has passed, or another incarnation has its place
	Refused     ChangeKind = "refused"     // it runs another version; told once
	Updated     ChangeKind = "updated"     // it says something else of itself, such as that it drains
	Quarantined ChangeKind = "quarantined" // it gets no work
	Released    ChangeKind = "released"    // it gets work again
)

// A Standing is what the leader answers an agent.
type Standing struct {
	Epoch       uint64 `json:"epoch"` // of the leader
	Incarnation uint64 `json:"incarnation"`
	Number      uint64 `json:"number"`                // of the beat that it answers
	Refused     string `json:"refused,omitempty"`     // why the agent is no member
	Quarantined string `json:"quarantined,omitempty"` // why it gets no work
	// Alone is true when no leader was heard of for half a lease: what the agent works on may be given to others soon. It is never sent.
	Alone bool `json:"-"`
}

// A beat is a member as it is sent, on the subject of its node.
type beat struct {
	Member
	Number  uint64 `json:"number"` // grows
	Leaving bool   `json:"leaving,omitempty"`
	// Quarantined is what the last leader said, for the next one to know.
	Quarantined string `json:"quarantined,omitempty"`
}

// What a member may say of itself at most.
const (
	maxBeat  = 16 << 10 // bytes
	maxItems = 256      // labels, addresses and the like together
	maxItem  = 256      // bytes of one
)

// check says what is wrong with what a node says of itself.
func (m *Member) check() error {
	texts := append([]string{m.Version, m.Data}, m.Addresses...)
	texts = append(append(texts, m.Engines...), m.Layers...)
	for k, v := range m.Labels {
		texts = append(texts, k, v)
	}
	switch {
	case !plain(m.Node) || len(m.Node) > 63:
		return fmt.Errorf("node name %.70q: want at most 63 letters, digits, - and _", m.Node)
	case m.Incarnation == 0:
		return fmt.Errorf("node %s: no incarnation", m.Node)
	case m.Version == "":
		return fmt.Errorf("node %s: no version", m.Node)
	case m.Slots < 0 || m.Slots > 1<<16 || m.Memory < 0:
		return fmt.Errorf("node %s: %d slots, %d bytes", m.Node, m.Slots, m.Memory)
	case len(texts) > maxItems:
		return fmt.Errorf("node %s: %d labels, addresses and the like, more than %d", m.Node, len(texts), maxItems)
	}
	for _, s := range texts {
		if len(s) > maxItem || strings.ContainsFunc(s, unicode.IsControl) {
			return fmt.Errorf("node %s: %.40q is too long, or has control characters", m.Node, s)
		}
	}
	return nil
}

// Times of membership.
const (
	// MemberLease is how long a silent agent stays a member. It stops its own work at half of it.
	MemberLease = 15 * time.Second
	beatEvery   = MemberLease / 10
)
