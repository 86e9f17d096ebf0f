package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/internal/agent"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/identity"
	"github.com/millrace/millrace/internal/netlab"
	"github.com/millrace/millrace/internal/server"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle/flight"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/file"
	"github.com/millrace/millrace/store/swift"
)

// A duty is what a process of this test binary is told to be instead of testing: a server, an agent or a client of a cluster, on a host of its own.
type duty struct {
	Role     identity.Role
	Name     string
	Identity string   // its directory
	Dir      string   // for what it keeps
	IP       string   // of its host
	Peers    []string // addresses of all servers, for each other
	URLs     []string // of all servers
	First    bool     // it prepares the cluster
	Slots    int      // of an agent
	Lease    time.Duration
}

const (
	dutyEnv = "MILLRACE_CHAOS_DUTY"
	version = "chaos"
)

// serveDuty does its duty until its standard input ends.
func serveDuty(text string) error {
	var d duty
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return err
	}
	id, err := identity.Load(d.Identity)
	if err != nil {
		return err
	}
	ctx := context.Background()
	var engine *cluster.Server
	if d.Role == identity.Coordinator {
		engine, err = cluster.Listen(&cluster.Listening{
			Identity: id, Dir: filepath.Join(d.Dir, "engine"), Clients: d.IP + ":4222", Routes: d.IP + ":6222", Peers: d.Peers, Anywhere: true,
		})
		if err != nil {
			return err
		}
		if err := engine.Ready(ctx); err != nil {
			return err
		}
	}
	var c *cluster.Cluster
	err = patient(func() (err error) {
		c, err = cluster.Connect(ctx, &cluster.Remote{URLs: d.URLs, Identity: id})
		return err
	})
	if err == nil && d.First {
		err = patient(func() error { return c.Prepare(ctx) })
	} else if err == nil && d.Role == identity.Coordinator {
		err = patient(func() error { return c.Check(ctx) })
	}
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.IP+":0")
	if err != nil {
		return err
	}
	data, err := flight.Listen(l, flight.Options{TLS: id.TLS(identity.Agent, identity.Coordinator, identity.Client)})
	if err != nil {
		return err
	}
	schemes := store.Schemes{"file": file.Open, "swift": swift.Open}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	fmt.Println("ready")
	switch d.Role {
	case identity.Coordinator:
		return server.Run(ctx, server.Options{
			Cluster: c, Data: data, Schemes: schemes, Name: d.Name, Version: version, Dir: filepath.Join(d.Dir, "programs"), Lease: d.Lease, Log: log,
		})
	case identity.Agent:
		return agent.NewNode(agent.NodeOptions{
			Cluster: c, Data: data, Schemes: schemes, Dir: filepath.Join(d.Dir, "programs"), Log: log,
			Member: cluster.Member{Node: d.Name, Version: version, Slots: d.Slots, Addresses: []string{data.Address()}},
		}).Run(ctx)
	}
	return serveClient(ctx, &server.Client{Cluster: c, Data: data}, schemes)
}

// patient does f until it succeeds: hosts may be cut off, and machines busy.
func patient(f func() error) (err error) {
	for end := time.Now().Add(4 * time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if err = f(); err == nil {
			return nil
		}
	}
	return err
}

// A wish is what a client is asked for, in a line of JSON: a job, or a copy of objects from one place to another.
type wish struct {
	Spec     *job.Spec
	From, To string
}

// A reply is a line of JSON: that a job was taken, then what became of it.
type reply struct {
	Taken  string        `json:",omitempty"` // name of the job
	Status server.Status // in the end
	Error  string
}

// serveClient grants wishes, one after the other.
func serveClient(ctx context.Context, c *server.Client, schemes store.Schemes) error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var w wish
		if err := in.Decode(&w); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var r reply
		var err error
		if w.Spec == nil {
			err = copyObjects(ctx, schemes, w.From, w.To)
		} else {
			r, err = runJob(ctx, c, w.Spec, out)
		}
		if err != nil {
			r.Error = err.Error()
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
}

// runJob submits a job, says that it was taken, and waits for its end, whatever becomes of the servers meanwhile.
func runJob(ctx context.Context, c *server.Client, spec *job.Spec, out *json.Encoder) (r reply, err error) {
	s, err := c.Submit(ctx, spec, nil)
	if err != nil {
		return r, err
	}
	if err := out.Encode(reply{Taken: s.Job}); err != nil {
		return r, err
	}
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); {
		if r.Status, err = c.Wait(ctx, s.Job); err == nil {
			break
		}
	}
	return r, err
}

func copyObjects(ctx context.Context, schemes store.Schemes, from, to string) error {
	a, au, err := open(ctx, schemes, from)
	if err != nil {
		return err
	}
	defer a.Close()
	b, bu, err := open(ctx, schemes, to)
	if err != nil {
		return err
	}
	defer b.Close()
	for o, err := range a.List(ctx, au.Prefix, "") {
		if err != nil {
			return err
		}
		r, err := a.Open(ctx, o.Key, o.ETag, 0, -1)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return err
		}
		key := bu.Prefix + store.Key(strings.TrimPrefix(string(o.Key), string(au.Prefix)))
		if _, err := b.Put(ctx, key, body); err != nil {
			return err
		}
	}
	return nil
}

// A machine is a process of a cluster, on its host.
type machine struct {
	duty
	host *netlab.Host
	env  []string
	log  string // file

	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (m *machine) start() error {
	text, err := json.Marshal(m.duty)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(m.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	m.cmd = m.host.Command(context.Background(), os.Args[0])
	m.cmd.Env = append(append(os.Environ(), m.env...), dutyEnv+"="+string(text))
	m.cmd.Stderr = log
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	m.out = bufio.NewReader(out)
	return m.cmd.Start()
}

// ready waits until it has begun to do its duty.
func (m *machine) ready() error {
	line, err := m.out.ReadString('\n')
	if line != "ready\n" {
		return fmt.Errorf("%s says %q: %w\n%s", m.Name, line, err, m.tail())
	}
	return nil
}

// tail returns the end of what it has logged.
func (m *machine) tail() string {
	text, _ := os.ReadFile(m.log)
	return string(text[max(0, len(text)-8000):])
}

func (m *machine) signal(s syscall.Signal) { _ = m.cmd.Process.Signal(s) }

func (m *machine) kill() {
	if m.cmd != nil && m.cmd.Process != nil {
		m.signal(syscall.SIGKILL)
		_ = m.cmd.Wait()
	}
	m.cmd = nil
}

// lives reports whether it has not ended by itself.
func (m *machine) lives() bool { return m.cmd != nil && alive(m.cmd.Process.Pid) }

// ask has a client grant a wish, and hears its replies until the last. Taken is called when a job was taken.
func (m *machine) ask(w *wish, taken func(job string)) (r reply, err error) {
	text, err := json.Marshal(w)
	if err != nil {
		return r, err
	}
	if _, err := fmt.Fprintf(m.in, "%s\n", text); err != nil {
		return r, err
	}
	for {
		line, err := m.out.ReadBytes('\n')
		if err != nil {
			return r, fmt.Errorf("%s says %q: %w\n%s", m.Name, line, err, m.tail())
		}
		r = reply{}
		if err := json.Unmarshal(line, &r); err != nil || r.Taken == "" {
			return r, err
		}
		taken(r.Taken)
	}
}
