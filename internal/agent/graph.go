package agent

import (
	"context"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
)

// What a member may take that runs as long as the job does, where its group does not say.
const (
	memberWall   = time.Hour
	memberOutput = 1 << 50
)

// openGroups gets the runners of all members on their way.
func (k *Kit) openGroups() {
	names := slices.Sorted(maps.Keys(k.spec.Groups))
	k.graph = &Graph{}
	for _, name := range names {
		g := k.spec.Groups[name]
		group := Group{
			Name: name, Members: g.Size(), Maps: k.spec.Maps(name), Writes: k.spec.Writes(name),
			Pool: poolFor(&job.Spec{Program: g.Program, Limits: g.Limits, Insecure: k.spec.Insecure}, channelFiles(k.spec, name)),
		}
		k.then(group.Pool.Close)
		group.Pool.Fill(group.Members)
		k.graph.Groups = append(k.graph.Groups, group)
	}
	for _, name := range slices.Sorted(maps.Keys(k.spec.Channels)) {
		c := k.spec.Channels[name]
		k.graph.Channels = append(k.graph.Channels, Channel{
			Name: name, From: slices.Index(names, c.From), To: slices.Index(names, c.To), Limits: c.Limits,
		})
	}
}

// channelFiles returns what a native guest of a group sees of its channels.
func channelFiles(spec *job.Spec, group string) (files []string) {
	if spec.Groups[group].Program.Engine != job.Native {
		return nil
	}
	for name, c := range spec.Channels {
		if c.From == group {
			files = append(files, sandbox.ChannelFiles(name, false, spec.Groups[c.To].Size())...)
		}
		if c.To == group {
			files = append(files, sandbox.ChannelFiles(name, true, 0)...)
		}
	}
	return files
}

// loadGroups opens the programs of all groups.
func (k *Kit) loadGroups(ctx context.Context) error {
	for i := range k.graph.Groups {
		group := &k.graph.Groups[i]
		p := k.spec.Groups[group.Name].Program
		code, err := k.groupCode(ctx, group, &p)
		if err != nil {
			return &job.Error{Op: "group " + group.Name, Err: err}
		}
		group.Code = code
	}
	return nil
}

// groupCode opens the program of a group. What it returns of a module is its machine code.
func (k *Kit) groupCode(ctx context.Context, group *Group, p *job.Program) (*os.File, error) {
	f, err := k.o.Open(ctx, p)
	if err != nil {
		return nil, err
	}
	k.then(f.Close)
	if p.Engine != job.Wasm {
		return f, nil
	}
	sum, err := digest(f)
	if err != nil {
		return nil, err
	}
	compiled, err := k.compiled(ctx, group.Pool, f, sum)
	if err == nil {
		k.then(compiled.Close)
	}
	return compiled, err
}

// groupHello returns what the runners of a group are told, given what all runners of the job are.
func groupHello(h runner.Hello, group *Group, g *job.Group) runner.Hello {
	h.Engine, h.Name, h.Args, h.Params = g.Program.Engine, g.Program.Name, g.Program.Args, g.Params
	h.OKExit, h.Limits, h.Seed = g.OKExit, g.Limits, seed(&g.Program, g.Params)
	if !group.Maps {
		h.Limits.Wall = or(h.Limits.Wall, memberWall)
		h.Limits.CPU = or(h.Limits.CPU, h.Limits.Wall)
		h.Limits.Output = or(h.Limits.Output, memberOutput)
	}
	return h
}
