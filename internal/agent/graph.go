package local

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/agent"
	"github.com/millrace/millrace/internal/coordinator"
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
func (r *running) openGroups() {
	names := slices.Sorted(maps.Keys(r.spec.Groups))
	r.graph = &agent.Graph{}
	for _, name := range names {
		g := r.spec.Groups[name]
		group := agent.Group{
			Name: name, Members: g.Size(), Maps: r.spec.Maps(name), Writes: r.spec.Writes(name),
			Pool: newPool(&job.Spec{Program: g.Program, Limits: g.Limits, Insecure: r.spec.Insecure}, r.files(name)),
		}
		r.then(group.Pool.Close)
		group.Pool.Fill(group.Members)
		r.graph.Groups = append(r.graph.Groups, group)
	}
	for _, name := range slices.Sorted(maps.Keys(r.spec.Channels)) {
		c := r.spec.Channels[name]
		r.graph.Channels = append(r.graph.Channels, agent.Channel{
			Name: name, From: slices.Index(names, c.From), To: slices.Index(names, c.To), Limits: c.Limits,
		})
	}
}

// passes returns how often each object is mapped: by each group that maps.
func (r *running) passes() (n int64) {
	for name := range r.spec.Groups {
		if r.spec.Maps(name) {
			n++
		}
	}
	return max(n, 1)
}

// files returns what a native guest of a group sees of its channels.
func (r *running) files(group string) (files []string) {
	if r.spec.Groups[group].Program.Engine != job.Native {
		return nil
	}
	for name, c := range r.spec.Channels {
		if c.From == group {
			files = append(files, sandbox.ChannelFiles(name, false, r.spec.Groups[c.To].Size())...)
		}
		if c.To == group {
			files = append(files, sandbox.ChannelFiles(name, true, 0)...)
		}
	}
	return files
}

// loadGroups opens the programs of all groups and says what their runners are told.
func (r *running) loadGroups(ctx context.Context) error {
	for i := range r.graph.Groups {
		group := &r.graph.Groups[i]
		g := r.spec.Groups[group.Name]
		code, err := r.groupCode(ctx, group, &g.Program)
		if err != nil {
			return &job.Error{Op: "group " + group.Name, Err: err}
		}
		group.Code = code
		group.Hello = r.groupHello(group, &g)
	}
	return nil
}

// groupCode opens the program of a group. What it returns of a module is its machine code.
func (r *running) groupCode(ctx context.Context, group *agent.Group, p *job.Program) (*os.File, error) {
	f, err := os.Open(p.Path)
	if err != nil {
		return nil, err
	}
	r.then(f.Close)
	if p.Engine != job.Wasm {
		return f, nil
	}
	sum, err := digest(f)
	if err != nil {
		return nil, err
	}
	compiled, err := r.compiled(ctx, group.Pool, f, sum)
	if err == nil {
		r.then(compiled.Close)
	}
	return compiled, err
}

func (r *running) groupHello(group *agent.Group, g *job.Group) runner.Hello {
	h := r.hello()
	h.Engine, h.Name, h.Args, h.Params = g.Program.Engine, g.Program.Name, g.Program.Args, g.Params
	h.OKExit, h.Limits, h.Seed = g.OKExit, g.Limits, seed(&g.Program, g.Params)
	if !group.Maps {
		h.Limits.Wall = or(h.Limits.Wall, memberWall)
		h.Limits.CPU = or(h.Limits.CPU, h.Limits.Wall)
		h.Limits.Output = or(h.Limits.Output, memberOutput)
	}
	return h
}

// gang returns the one task of a job of groups, which is made of these splits.
func gang(splits []job.Split) (job.Split, error) {
	if len(splits) > coordinator.MaxGang {
		return job.Split{}, &job.Error{Op: "plan", Err: fmt.Errorf("the input has %d splits: a job of groups works on at most %d", len(splits), coordinator.MaxGang)}
	}
	whole := job.Split{Task: job.MapTask(0), Gang: splits}
	for _, s := range splits {
		whole.Objects += s.Objects
		whole.Bytes += s.Bytes
	}
	return whole, nil
}

// groups are what people are told about the code of a job of groups.
func (r *running) groups() map[string]job.Group {
	if len(r.spec.Groups) == 0 {
		return nil
	}
	all := make(map[string]job.Group)
	for name, g := range r.spec.Groups {
		g.Program.Path = ""
		all[name] = g
	}
	return all
}
