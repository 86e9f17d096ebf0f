package jobfile

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/millrace/millrace/job"
)

// Bounds of groups and channels. Each member is a process, and each pair of members that a channel joins a pair of sockets.
const (
	maxMembers  = 64
	maxChannels = 64
	maxPairs    = 1024
)

func (p *parser) group(to *job.Group) setter {
	return p.fields(map[string]setter{
		"program": p.program(&to.Program),
		"params":  p.params(&to.Params),
		"members": number(p, &to.Members),
		"limits":  p.limits(&to.Limits),
		"ok_exit": list(p, &to.OKExit, func(to *int) setter { return number(p, to) }),
	})
}

func (p *parser) channel(to *job.Channel) setter {
	return p.fields(map[string]setter{
		"from": p.text(&to.From),
		"to":   p.text(&to.To),
		"limits": p.fields(map[string]setter{
			"bytes": p.size(&to.Limits.Bytes),
			"calls": number(p, &to.Limits.Calls),
		}),
	})
}

// named reads a mapping whose keys are the user's.
func named[T any](p *parser, to *map[string]T, item func(*T) setter) setter {
	return func(n *yaml.Node, path string) error {
		*to = map[string]T{}
		return p.pairs(n, path, func(key, value *yaml.Node) error {
			field := path + "." + key.Value
			p.at[field] = key
			var v T
			err := item(&v)(value, field)
			(*to)[key.Value] = v
			return err
		})
	}
}

// checkGroups checks that groups and channels are a graph that can run.
func checkGroups(s *job.Spec) error {
	if len(s.Groups) == 0 {
		if len(s.Channels) > 0 {
			return wrong("channels", "there are no groups to join")
		}
		return nil
	}
	if err := checkAlone(s); err != nil {
		return err
	}
	members := 0
	for _, name := range slices.Sorted(maps.Keys(s.Groups)) {
		g := s.Groups[name]
		if err := checkGroup("groups."+name, name, &g); err != nil {
			return err
		}
		if g.Limits.Records != 0 && !s.Maps(name) {
			return wrong("groups."+name+".limits.records", "of a group that does not map, output says how much it prints")
		}
		if members += g.Size(); members > maxMembers {
			return wrong("groups."+name, "more than %d members in all groups", maxMembers)
		}
	}
	if len(s.Channels) > maxChannels {
		return wrong("channels", "%d are more than %d", len(s.Channels), maxChannels)
	}
	pairs := 0
	for _, name := range slices.Sorted(maps.Keys(s.Channels)) {
		c := s.Channels[name]
		if err := checkChannel(s, "channels."+name, name, &c); err != nil {
			return err
		}
		if pairs += s.Groups[c.From].Size() * s.Groups[c.To].Size(); pairs > maxPairs {
			return wrong("channels."+name, "channels join more than %d pairs of members", maxPairs)
		}
	}
	return checkCycles(s)
}

// checkAlone refuses what is said of a job's only program where there are groups.
func checkAlone(s *job.Spec) error {
	for _, f := range []struct {
		name  string
		given bool
		why   string
	}{
		{"program", s.Program.Path != "" || s.Program.Name != "", "each group has its own"},
		{"params", len(s.Params) > 0, "each group has its own"},
		{"limits", s.Limits != job.Limits{}, "each group has its own"},
		{"ok_exit", len(s.OKExit) > 0, "each group has its own"},
		{"reducer", s.Reducer != "", "groups reduce by programs"},
		{"reducers", s.Reducers != 0, "say how many members a group has"},
		{"partition", s.Partition != "", "a channel spreads lines by a hash of their key"},
		{"format", s.Format != "" && s.Format != job.Text, "the output of groups is what they print"},
		{"isolation", s.Isolation == job.IsolateSplit, "each object has a fresh instance where there are groups"},
		{"deterministic", s.Deterministic != "", "what passes channels is not compared"},
		{"slots", s.Slots != 0, "all members run at once"},
		{"limit", s.Limit != 0, "what groups print is shown when all have ended"},
	} {
		if f.given {
			return wrong(f.name, "%s", f.why)
		}
	}
	return nil
}

func checkGroup(field, name string, g *job.Group) error {
	switch {
	case !isName(name):
		return wrong(field, "%.50q: %s", name, namesAre)
	case g.Members < 0 || g.Members > maxMembers:
		return wrong(field+".members", "%d is not between 1 and %d", g.Members, maxMembers)
	case g.Program.Engine == job.Builtin:
		return wrong(field+".program", "a builtin knows no channels")
	case g.Program.Engine != "" && g.Program.Engine != job.Wasm && g.Program.Engine != job.Native:
		return wrong(field+".program.engine", "%q is none of wasm, native", g.Program.Engine)
	case g.Program.Path == "":
		return wrong(field, "no program given")
	case g.Limits.Shuffle != 0:
		return wrong(field+".limits.shuffle", "groups do not sort")
	case g.Limits.Spill != 0:
		return wrong(field+".limits.spill", "groups do not sort")
	}
	return first(
		func() error { return checkParams(field+".params", g.Params) },
		func() error { return checkLimits(field+".limits", &g.Limits) },
		func() error { return checkExits(field+".ok_exit", g.OKExit) },
	)
}

func checkChannel(s *job.Spec, field, name string, c *job.Channel) error {
	if !isName(name) {
		return wrong(field, "%.50q: %s", name, namesAre)
	}
	for _, end := range []struct{ name, group string }{{"from", c.From}, {"to", c.To}} {
		if end.group == "" {
			return wrong(field, "it does not say %s which group", end.name)
		}
		if _, ok := s.Groups[end.group]; !ok {
			hint := nearest(end.group, slices.Sorted(maps.Keys(s.Groups)))
			if hint != "" {
				hint = " (did you mean " + hint + "?)"
			}
			return wrong(field+"."+end.name, "there is no group %.50q%s", end.group, hint)
		}
	}
	if l := c.Limits; l.Bytes < 0 || l.Calls < 0 {
		return wrong(field+".limits", "negative")
	}
	return nil
}

// checkCycles refuses channels that lead back to where they came from, and names their groups.
func checkCycles(s *job.Spec) error {
	var path []string // of groups under way
	done := map[string]bool{}
	var visit func(group string) error
	visit = func(group string) error {
		if i := slices.Index(path, group); i >= 0 {
			return errors.New(strings.Join(append(path[i:], group), " → "))
		}
		if done[group] {
			return nil
		}
		path = append(path, group)
		for _, name := range slices.Sorted(maps.Keys(s.Channels)) {
			if c := s.Channels[name]; c.From == group {
				if err := visit(c.To); err != nil {
					var field *FieldError
					if !errors.As(err, &field) {
						err = wrong("channels."+name, "a cycle: %w", err)
					}
					return err
				}
			}
		}
		path = path[:len(path)-1]
		done[group] = true
		return nil
	}
	for _, group := range slices.Sorted(maps.Keys(s.Groups)) {
		if err := visit(group); err != nil {
			return err
		}
	}
	return nil
}

const namesAre = "names are of at most 32 small letters, digits and hyphens, a letter first"

// isName reports whether a group or a channel can have that name: it is part of names of files.
func isName(name string) bool {
	return name != "" && len(name) <= 32 && name[0] >= 'a' && name[0] <= 'z' && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
