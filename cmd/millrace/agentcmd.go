package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/agent"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/home"
	"github.com/millrace/millrace/internal/identity"
	"github.com/millrace/millrace/internal/telemetry"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
)

// An agentCmd lends the slots of a machine to a cluster.
type agentCmd struct {
	daemonFlags
	Dir    string            `default:"/var/lib/millrace-agent" env:"MILLRACE_AGENT_DIR" placeholder:"DIR" help:"Where this node keeps its identity in the cluster (default ${default})."`
	Slots  int               `group:"node" placeholder:"N" help:"Tasks worked on at once (default: one per core)."`
	Memory size              `group:"node" placeholder:"SIZE" help:"What all slots may use (default: three quarters of what the machine has)."`
	Label  map[string]string `group:"node" name:"labels" mapsep:"," placeholder:"NAME=VALUE,..." help:"What is to be known of the node, such as zone=north,rack=7."`
	Spill  string            `group:"node" placeholder:"DIR" help:"Where mapped records wait for reducers (default: the system's temporary directory)."`

	addressFlag
	Data    string   `group:"addresses" placeholder:"HOST:PORT" help:"Where other nodes fetch mapped records (default :7745)."`
	Servers []string `group:"addresses" placeholder:"HOST:PORT" help:"Where the cluster's engine is reached (default: as it was when the node joined)."`
	diskFlags
	natsFlags
}

func (c *agentCmd) Help() string {
	return `Asks the cluster for work and does it, in jails, until it is told to end: the first SIGTERM has it finish what it does and ask for
no more, and leave when no job needs what it keeps; the second one has it leave at once, and its work is done again elsewhere.

  millrace agent --address 10.0.0.11 --slots 16 --labels zone=north,rack=7`
}

func (c *agentCmd) Run(a *app) error {
	log, err := c.logger(a.stderr)
	if err != nil {
		return err
	}
	h, err := home.Open(c.Dir)
	if err != nil {
		return err
	}
	if h.Identity.Role != identity.Agent {
		return fmt.Errorf("%s: %v is no agent: it can be made one by a token for that", h.Dir, h.Identity)
	}
	soon, now, stop := terms(log)
	defer stop()
	err = c.run(soon, now, h, log)
	if errors.Is(context.Cause(now), errCancelled) {
		return nil
	}
	return err
}

// run works until soon ends, and what is under way then is done, or now ends.
func (c *agentCmd) run(soon, now context.Context, h *home.Home, log *slog.Logger) error {
	if c.Spill != "" {
		if err := os.Setenv("TMPDIR", c.Spill); err != nil {
			return err
		}
	}
	member, err := c.member(h.Identity.Name)
	if err != nil {
		return err
	}
	var t tally
	var node atomic.Pointer[agent.Node]
	m := metrics(h.Identity, &t, func(emit func(*telemetry.Metric, float64, ...string)) { emitNode(node.Load(), member.Slots, emit) })
	stop, err := c.serveMetrics(soon, m, func() bool { n := node.Load(); return n != nil && n.Look().Epoch > 0 }, log)
	if err != nil {
		return err
	}
	defer stop()
	tracer, stop, err := c.tracer("agent", member.Node, log)
	if err != nil {
		return err
	}
	defer stop()
	servers := c.Servers
	if len(servers) == 0 {
		servers = h.Servers
	}
	r, err := c.remote(h, servers)
	if err != nil {
		return err
	}
	cl, err := patient(soon, r, log)
	if err != nil {
		return err
	}
	defer func() { _ = cl.Close() }() // the last words
	address, err := at(c.Data, c.Address, agentPort)
	if err != nil {
		return err
	}
	data, err := c.listenData(soon, address, h.Identity)
	if err != nil {
		return err
	}
	defer func() { _ = data.Close() }()
	where, err := c.where()
	if err != nil {
		return err
	}
	// By its data address others fetch from the node, and by all of them locators find it.
	served, err := where.Serves()
	if err != nil {
		return err
	}
	member.Addresses = append([]string{data.Address()}, served...)
	programs := filepath.Join(h.Dir, "programs")
	if err := os.MkdirAll(programs, 0o700); err != nil {
		return err
	}
	n := agent.NewNode(agent.NodeOptions{
		Cluster: cl, Data: data, Member: member, Schemes: schemes(), Dir: programs, Log: log, Where: where,
		Worked: func(w agent.Worked) { worked(&t, tracer, member.Node, w) },
	})
	node.Store(n)
	defer context.AfterFunc(soon, func() {
		_ = notify(context.WithoutCancel(soon), "STOPPING=1", "STATUS=finishing what is under way")
		n.Drain()
	})()
	if err := notify(soon, "READY=1"); err != nil {
		log.Warn("systemd was not told", "error", err)
	}
	log.Info("works", "node", member.Node, "slots", member.Slots, "version", member.Version, "data", data.Address(), "engines", member.Engines, "layers", member.Layers)
	return n.Run(now)
}

// patient connects to the cluster, however long it takes for it to be there.
func patient(ctx context.Context, r *cluster.Remote, log *slog.Logger) (*cluster.Cluster, error) {
	for {
		c, err := cluster.Connect(ctx, r)
		if err == nil || len(r.URLs) == 0 || ctx.Err() != nil || errors.Is(err, identity.ErrStranger) || errors.Is(err, os.ErrNotExist) {
			return c, err
		}
		log.Warn("no cluster yet", "error", err)
		if err := sleep(ctx, retryConnect); err != nil {
			return nil, err
		}
	}
}

// member says what the node is.
func (c *agentCmd) member(name string) (m cluster.Member, err error) {
	m = cluster.Member{Node: name, Version: version(), Slots: c.Slots, Memory: int64(c.Memory), Labels: c.Label}
	if m.Slots <= 0 {
		m.Slots = runtime.NumCPU()
	}
	if m.Memory <= 0 {
		var i unix.Sysinfo_t
		if err := unix.Sysinfo(&i); err != nil {
			return m, err
		}
		m.Memory = int64(i.Totalram) * int64(i.Unit) / 4 * 3
	}
	for _, check := range sandbox.Probe() {
		if check.OK {
			m.Layers = append(m.Layers, string(check.Layer))
		}
	}
	m.Engines = engines(m.Layers)
	if len(m.Engines) == 0 {
		return m, fmt.Errorf("no program can run here: of the sandbox there is %v alone (see millrace doctor)", m.Layers)
	}
	return m, nil
}

// engines returns what can run in jails with these layers.
func engines(layers []string) (all []string) {
	has := func(needed ...sandbox.Layer) bool {
		return !slices.ContainsFunc(needed, func(l sandbox.Layer) bool { return !slices.Contains(layers, string(l)) })
	}
	if has(sandbox.UserNS, sandbox.Seccomp, sandbox.Landlock) {
		all = append(all, string(job.Builtin), string(job.Wasm))
		if has(sandbox.Cgroup, sandbox.UID) {
			all = append(all, string(job.Native))
		}
	}
	return all
}
