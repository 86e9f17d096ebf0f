package job

// A Group is one of the programs of a job that has several, run by so many members. Groups into which no Channel leads map the input;
// those from which none leads write the output, a part for each member.
type Group struct {
	Program Program           `json:"program"`
	Params  map[string]string `json:"params,omitempty"`
	Members int               `json:"members,omitempty"` // 0 means 1
	Limits  Limits            `json:"limits,omitzero"`   // of one object in a group that maps, else of the whole run of a member
	OKExit  []int             `json:"ok_exit,omitempty"` // exit codes that mean success; empty means 0
}

// Size returns the number of members.
func (g Group) Size() int { return max(g.Members, 1) }

// A Channel carries what the members of one group write, at /dev/out/NAME, to those of another, who read it at /dev/in/NAME.
type Channel struct {
	From   string        `json:"from"`
	To     string        `json:"to"`
	Limits ChannelLimits `json:"limits,omitzero"`
}

// ChannelLimits bound what one run of a program does with one channel: reads it, or writes it. 0 means no limit.
type ChannelLimits struct {
	Bytes int64 `json:"bytes,omitempty"`
	Calls int64 `json:"calls,omitempty"`
}

// A Traffic says by channel what went through it.
type Traffic map[string]Passage

// A Passage is what went through one channel. Calls are as in Counters. What is written and not read was left by readers that ended before.
type Passage struct {
	WriteBytes int64 `json:"write_bytes"` // that left their writer
	Writes     int64 `json:"writes"`
	ReadBytes  int64 `json:"read_bytes"`
	Reads      int64 `json:"reads"`
}

// Plus returns t with what more says added, sign times. It may change t.
func (t Traffic) Plus(more Traffic, sign int64) Traffic {
	if t == nil && len(more) > 0 {
		t = make(Traffic)
	}
	for name, m := range more {
		p := t[name]
		p.WriteBytes += sign * m.WriteBytes
		p.Writes += sign * m.Writes
		p.ReadBytes += sign * m.ReadBytes
		p.Reads += sign * m.Reads
		t[name] = p
	}
	return t
}

// Maps reports whether the group of that name maps the input.
func (s *Spec) Maps(group string) bool {
	for _, c := range s.Channels {
		if c.To == group {
			return false
		}
	}
	return true
}

// Writes reports whether the group of that name writes the output.
func (s *Spec) Writes(group string) bool {
	for _, c := range s.Channels {
		if c.From == group {
			return false
		}
	}
	return true
}
