package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"

	"github.com/millrace/millrace/job"
)

// groupsHere makes the paths of groups' programs relative to where millrace is run, as they are to the job file.
func groupsHere(spec *job.Spec, jobFile string) {
	for name, g := range spec.Groups {
		if p := g.Program.Path; p != "" && !filepath.IsAbs(p) {
			g.Program.Path = filepath.Join(filepath.Dir(jobFile), p)
		}
		spec.Groups[name] = g
	}
}

// existGroups returns an error if some group has a program that does not exist.
func existGroups(spec *job.Spec) error {
	for _, name := range slices.Sorted(maps.Keys(spec.Groups)) {
		if err := exists(spec.Groups[name].Program.Path); err != nil {
			return fmt.Errorf("group %s: %w", name, err)
		}
	}
	return nil
}

// programs makes the programs of all groups ready to be run. cleanup removes what was built.
func (a *app) programs(spec *job.Spec, engine job.Engine) (cleanup func(), err error) {
	var cleanups []func()
	cleanup = func() {
		for _, c := range cleanups {
			c()
		}
	}
	if engine != "" {
		return nil, errors.New("--engine: each group has its own")
	}
	built := make(map[string]job.Program)
	for _, name := range slices.Sorted(maps.Keys(spec.Groups)) {
		g := spec.Groups[name]
		key := string(g.Program.Engine) + " " + g.Program.Path
		p, ok := built[key]
		if !ok {
			var c func()
			said := g.Program
			if p, c, err = a.program(g.Program.Path, "", said); err != nil {
				cleanup()
				return nil, fmt.Errorf("group %s: %w", name, err)
			}
			cleanups = append(cleanups, c)
			built[key] = p
		}
		if g.Program.Name != "" {
			p.Name = g.Program.Name
		}
		p.Args = g.Program.Args
		g.Program = p
		spec.Groups[name] = g
	}
	return cleanup, nil
}

// A graph is what a plan says of groups and channels.
type graph struct {
	Groups   map[string]job.Group   `json:"groups,omitempty"`
	Channels map[string]job.Channel `json:"channels,omitempty"`
}

// printGraph prints groups, each behind those from which channels lead to it, and channels.
func printGraph(w io.Writer, spec *job.Spec) {
	var order []string
	var visit func(name string)
	visit = func(name string) {
		if slices.Contains(order, name) {
			return
		}
		for _, c := range slices.Sorted(maps.Keys(spec.Channels)) {
			if spec.Channels[c].To == name {
				visit(spec.Channels[c].From)
			}
		}
		order = append(order, name)
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Groups)) {
		visit(name)
	}
	for _, name := range order {
		g := spec.Groups[name]
		text := fmt.Sprintf("%s × %d", name, g.Size())
		if spec.Maps(name) {
			text += ", maps the input"
		}
		if spec.Writes(name) {
			text += ", writes the output"
		}
		fmt.Fprintf(w, "group      %s\n", text)
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Channels)) {
		c := spec.Channels[name]
		fmt.Fprintf(w, "channel    %s: %s × %d → %s × %d\n", name, c.From, spec.Groups[c.From].Size(), c.To, spec.Groups[c.To].Size())
	}
}

// accountForChannels says what went through channels.
func accountForChannels(stderr io.Writer, t job.Traffic) {
	for _, name := range slices.Sorted(maps.Keys(t)) {
		p := t[name]
		warn(stderr, fmt.Sprintf("channel %s: %s written in %s, %s read in %s", name, bytes(p.WriteBytes), plural(p.Writes, "call"), bytes(p.ReadBytes), plural(p.Reads, "call")))
	}
}
